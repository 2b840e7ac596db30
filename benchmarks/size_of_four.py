"""How often the verdicts on symmetry, distance decay, sparsity and noise err: ``python -m benchmarks.size_of_four``.

Arrays are drawn with effects that make their cells dependent: of stimuli, of probes, of pairs of classes or worlds,
with heavy tails. The truth of a statistic is its mean over the draws. A bar is put there, where "satisfied" and
"violated" are both wrong, and either is to come out in 5 % of the draws at most; the 95 % interval is to hold the truth
in 95 %.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.distance_decay import DistanceDecay
from eif_lab.desiderata.noise_invariance import NoiseInvariance
from eif_lab.desiderata.sparsity import Sparsity
from eif_lab.desiderata.statistics import ARCSINE, FISHER, Scale
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.desiderata.verdict import Finding

RESULT = Path("benchmarks/results/size_of_four.md")
UNITS = (6, 20)
DRAWS = 1000
EFFECTS = ("none", "stimuli", "probes", "pairs of units", "heavy tails", "all of these")


class Size(NamedTuple):
    """How often one finding errs.

    Attributes:
        statistic: Its name.
        truth: Mean of the statistic over the draws.
        satisfied, violated: The share of draws with a p-value of at most 5 % where the bar is at the truth.
        covered: The share of 95 % intervals that hold the truth; a ratio to what may be zero has none.
        by_default: The share of draws with a p-value of at most 5 % for "satisfied" at the default bar.
    """

    statistic: str
    truth: float
    satisfied: float
    violated: float
    covered: float
    by_default: float


@dataclass(frozen=True)
class Effects:
    """What cells have in common, in standard deviations of a cell's own noise.

    Attributes:
        stimuli, probes: Of all cells of a row, or of a column; they also spread the size of its noise.
        pairs: Of all cells of a pair of units.
        heavy: Whether everything is drawn from Student's t with three degrees of freedom instead of the normal.
    """

    stimuli: float = 0.0
    probes: float = 0.0
    pairs: float = 0.0
    heavy: bool = False

    @classmethod
    def named(cls, name: str) -> Effects:
        """One of `EFFECTS`."""
        every = name == "all of these"
        return cls(
            stimuli=1.0 if every or name == "stimuli" else 0.0,
            probes=1.0 if every or name == "probes" else 0.0,
            pairs=1.0 if every or name == "pairs of units" else 0.0,
            heavy=every or name == "heavy tails",
        )

    def draw(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        """Independent numbers of variance 1."""
        return random.standard_t(3, shape) / np.sqrt(3) if self.heavy else random.standard_normal(shape)

    def cells(self, rows: np.ndarray, columns: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Noise of an array.

        Args:
            rows, columns: The unit of each stimulus and each probe.
            random: Source of the numbers.
        """
        n, m, units = len(rows), len(columns), int(max(rows.max(), columns.max())) + 1
        spread = np.exp(0.5 * self.stimuli * self.draw((n, 1), random) * 0.5)
        spread = spread * np.exp(0.5 * self.probes * self.draw((1, m), random) * 0.5)
        values = spread * self.draw((n, m), random)
        values += self.stimuli * self.draw((n, 1), random) + self.probes * self.draw((1, m), random)
        return values + self.pairs * self.draw((units, units), random)[np.ix_(rows, columns)]


def array(values: np.ndarray, relation: np.ndarray, **coords: np.ndarray) -> xr.DataArray:
    """An array with coordinates; those named ``stimulus_*`` and ``probe_*`` are of one dimension."""
    placed = {
        name: (name.split("_")[0] if name.startswith(("stimulus_", "probe_")) else ("stimulus", "probe"), value)
        for name, value in {"relation": relation, **coords}.items()
    }
    n, m = values.shape
    dims = {"stimulus": np.arange(n), "probe": np.arange(m)}
    return xr.DataArray(values, dims=("stimulus", "probe"), coords=dims | placed)


