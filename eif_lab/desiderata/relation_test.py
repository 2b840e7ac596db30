"""What tests of logic share: mean influence by relation, and ratios to the direct influence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import clusters, require_units, texts
from eif_lab.desiderata.verdict import SATISFIED, Finding


@dataclass(frozen=True)
class RelationMeans:
    """What each stimulus did to its own probes, and the world that it belongs to.

    A mean over a world's cells at large would mix stimuli of different kinds: where "P was pressed" entails something
    and "L is on" has a converse only, what is entailed has nothing to do with how well the second was learnt. So every
    value is first a mean over the cells of one stimulus, and what is set in relation is taken from the same stimuli.

    Attributes:
        means: Mean influence on the probes of each relation, by stimulus; NaN where a stimulus has none.
        worlds: The independent unit ``0 .. n - 1`` of each stimulus.
        unit: What those units are.
    """

    means: Mapping[str, Float[np.ndarray, " stimulus"]]
    worlds: Int[np.ndarray, " stimulus"]
    unit: str

    @classmethod
    def measure(cls, influence: xr.DataArray) -> RelationMeans:
        """Measured on an array with the coordinate ``relation``."""
        from eif_lab.data.task import RELATIONS  # imports torch, which reading results does not need

        relation, values = texts(influence, "relation"), influence.values
        cells = {name: relation == name for name in RELATIONS}
        means = {name: statistics.divide((values * of).sum(axis=1), of.sum(axis=1)) for name, of in cells.items()}
        return cls(means, *clusters(influence))

    def __getitem__(self, relation: str) -> Float[np.ndarray, " stimulus"]:
        return self.means[relation]

    def of_pairs(
        self, rows: Int[np.ndarray, " pairs"], values: Float[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " stimulus"]:
        """Mean of the pairs of each stimulus; NaN where it has none."""
        return statistics.group_means(values, rows, len(self.worlds))

    def together(self, *values: Float[np.ndarray, " stimulus"]) -> Float[np.ndarray, "values worlds"]:
        """World by world, the means over the stimuli that have all of the values; worlds without any are left out."""
        whole = np.isfinite(values).all(axis=0)
        worlds = np.unique(self.worlds[whole], return_inverse=True)[1]
        count = int(worlds.max(initial=-1)) + 1
        return np.stack([statistics.group_means(one[whole], worlds, count) for one in values])

    def averages(self) -> dict[str, float]:
        """``influence_<relation>``: the mean over the worlds that have probes of that relation; NaN where none has."""
        by_world = {f"influence_{name}": self.together(values)[0] for name, values in self.means.items()}
        return {name: float(values.mean()) if len(values) else float("nan") for name, values in by_world.items()}


class Judged(NamedTuple):
    """A finding that has no p-value yet, and what decides whether it gets one.

    Attributes:
        finding: Effect and interval.
        null: By world, what is symmetric about zero under the null.
        direct: By world, the direct influence of the stimuli that the finding is about.
    """

    finding: Finding
    null: Float[np.ndarray, " worlds"]
    direct: Float[np.ndarray, " worlds"]


@dataclass
class RelationTest(Desideratum):
    """A desideratum about what stimuli say of their probes."""

    def ratio(
        self,
        statistic: str,
        numerator: Float[np.ndarray, " worlds"],
        denominator: Float[np.ndarray, " worlds"],
        *,
        threshold: float,
        unit: str,
        generator: Generator,
    ) -> Finding:
        """A ratio of means over worlds with its interval, and no p-value.

        Args:
            statistic: Its name.
            numerator, denominator: By world.
            threshold: What the ratio is compared with.
            unit: What the worlds are.
            generator: Source of the resamples.
        """
        n = len(numerator)
        effect = float(statistics.divide(numerator.sum(), denominator.sum()))
        low, high = self.interval(
            lambda counts: statistics.divide(counts @ numerator, counts @ denominator), n, generator
        )
        return Finding(statistic, effect, low, high, float("nan"), n, unit, threshold)

    def share_won(
        self,
        statistic: str,
        means: RelationMeans,
        rows: Int[np.ndarray, " pairs"],
        won: Float[np.ndarray, " pairs"],
        *,
        threshold: float,
        generator: Generator,
    ) -> Judged:
        """The share of matched pairs that went as claimed.

        Args:
            statistic: Its name.
            means: Those of the array.
            rows: The stimulus of each pair.
            won: What `wins` says of each pair.
            threshold: What the share is compared with.
            generator: Source of the resamples.

        Raises:
            NotApplicable: Fewer than two worlds have a pair and a direct probe.
        """
        share, direct = means.together(means.of_pairs(rows, won), means["direct"])
        require_units(len(share), f"{means.unit} with a direct probe and a matched pair", at_least=2)
        finding = self.ratio(
            statistic, share, np.ones_like(share), threshold=threshold, unit=means.unit, generator=generator
        )
        return Judged(finding, null=share - 0.5, direct=direct)

    def mean_above_zero(self, values: Float[np.ndarray, " worlds"], unit: str) -> Finding:
        """Whether a mean over worlds is clearly above zero.

        It has a generator of its own, so that all findings about the same stimuli get the same answer.
        """
        generator = np.random.default_rng(0)
        finding = self.ratio("mean", values, np.ones_like(values), threshold=0.0, unit=unit, generator=generator)
        return replace(finding, p_value=statistics.sign_flip_p(values, self.resamples, generator))

    def if_taught(self, judged: Sequence[Judged], generator: Generator) -> tuple[list[Finding], str]:
        """The findings, with p-values where the stimuli they are about clearly teach what they say; and why not.

        What does not teach itself has taught nothing that could follow, and a ratio to it is about nothing.
        """
        findings: list[Finding] = []
        tested: dict[bytes, Finding] = {}
        empty: dict[str, list[str]] = {}
        for finding, null, direct in judged:
            stimuli = direct.tobytes()
            if stimuli not in tested:
                tested[stimuli] = self.mean_above_zero(direct, finding.unit)
            if tested[stimuli].verdict(self.alpha) == SATISFIED:
                findings.append(replace(finding, p_value=statistics.sign_flip_p(null, self.resamples, generator)))
            else:
                findings.append(finding)
                empty.setdefault(_numbers(tested[stimuli]), []).append(finding.statistic)
        notes = [
            f"direct influence is not clearly above zero ({numbers}): {_listed(names)} about nothing"
            for numbers, names in empty.items()
        ]
        return findings, "; ".join(notes)


def _numbers(finding: Finding) -> str:
    return (
        f"mean {finding.effect:.3g}, interval {finding.low:.3g} to {finding.high:.3g}, p {finding.p_value:.3g},"
        f" {finding.n} {finding.unit}"
    )


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"
