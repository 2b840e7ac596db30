"""The base of tests of logic: influence on a stimulus's own probes less their controls, and shares of its strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from eif_lab.data.contrast import Foils, has_foils, less_control, strength_weights
from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import clusters, foils, same_sample, texts, unread, with_zeros
from eif_lab.desiderata.strength import NOT_ABOVE_ZERO, NOTHING_TAUGHT, weighted_rows
from eif_lab.desiderata.verdict import Finding
from eif_lab.errors import NotApplicable


@dataclass(frozen=True)
class RelationEffects:
    """Each stimulus's influence on its own probes less that on their controls, its strength, and its world.

    A mean over a world's cells at large would mix stimuli of different kinds: where "P was pressed" entails something
    and "L is on" has a converse only, what is entailed has nothing to do with how well the second was learnt. So every
    value is first a mean over the cells of one stimulus, and what is set in relation is taken from the same stimuli.

    Attributes:
        means: By relation, the mean over a stimulus's probes that have a control of influence less control; NaN where
            it has none.
        plain: By relation, the mean influence over a stimulus's probes; NaN where it has none.
        strength: That of each stimulus; NaN where it states none of the probes.
        worlds: The independent unit ``0 .. n - 1`` of each stimulus.
        unit: What those units are.
    """

    means: Mapping[str, Float[np.ndarray, " stimulus"]]
    plain: Mapping[str, Float[np.ndarray, " stimulus"]]
    strength: Float[np.ndarray, " stimulus"]
    worlds: Int[np.ndarray, " stimulus"]
    unit: str

    @classmethod
    def measure(cls, influence: xr.DataArray) -> RelationEffects:
        """Measured on a prepared array."""
        relation = np.where(unread(influence), "", texts(influence, "relation"))
        worlds, unit = clusters(influence)
        columns, same = foils(influence), same_sample(influence)
        return cls.of(with_zeros(influence), relation, columns, same, worlds=worlds, unit=unit)

    @classmethod
    def of(
        cls,
        values: Float[np.ndarray, "stimulus probe"],
        relation: np.ndarray,
        columns: Foils,
        same: Bool[np.ndarray, "stimulus probe"],
        *,
        worlds: Int[np.ndarray, " stimulus"],
        unit: str,
    ) -> RelationEffects:
        """Measured on plain arrays.

        Args:
            values: Influence.
            relation: (stimulus, probe), what each stimulus says about each probe; empty where it was not read.
            columns: The column of each probe's foils.
            same: Where stimulus and probe are the same sample.
            worlds: The independent unit of each stimulus.
            unit: What those units are.
        """
        controlled = has_foils(columns, values.shape)
        less = np.where(controlled, less_control(values, columns), 0.0)
        cells = {name: relation == name for name in np.unique(relation).tolist() if name}
        return cls(
            means={name: _row_means(less, of & controlled) for name, of in cells.items()},
            plain={name: _row_means(values, of) for name, of in cells.items()},
            strength=weighted_rows(values, strength_weights(relation, columns, same)),
            worlds=worlds,
            unit=unit,
        )

    def __getitem__(self, relation: str) -> Float[np.ndarray, " stimulus"]:
        return self.means.get(relation, np.full(self.strength.shape, np.nan))

    def require(self, relation: str) -> None:
        """Raise `NotApplicable` where no probe of that relation has a foil."""
        if np.isnan(self[relation]).all():
            raise NotApplicable(
                f"influence must have {relation} probes with matched foils, got none."
                " Choose a text dataset that has them."
            )

    def world_means(self, *values: Float[np.ndarray, " stimulus"]) -> Float[np.ndarray, "values worlds"]:
        """World by world, the means over the stimuli that have all of the values; worlds without any are left out."""
        whole = np.isfinite(values).all(axis=0)
        worlds = np.unique(self.worlds[whole], return_inverse=True)[1]
        count = int(worlds.max(initial=-1)) + 1
        return np.stack([statistics.group_means(one[whole], worlds, count) for one in values])

    def averages(self) -> dict[str, float]:
        """``influence_<relation>``: the mean over the worlds that have probes of that relation."""
        return {f"influence_{name}": float(self.world_means(values)[0].mean()) for name, values in self.plain.items()}


def _row_means(
    values: Float[np.ndarray, "stimulus probe"], cells: Bool[np.ndarray, "stimulus probe"]
) -> Float[np.ndarray, " stimulus"]:
    return statistics.divide((values * cells).sum(axis=1), cells.sum(axis=1))


class GuardedFinding(NamedTuple):
    """A finding, and the strength that decides whether it keeps its p-values.

    Attributes:
        finding: With its p-values.
        strength: By world, that of the stimuli that the finding is about.
    """

    finding: Finding
    strength: Float[np.ndarray, " worlds"]


@dataclass
class RelationTest(Desideratum):
    """A desideratum about what stimuli say of their probes."""

    of_sets: ClassVar[bool] = True

    def mean(self, statistic: str, values: Float[np.ndarray, " worlds"], unit: str) -> Finding:
        """A mean over worlds, tested against zero."""
        return self.finding(
            statistic,
            lambda counts: statistics.divide(counts @ values, counts.sum(axis=1)),
            units=len(values),
            unit=unit,
            threshold=0.0,
        )

    def withhold_untaught(self, tested: Sequence[GuardedFinding], unit: str) -> tuple[list[Finding], str]:
        """The findings, without p-values where their stimuli's strength is not clearly above zero; and a note on why.

        Nothing can follow from what was not taught, and a share of it is a share of noise.
        """
        findings: list[Finding] = []
        untaught: dict[str, list[str]] = {}
        for finding, strength in tested:
            taught = self.mean("strength", strength, unit)
            if taught.low > 0:
                findings.append(finding)
            else:
                findings.append(finding.without_p_values())
                numbers = f"{taught.effect:.3g} [{taught.low:.3g}, {taught.high:.3g}], {taught.n} {unit}"
                untaught.setdefault(numbers, []).append(finding.statistic)
        notes = [
            f"strength {NOT_ABOVE_ZERO} ({numbers}): {NOTHING_TAUGHT}, and {', '.join(names)} have no verdict"
            for numbers, names in untaught.items()
        ]
        return findings, "; ".join(notes)