def of_worlds(units: int, signal: float, effects: Effects, random: np.random.Generator) -> xr.DataArray:
    """Two stimuli a world, each with four probes that it is related to, and two foils for each of these."""
    stimuli, probes = np.repeat(np.arange(units), 2), np.repeat(np.arange(units), 24)
    of = np.tile(np.repeat([0, 1], 12), units)
    form = np.tile(np.repeat(np.arange(4), 3), 2 * units)
    kind = np.tile([0, 1, 2], 8 * units)
    own = (stimuli[:, None] == probes) & (np.tile([0, 1], units)[:, None] == of)
    related = own & (kind == 0)
    relation = np.where(related, np.where(form == 0, "direct", "entailed"), np.where(own, "foil", "unrelated"))
    place = np.arange(len(probes))
    foils = {
        f"foil_{name}": np.where(related, place + step, -1) for name, step in (("same_subject", 1), ("same_words", 2))
    }
    in_world = stimuli[:, None] == probes
    distance = np.where(in_world, np.where(related, form, 3 + form + kind + 3 * ~own), np.nan)
    return array(
        signal * related + effects.cells(stimuli, probes, random),
        relation,
        stimulus_id=np.array([f"s{i:04d}" for i in range(len(stimuli))]),
        probe_id=np.array([f"p{i:05d}" for i in range(len(probes))]),
        stimulus_world=stimuli,
        probe_world=probes,
        distance_path=distance.astype(float),
        **foils,
    )


def of_classes(units: int, signal: float, effects: Effects, random: np.random.Generator) -> xr.DataArray:
    """Six images a class, each both stimulus and probe; influence falls with the distance between them."""
    label = np.repeat(np.arange(units), 6)
    place = 2 * random.standard_normal((units, 3))[label] + random.standard_normal((len(label), 3))
    distance = np.linalg.norm(place[:, None] - place[None], axis=2)
    same_class, itself = label[:, None] == label, np.eye(len(label), dtype=bool)
    names = np.array([f"image-{i:03d}" for i in range(len(label))])
    return array(
        3 * signal * np.exp(-distance / 2) + effects.cells(label, label, random),
        np.where(itself, "direct", np.where(same_class, "entailed", "unrelated")),
        stimulus_id=names,
        probe_id=names,
        stimulus_class=label,
        probe_class=label,
        distance_feature=distance,
    )


def mirrored(units: int, signal: float, effects: Effects, random: np.random.Generator) -> xr.DataArray:
    """Six samples a class, in which a share ``signal`` of every effect is the same in both directions."""
    label = np.repeat(np.arange(units), 6)
    one, other = (effects.cells(label, label, random) for _ in range(2))
    both = one + one.T if signal else 0.0
    values = np.sqrt(signal / 2) * both + np.sqrt(1 - signal) * other
    return of_classes(units, 0.0, effects, random).copy(data=values)


def of_noise(units: int, signal: float, effects: Effects, random: np.random.Generator) -> xr.DataArray:
    """Sources clean and at one level of noise, which takes half of ``signal`` from what a stimulus teaches others."""
    source, sigma = np.tile(np.arange(units), 2), np.repeat([0.0, 1.0], units)
    itself = np.eye(len(source), dtype=bool)
    relation = np.where(itself, "direct", "entailed")
    taught = np.where(itself, 12.0, 4.0 * (1 - 0.5 * signal * sigma)[:, None])
    names = np.array([f"image-{s:03d}-{a:g}" for s, a in zip(source, sigma)])
    sources = np.array([f"image-{s:03d}" for s in source])
    # Versions of a source share what is peculiar to it, as stimulus and as probe.
    noise = (
        effects.cells(source, source, random)
        + effects.cells(np.arange(units), np.arange(units), random)[np.ix_(source, source)]
    )
    return array(
        taught + noise,
        relation,
        stimulus_id=names,
        probe_id=names,
        stimulus_sigma=sigma,
        probe_sigma=sigma,
        stimulus_source=sources,
        probe_source=sources,
    )


Maker = Callable[[int, float, Effects, np.random.Generator], xr.DataArray]

CASES: dict[str, tuple[Desideratum, Maker, tuple[float, ...]]] = {
    "symmetry": (Symmetry(), mirrored, (0.0, 0.5)),
    "distance decay, worlds": (DistanceDecay(), of_worlds, (0.0, 1.0)),
    "distance decay, classes": (DistanceDecay(), of_classes, (0.0, 1.0)),
    "sparsity, worlds": (Sparsity(), of_worlds, (0.0, 1.0)),
    "sparsity, classes": (Sparsity(), of_classes, (0.0, 1.0)),
    "noise": (NoiseInvariance(), of_noise, (0.0, 1.0)),
}
"""By name: the desideratum, what draws an array, and the signals in it."""


