"""Noise invariance: a noisy stimulus teaches less than a clean one, and clean teaches noisy more than the reverse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from numpy.random import Generator

from eif_lab.data.contrast import strength_weights
from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum, Weighted
from eif_lab.desiderata.format import p_clause
from eif_lab.desiderata.selection import foils, require, require_units, same_sample, texts, with_zeros
from eif_lab.desiderata.strength import NOT_ABOVE_ZERO, weighted_rows
from eif_lab.desiderata.verdict import INCONCLUSIVE, Finding, Verdict
from eif_lab.errors import NotApplicable
from eif_lab.options import option

_HINT = "This desideratum needs perturbation=noise."

_MOST_PAIRED = 100
"""Of more sources pairs are not left out, since the time grows with their cube; intervals are then too wide."""


@dataclass(frozen=True)
class Teaching:
    """Sums of influence between units, from which every mean ``T(a, b)`` and strength ``S(a)`` follows.

    ``T(a, b)`` is the mean influence of stimuli at noise a on entailed probes at noise b made from another source, and
    ``S(a)`` the mean strength of the stimuli at noise a: what each teaches of itself.

    Attributes:
        total: Per (a, b), the influence summed over the cells of (unit as stimulus, unit as probe).
        cells: Per (a, b), the number of those cells.
        strength: Per a, the strengths summed over the stimuli of each unit.
        stimuli: Per a, the number of stimuli of each unit that have a strength.
        stimulus_unit: For each unit as probe, its place among the units as stimulus; -1 where it is a probe only.
        unit: Name of the units.
    """

    total: dict[tuple[float, float], Float[np.ndarray, "units probe_units"]]
    cells: dict[tuple[float, float], Float[np.ndarray, "units probe_units"]]
    strength: dict[float, Float[np.ndarray, " units"]]
    stimuli: dict[float, Float[np.ndarray, " units"]]
    stimulus_unit: Int[np.ndarray, " probe_units"]
    unit: str

    @property
    def units(self) -> int:
        """Number of units."""
        return len(next(iter(self.total.values())))

    def mean(self, a: float, b: float, counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        """``T(a, b)`` where each unit counts so often, in both its roles; other probes stay."""
        as_probe = np.where(self.stimulus_unit >= 0, counts[:, self.stimulus_unit], 1.0)
        pair_sum = [((counts @ table[a, b]) * as_probe).sum(axis=1) for table in (self.total, self.cells)]
        return statistics.divide(*pair_sum)

    def mean_strength(self, a: float, counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        """``S(a)`` where each unit counts so often."""
        return statistics.divide(counts @ self.strength[a], counts @ self.stimuli[a])

    def transfer(
        self, a: float, b: float, sigma: float, counts: Float[np.ndarray, "draws units"], per_nat: bool
    ) -> Float[np.ndarray, " draws"]:
        """``T(a, b)``; per nat ``T(a, b) / S(a)`` times ``S(0) S(sigma)``, which cancels in a ratio.

        Args:
            a, b: Of the stimuli and of the probes; a is 0 or sigma.
            sigma: The level that is compared with clean.
            counts: How often each unit counts.
            per_nat: Whether per nat of strength.
        """
        mean = self.mean(a, b, counts)
        return mean * self.mean_strength(0.0 if a else sigma, counts) if per_nat else mean


@dataclass
class NoiseInvariance(Desideratum):
    """Noise in a stimulus makes it teach less, and what is learnt clean holds under noise rather than the reverse.

    Let ``T(a, b)`` be the mean influence of stimuli at noise a on the probes at noise b that they entail (the same
    class), made from other sources, and ``S(a)`` the mean strength of stimuli at noise a: of an image its influence on
    itself, of a text that on its own clozes less their foils.

    All levels are trained at one rate, and a noisy stimulus, which fits worse, has the larger gradient and moves
    everything more. So the verdict is about what is passed on per nat of strength, ``P(a, b) = T(a, b) / S(a)``:

    - ``taught_less_per_nat``: the mean over sigma > 0 of ``1 - P(sigma, 0) / P(0, 0)``.
    - ``asymmetry_per_nat``: the mean over sigma > 0 of
      ``(P(0, sigma) - P(sigma, 0)) / (|P(0, sigma)| + |P(sigma, 0)|)``.

    The same with T in place of P, at equal rate, is in the details with intervals: ``taught_less_at_equal_rate`` and
    ``asymmetry_at_equal_rate``.

    Unit: the source, whose clean and noisy versions count together, as stimulus and as probe, since a probe's noise is
    shared by all that teach it; sources that are probes only stay as they are. Where samples belong to worlds, the unit
    is the world. Where clean stimuli do not clearly teach, or those of some level do not clearly learn themselves,
    there is nothing to compare: no p-value, and a note. Both findings are ratios, tested like those of `Logic`, on
    the jackknife's values by unit (`statistics.unit_values`).

    Details: ``ratio_at_<sigma> = T(sigma, 0) / T(0, 0)``, ``asymmetry_at_<sigma>``, both with ``_per_nat``,
    ``strength_at_<sigma>`` and ``clean_to_clean = T(0, 0)``.

    Attributes:
        less_threshold: The part of the clean influence that noise must take away; above 0, so that a network that is
            blind to noise can be found to be so.
        asymmetry_threshold: The relative asymmetry that counts; above 0 for the same reason.
    """

    group: ClassVar[str] = "desideratum.noise_invariance"
    claim: ClassVar[str] = (
        "a noisy stimulus teaches less than a clean one, and clean teaches noisy more than the reverse"
    )

    less_threshold: float = option(0.1, at_least=0, below=1, hint="Try 0.1.")
    asymmetry_threshold: float = option(0.1, at_least=0, below=1, hint="Try 0.1.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        require(influence, "stimulus_sigma", "probe_sigma", "stimulus_source", "probe_source", hint=_HINT)
        levels = noise_levels(influence)
        teaching = measure_teaching(influence, levels)
        note = self.why_not_comparable(teaching, levels)
        findings = [
            one.without_p_values() if note else one for one in self.compare_levels(teaching, levels, per_nat=True)
        ]
        details = curve(teaching, levels)
        for one in self.compare_levels(teaching, levels, per_nat=False):
            details |= {one.statistic: one.effect, f"{one.statistic}_low": one.low, f"{one.statistic}_high": one.high}
        return Verdict("noise_invariance", self.claim, findings, self.alpha, details, note)

    def compare_levels(self, teaching: Teaching, levels: Sequence[float], per_nat: bool) -> list[Finding]:
        """How much less is taught, and the asymmetry: per nat of strength or at equal rate."""
        ending = "per_nat" if per_nat else "at_equal_rate"
        bars = {"taught_less": (loss, self.less_threshold), "asymmetry": (asymmetry, self.asymmetry_threshold)}
        findings = []
        for name, (share, bar) in bars.items():
            parts = mean_over_levels(share, teaching, levels, per_nat)
            pairs = teaching.unit == "sources" and teaching.units <= _MOST_PAIRED
            values = statistics.unit_values(*parts, teaching.units, pairs=pairs)
            findings.append(self.ratio(f"{name}_{ending}", *values, unit=teaching.unit, threshold=bar))
        return findings

    def why_not_comparable(self, teaching: Teaching, levels: Sequence[float]) -> str:
        """A note on which mean is not clearly above zero, so that there is nothing to compare; empty where all are."""
        means: dict[str, Weighted] = {
            "what clean stimuli teach clean probes of their class": partial(teaching.mean, 0, 0)
        }
        for sigma in (0.0, *levels):
            means[f"what stimuli at sigma = {sigma:g} teach of themselves"] = partial(teaching.mean_strength, sigma)
        for name, mean in means.items():
            finding = self.finding("mean", mean, teaching.units, teaching.unit, 0.0)
            if not finding.p_value <= self.alpha:
                numbers = f"mean {finding.effect:.3g}, interval {finding.low:.3g} to {finding.high:.3g}"
                p = p_clause(INCONCLUSIVE, finding.p_value, finding.p_violated, 0.0)
                count = f"{p}, {finding.n} {finding.unit}"
                return f"{name} {NOT_ABOVE_ZERO} ({numbers}, {count}): there is nothing to compare"
        return ""


def noise_levels(influence: xr.DataArray) -> list[float]:
    """The levels above zero at which there are both stimuli and probes.

    Raises:
        NotApplicable: There is no such level, or no clean stimuli or probes.
    """
    stimulus, probe = (np.unique(influence[f"{dim}_sigma"].values.astype(float)) for dim in ("stimulus", "probe"))
    shared = np.intersect1d(stimulus, probe)
    if 0.0 not in shared or not (shared > 0).any():
        raise NotApplicable(
            "sigma must be 0 and at least one level above it, among both stimuli and probes, got"
            f" {stimulus.tolist()} and {probe.tolist()}. Give perturbation=noise such levels."
        )
    return [float(sigma) for sigma in shared if sigma > 0]


def measure_teaching(influence: xr.DataArray, levels: Sequence[float]) -> Teaching:
    """Sum influence over the cells that each ``T(a, b)`` is a mean of, unit by unit.

    Units are the sources that have every version among the stimuli (a pair needs both) and entail some probe.

    Raises:
        NotApplicable: There are fewer than three.
    """
    sigma, probe_sigma = (influence[f"{dim}_sigma"].values.astype(float) for dim in ("stimulus", "probe"))
    source, probe_source = texts(influence, "stimulus_source"), texts(influence, "probe_source")
    compared = [(0.0, 0.0), *((level, 0.0) for level in levels), *((0.0, level) for level in levels)]
    entails = (texts(influence, "relation") == "entailed") & (source[:, None] != probe_source[None, :])
    masks = {(a, b): entails & (sigma == a)[:, None] & (probe_sigma == b)[None, :] for a, b in compared}
    rows_used = np.isin(source, complete_sources(source, masks.values()))
    if "stimulus_world" in influence.coords:
        names, rows = np.unique(influence["stimulus_world"].values[rows_used], return_inverse=True)
        # A stimulus entails probes of its own world only: drawn with it, they need no place of their own.
        columns, stimulus_unit, unit = np.zeros(len(probe_source), dtype=int), np.array([-1]), "worlds"
    else:
        names, rows = np.unique(source[rows_used], return_inverse=True)
        probe_names, columns = np.unique(probe_source, return_inverse=True)
        place = {name: index for index, name in enumerate(names)}
        stimulus_unit, unit = np.array([place.get(name, -1) for name in probe_names]), "sources"
    require_units(len(names), f"{unit} with stimuli at every noise level and an entailed probe of another source")
    by_row = np.eye(len(names))[:, rows]
    by_column = np.eye(len(stimulus_unit))[columns]
    weights = strength_weights(texts(influence, "relation"), foils(influence), same_sample(influence))
    strength = weighted_rows(with_zeros(influence), weights)[rows_used]
    at = {level: (sigma[rows_used] == level) & np.isfinite(strength) for level in (0.0, *levels)}
    return Teaching(
        total={
            key: by_row @ np.where(mask, influence.values, 0.0)[rows_used] @ by_column for key, mask in masks.items()
        },
        cells={key: by_row @ mask[rows_used].astype(float) @ by_column for key, mask in masks.items()},
        strength={level: by_row @ np.where(here, strength, 0.0) for level, here in at.items()},
        stimuli={level: by_row @ here.astype(float) for level, here in at.items()},
        stimulus_unit=stimulus_unit,
        unit=unit,
    )


def complete_sources(source: np.ndarray, masks: Iterable[Bool[np.ndarray, "stimulus probe"]]) -> np.ndarray:
    """The sources that have at least one cell in every mask."""
    complete = set(source)
    for mask in masks:
        complete &= set(source[mask.any(axis=1)])
    return np.array(sorted(complete), dtype=source.dtype)


Parts = tuple[Float[np.ndarray, " draws"], Float[np.ndarray, " draws"]]
"""A numerator and its denominator."""

Share = Callable[[Teaching, float, Float[np.ndarray, "draws units"], bool], Parts]


def loss(teaching: Teaching, sigma: float, counts: Float[np.ndarray, "draws units"], per_nat: bool) -> Parts:
    """``T(0, 0) - T(sigma, 0)`` over ``T(0, 0)``, or the same of P."""
    clean, noisy = (teaching.transfer(a, 0.0, sigma, counts, per_nat) for a in (0.0, sigma))
    return clean - noisy, clean


def asymmetry(teaching: Teaching, sigma: float, counts: Float[np.ndarray, "draws units"], per_nat: bool) -> Parts:
    """``T(0, sigma) - T(sigma, 0)`` over ``|T(0, sigma)| + |T(sigma, 0)|``, or the same of P."""
    levels = ((0.0, sigma), (sigma, 0.0))
    to_noisy, to_clean = (teaching.transfer(a, b, sigma, counts, per_nat) for a, b in levels)
    return to_noisy - to_clean, np.abs(to_noisy) + np.abs(to_clean)


def mean_over_levels(
    share: Share, teaching: Teaching, levels: Sequence[float], per_nat: bool
) -> tuple[Weighted, Weighted]:
    """A numerator and a denominator, whose ratio is the mean of the levels' shares.

    Each level is divided by its denominator where all units count once, so that the levels weigh alike.
    """
    once = np.ones((1, teaching.units))
    scales = [share(teaching, sigma, once, per_nat)[1] for sigma in levels]

    def part(place: int, counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        parts = [share(teaching, sigma, counts, per_nat)[place] for sigma in levels]
        return np.mean([statistics.divide(one, scale) for one, scale in zip(parts, scales)], axis=0)

    return partial(part, 0), partial(part, 1)


def curve(teaching: Teaching, levels: Sequence[float]) -> dict[str, float]:
    """The two statistics at each noise level, and the means that they are relative to."""
    once = np.ones((1, teaching.units))
    details = {"clean_to_clean": float(teaching.mean(0.0, 0.0, once)[0])}
    for sigma in (0.0, *levels):
        details[f"strength_at_{sigma:g}"] = float(teaching.mean_strength(sigma, once)[0])
    for sigma in levels:
        for ending, per_nat in (("", False), ("_per_nat", True)):
            lost, more = (statistics.divide(*share(teaching, sigma, once, per_nat)) for share in (loss, asymmetry))
            details[f"ratio{ending}_at_{sigma:g}"] = 1 - float(lost[0])
            details[f"asymmetry{ending}_at_{sigma:g}"] = float(more[0])
    return details
