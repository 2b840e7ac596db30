"""A cost model, fitted on this machine, and what it says of large models: ``python -m benchmarks.scale``.

Writes the tables of ``docs/scale.md`` between their marks.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.case import Architecture, language_case
from benchmarks.machine import machine
from benchmarks.timing import interleaved

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
MARK = "<!-- {name}: written by python -m benchmarks.scale -->"
GB = 1e9


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder.

    Attributes:
        hidden, intermediate, layers: Widths, and how many blocks.
        heads, groups: Of queries, and of keys and values.
        vocabulary: Tokens that it can say.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    groups: int
    vocabulary: int

    @property
    def products(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of every weight that tokens are multiplied with."""
        head = self.hidden // self.heads
        block = [
            (self.hidden, (self.heads + 2 * self.groups) * head),
            (self.heads * head, self.hidden),
            (self.hidden, 2 * self.intermediate),
            (self.intermediate, self.hidden),
        ]
        return block * self.layers + [(self.hidden, self.vocabulary)]

    @property
    def parameters(self) -> int:
        """With the embedding of tokens, and norms."""
        products = sum(rows * columns for rows, columns in self.products)
        return products + self.vocabulary * self.hidden + (2 * self.layers + 1) * self.hidden

    def forward_flops(self, tokens: int) -> float:
        """Of a text: products with weights, and attention."""
        products = 2 * tokens * sum(rows * columns for rows, columns in self.products)
        return products + 4 * tokens**2 * self.hidden * self.layers

    def pair_bytes(self, tokens: int, steps: int) -> float:
        """What `factored` keeps of a stimulus: float32 inputs and output gradients of each product, at every step."""
        return 4 * tokens * steps * sum(rows + columns for rows, columns in self.products)

    def change_flops(self, trained: int, read: int, steps: int) -> float:
        """Of a pair, for weights that change by pairs kept beside them (`factored` on a large model)."""
        return 2 * trained * steps * read * sum(rows + columns for rows, columns in self.products)


MODELS = {
    "Phi-3-mini, 3.8 billion": Shape(3072, 8192, 32, 32, 32, 32064),
    "70 billion (the shape of Llama 3 70B)": Shape(8192, 28672, 80, 64, 8, 128256),
}
STIMULI = PROBES = 10_000
TOKENS, STEPS = 20, 1


@dataclass(frozen=True)
class Accelerator:
    """What is assumed of one; nothing here was measured.

    Attributes:
        name: As the vendor calls it.
        memory: Bytes.
        rate: Dense bfloat16 operations per second, by the vendor's sheet.
        share: Of the rate that probe passes reach.
    """

    name: str = "H100 SXM"
    memory: float = 80 * GB
    rate: float = 989e12
    share: float = 0.4


class Measured(NamedTuple):
    """A measurement that was timed: what it was, its stimuli, its operations, and its median time."""

    name: str
    stimuli: int
    flops: float
    seconds: float

    @property
    def terms(self) -> np.ndarray:
        """What the cost model multiplies its three numbers with."""
        return np.array([1.0, self.stimuli, self.flops])