def scale_of(statistic: str) -> Scale:
    """The scale of a statistic's t distribution; see `Desideratum.correlation`."""
    if statistic == "correlation":
        return ARCSINE
    return FISHER if statistic.startswith("between_classes") else Scale(np.asarray, np.asarray)


def size_of(desideratum: Desideratum, drawn: Iterable[xr.DataArray]) -> list[Size]:
    """How often each finding errs over many draws, which need no preparation: they are finite and sorted."""
    found: dict[str, list[Finding]] = {}
    for one in drawn:
        for finding in desideratum.judge(one, np.random.default_rng(0)).findings:
            found.setdefault(finding.statistic, []).append(finding)
    return [summary(statistic, findings) for statistic, findings in found.items()]


def summary(statistic: str, findings: list[Finding]) -> Size:
    """How often these draws of one finding err."""
    ends = (np.array([getattr(finding, end) for finding in findings]) for end in ("effect", "low", "high"))
    scale = scale_of(statistic)
    effect, low, high = (scale.of(values) for values in ends)
    truth, freedom = effect.mean(), findings[0].n - 1
    narrower = stats.t.ppf(0.95, freedom) / stats.t.ppf(0.975, freedom)
    return Size(
        statistic,
        float(scale.back(truth)),
        satisfied=float(np.mean(effect - narrower * (effect - low) > truth)),
        violated=float(np.mean(effect + narrower * (high - effect) < truth)),
        covered=float(np.mean(((low <= truth) & (truth <= high))[np.isfinite(low)])),
        by_default=float(np.mean([f.p_value <= 0.05 for f in findings])),
    )


class Line(NamedTuple):
    """A line of the table: what was drawn, and how often one finding erred."""

    case: str
    units: int
    effects: str
    signal: float
    size: Size

    def __str__(self) -> str:
        shares = " | ".join(f"{100 * share:.1f}" for share in self.size[2:])
        place = f"{self.case} | `{self.size.statistic}` | {self.units} | {self.effects} | {self.signal:g}"
        return f"| {place} | {self.size.truth:.3f} | {shares} |"


def lines(cases: Iterable[str], draws: int, units: Iterable[int] = UNITS) -> Iterator[Line]:
    """A line for each case, number of units, effect, signal and finding."""
    for case in cases:
        desideratum, make, signals = CASES[case]
        for count, name, signal in itertools.product(units, EFFECTS, signals):
            seeds = (np.random.default_rng([draw, count]) for draw in range(draws))
            drawn = (make(count, signal, Effects.named(name), random) for random in seeds)
            for size in size_of(desideratum, drawn):
                yield Line(case, count, name, signal, size)


def overview(found: Iterable[Line]) -> Iterator[str]:
    """The extremes over effects and signals: a line for each case, finding and number of units."""
    groups: dict[tuple[str, str, int], list[Size]] = {}
    for line in found:
        groups.setdefault((line.case, line.size.statistic, line.units), []).append(line.size)
    yield "| case | statistic | units | satisfied, at most | violated, at most | covered |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for (case, statistic, units), sizes in groups.items():
        satisfied, violated = (100 * max(shares) for shares in list(zip(*sizes))[2:4])
        covered = [100 * size.covered for size in sizes]
        yield (
            f"| {case} | `{statistic}` | {units} | {satisfied:.1f} | {violated:.1f} |"
            f" {min(covered):.1f} to {max(covered):.1f} |"
        )


def main() -> None:
    """Print the table, and write it to ``benchmarks/results`` where it is the full one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size_of_four", description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS, help="simulated arrays a line (%(default)s)")
    parser.add_argument("--only", nargs="*", default=list(CASES), help="cases")
    parser.add_argument("--units", nargs="*", type=int, default=UNITS, help="numbers of classes, worlds or sources")
    options = parser.parse_args()
    head = [
        "| case | statistic | units | effects of | signal | truth | satisfied | violated | covered | at the bar |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(head))
    found = []
    for line in lines(options.only, options.draws, options.units):
        print(line, flush=True)
        found.append(line)
    title, short = "# How often the other four err", list(overview(found))
    print("", *short, sep="\n")
    if (options.draws, options.only, options.units) == (DRAWS, list(CASES), UNITS):
        RESULT.write_text("\n".join([title, "", *short, "", *head, *map(str, found), ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
