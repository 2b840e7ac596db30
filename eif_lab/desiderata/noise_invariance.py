"""Noise invariance: a noisy stimulus teaches less than a clean one, and clean teaches noisy more than the reverse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import require, require_units, texts
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.errors import NotApplicable
from eif_lab.options import option

_HINT = "This desideratum needs perturbation=noise."


@dataclass(frozen=True)
class Teaching:
    """Sums of influence between units, from which every mean ``T(a, b)`` and its resamples follow.

    ``T(a, b)`` is the mean influence of stimuli at noise a on entailed probes at noise b made from another source.

    Attributes:
        total: Per (a, b), the influence summed over the cells of (unit as stimulus, unit as probe).
        cells: Per (a, b), the number of those cells.
        taught: For each unit as probe, its place among the units as stimulus; -1 where it is a probe only.
        unit: Name of the units.
    """

    total: dict[tuple[float, float], Float[np.ndarray, "units probe_units"]]
    cells: dict[tuple[float, float], Float[np.ndarray, "units probe_units"]]
    taught: Int[np.ndarray, " probe_units"]
    unit: str

    @property
    def units(self) -> int:
        """Number of units."""
        return len(next(iter(self.total.values())))

    def mean(self, a: float, b: float, counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        """``T(a, b)`` in resamples that draw each unit ``counts`` times, in both its roles; other probes stay."""
        as_probe = np.where(self.taught >= 0, counts[:, self.taught], 1.0)
        pair_sum = [((counts @ table[a, b]) * as_probe).sum(axis=1) for table in (self.total, self.cells)]
        return statistics.divide(*pair_sum)

    def scores(self, a: float, b: float) -> Float[np.ndarray, " units"]:
        """What each unit adds to ``T(a, b)``, as stimulus and as probe: the Hajek projection of a mean over pairs.

        Summing stimuli alone would take as given the noise that a probe shares with all of them.
        """
        total, cells = self.total[a, b], self.cells[a, b]
        as_stimulus = statistics.divide(total.sum(axis=1), cells.sum(axis=1))
        as_probe = statistics.divide(total.sum(axis=0), cells.sum(axis=0)) - total.sum() / cells.sum()
        both = np.flatnonzero((self.taught >= 0) & np.isfinite(as_probe))
        as_stimulus[self.taught[both]] += as_probe[both]
        return as_stimulus


@dataclass
class NoiseInvariance(Desideratum):
    """Noise in a stimulus makes it teach less, and what is learnt clean holds under noise rather than the reverse.

    Let ``T(a, b)`` be the mean influence of stimuli at noise a on the probes at noise b that they entail (the same
    class), made from other sources.

    - ``taught_less``: the mean over sigma > 0 of ``1 - T(sigma, 0) / T(0, 0)``.
    - ``asymmetry``: the mean over sigma > 0 of ``(T(0, sigma) - T(sigma, 0)) / (|T(0, sigma)| + |T(sigma, 0)|)``.

    What is resampled: sources, whole. A source's clean and noisy versions are drawn together, so that every resample
    compares the same images clean and noisy (paired); and a source that is also a probe is drawn in both roles, since a
    probe's noise is shared by all that teach it and does not average out over stimuli. Sources that are probes only
    stay as they are. Where samples belong to worlds, the world is drawn whole.

    p-values: the sign of each source's contribution to ``T(0, 0) - T(sigma, 0)`` and to ``T(0, sigma) - T(sigma, 0)``
    is flipped, which assumes that the compared versions of a source are exchangeable under the null. Where clean
    stimuli do not clearly teach (``T(0, 0)`` above zero), a ratio to them means nothing: no p-value, and a note.

    Details: ``ratio_at_<sigma> = T(sigma, 0) / T(0, 0)``, ``asymmetry_at_<sigma>`` and ``clean_to_clean = T(0, 0)``.

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
        note = self.nothing_taught(teaching, generator)
        clean_to = {sigma: teaching.scores(0.0, sigma) for sigma in (0.0, *levels)}
        noisy_to_clean = {sigma: teaching.scores(sigma, 0.0) for sigma in levels}
        less = np.mean([clean_to[0.0] - noisy_to_clean[sigma] for sigma in levels], axis=0)
        reverse = np.mean([clean_to[sigma] - noisy_to_clean[sigma] for sigma in levels], axis=0)

        def taught_less(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
            return np.mean([1 - ratio(teaching, sigma, counts) for sigma in levels], axis=0)

        def asymmetric(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
            return np.mean([asymmetry(teaching, sigma, counts) for sigma in levels], axis=0)

        findings = []
        for name, statistic, scores, threshold in (
            ("taught_less", taught_less, less, self.less_threshold),
            ("asymmetry", asymmetric, reverse, self.asymmetry_threshold),
        ):
            effect = float(statistic(np.ones((1, teaching.units)))[0])
            low, high = self.interval(statistic, teaching.units, generator)
            p_value = float("nan") if note else statistics.sign_flip_p(scores, self.resamples, generator)
            findings.append(Finding(name, effect, low, high, p_value, teaching.units, teaching.unit, threshold))
        return Verdict("noise_invariance", self.claim, findings, self.alpha, curve(teaching, levels), note)

    def nothing_taught(self, teaching: Teaching, generator: Generator) -> str:
        """Why there is nothing to compare with, where clean stimuli do not clearly teach clean probes."""
        low, high = self.interval(lambda counts: teaching.mean(0.0, 0.0, counts), teaching.units, generator)
        p_value = statistics.sign_flip_p(teaching.scores(0.0, 0.0), self.resamples, generator)
        if low > 0 and p_value <= self.alpha:
            return ""
        mean = float(teaching.mean(0.0, 0.0, np.ones((1, teaching.units)))[0])
        return (
            f"clean stimuli do not clearly teach clean probes of their class (mean {mean:.3g}, interval {low:.3g} to"
            f" {high:.3g}, p {p_value:.3g}, {teaching.units} {teaching.unit}): the verdict is about nothing"
        )


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
        columns, taught, unit = np.zeros(len(probe_source), dtype=int), np.array([-1]), "worlds"
    else:
        names, rows = np.unique(source[rows_used], return_inverse=True)
        probe_names, columns = np.unique(probe_source, return_inverse=True)
        place = {name: index for index, name in enumerate(names)}
        taught, unit = np.array([place.get(name, -1) for name in probe_names]), "sources"
    require_units(len(names), f"{unit} with stimuli at every noise level and an entailed probe of another source")
    by_row = np.eye(len(names))[:, rows]
    by_column = np.eye(len(taught))[columns]
    return Teaching(
        total={
            key: by_row @ np.where(mask, influence.values, 0.0)[rows_used] @ by_column for key, mask in masks.items()
        },
        cells={key: by_row @ mask[rows_used].astype(float) @ by_column for key, mask in masks.items()},
        taught=taught,
        unit=unit,
    )


def complete_sources(source: np.ndarray, masks: Iterable[Bool[np.ndarray, "stimulus probe"]]) -> np.ndarray:
    """The sources that have at least one cell in every mask."""
    complete = set(source)
    for mask in masks:
        complete &= set(source[mask.any(axis=1)])
    return np.array(sorted(complete), dtype=source.dtype)


def ratio(teaching: Teaching, sigma: float, counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
    """``T(sigma, 0) / T(0, 0)``."""
    return statistics.divide(teaching.mean(sigma, 0.0, counts), teaching.mean(0.0, 0.0, counts))


def asymmetry(
    teaching: Teaching, sigma: float, counts: Float[np.ndarray, "draws units"]
) -> Float[np.ndarray, " draws"]:
    """``(T(0, sigma) - T(sigma, 0)) / (|T(0, sigma)| + |T(sigma, 0)|)``."""
    to_noisy, to_clean = teaching.mean(0.0, sigma, counts), teaching.mean(sigma, 0.0, counts)
    return statistics.divide(to_noisy - to_clean, np.abs(to_noisy) + np.abs(to_clean))


def curve(teaching: Teaching, levels: Sequence[float]) -> dict[str, float]:
    """The two statistics at each noise level, and the mean influence that they are relative to."""
    once = np.ones((1, teaching.units))
    details = {"clean_to_clean": float(teaching.mean(0.0, 0.0, once)[0])}
    for sigma in levels:
        details[f"ratio_at_{sigma:g}"] = float(ratio(teaching, sigma, once)[0])
        details[f"asymmetry_at_{sigma:g}"] = float(asymmetry(teaching, sigma, once)[0])
    return details