def measure(sizes: Sequence[tuple[int, int, int, int]], rounds: int) -> Iterator[Measured]:
    """Times of ``factored`` on Phi-3 models of several widths, sizes and lengths.

    Args:
        sizes: Hidden size, stimuli, probes, tokens.
        rounds: How often each is timed.
    """
    for hidden, stimuli, probes, tokens in sizes:
        architecture = Architecture(hidden, 8 * hidden // 3 // 16 * 16, 4, 4, 512)
        shape = Shape(hidden, architecture.intermediate_size, 4, 4, 4, 512)
        case = language_case(stimuli, probes, architecture=architecture, tokens=tokens)
        [times] = interleaved({"factored": partial(case.influence, "factored")}, rounds).values()
        name = f"hidden {hidden}, {stimuli} x {probes}, {tokens} tokens"
        yield Measured(name, stimuli, work(shape, stimuli, probes, tokens), statistics.median(times))


def work(shape: Shape, stimuli: int, probes: int, tokens: int, steps: int = 1) -> float:
    """Operations of a measurement on a small model, where changes are merged: updates (three passes), and all pairs."""
    return (3 * steps * stimuli + stimuli * probes) * shape.forward_flops(tokens)


def fit(found: Sequence[Measured]) -> np.ndarray:
    """Seconds of a measurement, of each stimulus, and of an operation, by least squares on relative errors: (3,)."""
    seconds = np.array([one.seconds for one in found])
    rows = np.array([one.terms for one in found]) / seconds[:, None]
    return np.linalg.lstsq(rows, np.ones_like(seconds), rcond=None)[0]


def fit_table(found: Sequence[Measured]) -> str:
    """Measured beside fitted, and beside what a fit without that row says."""
    here, (once, stimulus, operation) = machine(), fit(found)
    lines = [
        f"`seconds = {once:.2g} + {stimulus:.2g} * stimuli + operations / {1 / operation:.3g} per second`,",
        f"on {here['processor']} ({here['instructions']}) with {here['cores']} cores, {here['date']},",
        "float32, Phi-3 with random weights, `factored`, one step:",
        "",
        "| what | operations | measured, s | fitted, s | fitted without it, s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for place, one in enumerate(found):
        both = (float(one.terms @ fit(rows)) for rows in (found, [*found[:place], *found[place + 1 :]]))
        cells = [one.name, f"{one.flops:.2g}", f"{one.seconds:.2f}", *(f"{seconds:.2f}" for seconds in both)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def scale_table(one: Accelerator) -> str:
    """Time, memory and storage of the large models on 1, 8 and 64 accelerators."""
    lines = [
        f"{STIMULI:,} stimuli x {PROBES:,} probes of {TOKENS} tokens, one step, full fine-tuning by `factored`,",
        f"bfloat16 weights. **Computed, not measured**: {one.name} with {one.memory / GB:.0f} GB and",
        f"{one.rate / 1e12:.0f} TFLOP/s dense (the vendor's sheet); passes are taken to reach {one.share:.0%} of it.",
        "",
        "| model | accelerators | weights, GB | pairs of 32 stimuli, GB | fits one | operations | time |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (name, shape), count in itertools.product(MODELS.items(), (1, 8, 64)):
        weights = 2 * shape.parameters
        kept = 32 * shape.pair_bytes(TOKENS, STEPS)
        passes = (3 * STEPS * STIMULI + STIMULI * PROBES) * shape.forward_flops(TOKENS)
        flops = passes + STIMULI * PROBES * shape.change_flops(TOKENS, TOKENS, STEPS)
        fits = weights + kept < 0.9 * one.memory
        needed = math.ceil((weights + kept) / (0.9 * one.memory))
        hours = flops / (one.rate * one.share * count) / 3600
        cells = [
            name,
            str(count),
            f"{weights / GB:.0f}",
            f"{kept / GB:.1f}",
            "yes" if fits else f"no: {needed} for one copy",
        ]
        duration = time_text(hours) if fits or count >= needed else "cannot start"
        lines.append(f"| {' | '.join([*cells, f'{flops:.2g}', duration])} |")
    return "\n".join(lines)


def time_text(hours: float) -> str:
    """A time for the eye."""
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def storage_table() -> str:
    """What an array takes, by its side."""
    lines = [
        "| stimuli x probes | values, float32 | parts of 32 stimuli | chunks | relations in memory | a distance |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for side in (1_000, 10_000, 100_000):
        cells = side * side
        rows = max(1, 16 * 2**20 // (4 * side))
        shown = [f"{side:,} x {side:,}", size(4 * cells), f"{math.ceil(side / 32):,} of {size(4 * 32 * side)}"]
        shown += [f"{math.ceil(side / rows):,} of {size(4 * rows * side)}", size(48 * cells), size(8 * cells)]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes for the eye."""
    return f"{count / GB:.3g} GB" if count >= GB else f"{count / 1e6:.3g} MB"


def fill_page(page: str, tables: dict[str, str]) -> str:
    """The page with each table between its marks."""
    for name, table in tables.items():
        begin, end = MARK.format(name=name), f"<!-- end of {name} -->"
        before, rest = page.split(begin)
        page = f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"
    return page


def main() -> None:
    """Measure, fit, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="print it from small runs, and write nothing")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    sizes = [(32, 4, 8, 10), (64, 4, 16, 10), (64, 8, 16, 20)] if quick else SIZES
    found = list(measure(sizes, rounds=2 if quick else 5))
    tables = {"fit": fit_table(found), "scale": scale_table(Accelerator()), "storage": storage_table()}
    print("\n\n".join(tables.values()))
    if not quick:
        PAGE.write_text(fill_page(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


SIZES = [
    (128, 16, 32, 15),
    (128, 64, 64, 15),
    (256, 16, 32, 15),
    (256, 32, 64, 30),
    (384, 16, 64, 15),
    (512, 16, 32, 15),
    (512, 16, 64, 30),
]
"""Of the models that are timed: hidden size, stimuli, probes, tokens."""


if __name__ == "__main__":
    main()
