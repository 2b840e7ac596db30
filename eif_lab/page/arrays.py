"""Influence arrays as the page holds them: every cell where that fits, else the strongest cell of each block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from eif_lab.data.task import RELATIONS
from eif_lab.desiderata.selection import neutral, texts
from eif_lab.page.contents import Contents
from eif_lab.results.summary import last_step, unit

GROUPS = {"class": "class", "world": "world", "sigma": "strength of noise", "form": "form"}
"""Coordinates that samples can be ordered by, and what the page calls them; the first one there is orders blocks."""

QUANTILES = (0.9, 0.99, 1.0)
"""Where the colour scale may end, as quantiles of the absolute influence."""

MOST_MOVED = 8
"""Number of raised and of lowered probes that are listed for each stimulus, with exact values."""

STRONGEST = 20
"""Number of the whole array's cells that are listed."""


@dataclass(frozen=True)
class Overview:
    """An array in units: single samples, or runs of neighbours where the whole would be too large.

    Attributes:
        rows, columns: Which stimuli (probes) each unit is of, -1 where a unit has fewer than the others.
        values: Of each pair of units its strongest cell, with its sign; NaN where no cell is finite.
        offsets: Which cell that is: place in the row's unit * width of a column's unit + place in the column's unit.
        relations: What that cell's stimulus says about its probe, an index into `RELATIONS`.
    """

    rows: Int[np.ndarray, "row height"]
    columns: Int[np.ndarray, "column width"]
    values: Float[np.ndarray, "row column"]
    offsets: Int[np.ndarray, "row column"]
    relations: Shaped[np.ndarray, "row column"]


def overview(
    values: Float[np.ndarray, "stimulus probe"],
    relations: Shaped[np.ndarray, "stimulus probe"],
    orders: tuple[Int[np.ndarray, " stimulus"], Int[np.ndarray, " probe"]],
    cells: int,
) -> Overview:
    """The array in at most ``cells`` pairs of units.

    Args:
        values: One readout.
        relations: Indices into `RELATIONS`.
        orders: Which stimuli, and which probes, are neighbours.
        cells: One at least.
    """
    height, width = block_shape(values.shape, cells)
    rows, columns = units(orders[0], height), units(orders[1], width)
    offsets = np.zeros((len(rows), len(columns)), dtype=np.int32)
    absent = (rows[:, None, :, None] < 0) | (columns[None, :, None, :] < 0) if height * width > 1 else None
    for index, row in enumerate(rows):
        block = np.abs(values[row][:, columns]).transpose(1, 0, 2)
        block = np.where(np.isnan(block), -1, block)
        if absent is not None:
            block = np.where(absent[index], -2, block)
        offsets[index] = block.reshape(len(columns), -1).argmax(axis=1)
    stimuli = rows[np.arange(len(rows))[:, None], offsets // width]
    probes = columns[np.arange(len(columns))[None, :], offsets % width]
    strongest = values[stimuli, probes].astype(np.float32)
    return Overview(rows, columns, strongest, offsets, relations[stimuli, probes])


def block_shape(shape: tuple[int, int], cells: int) -> tuple[int, int]:
    """The smallest (height, width) of blocks of which ``cells`` cover the array; the longer side gives way first."""
    height = width = 1
    while True:
        rows, columns = -(-shape[0] // height), -(-shape[1] // width)
        if rows * columns <= cells:
            return height, width
        if columns >= rows:
            width += 1
        else:
            height += 1


def units(order: Int[np.ndarray, " n"], size: int) -> Int[np.ndarray, "unit size"]:
    """Runs of ``size`` neighbours; the last one is filled up with -1."""
    padded = np.full(-(-len(order) // size) * size, -1, dtype=np.int32)
    padded[: len(order)] = order
    return padded.reshape(-1, size)


def most_moved(
    values: Float[np.ndarray, "stimulus probe"], count: int = MOST_MOVED
) -> Int[np.ndarray, "stimulus twice_count"]:
    """The probes that each stimulus raised most, most first, then those that it lowered most.

    Undefined influence comes last among either; there are fewer where the array has fewer probes.
    """
    count = min(count, values.shape[1])
    sides = []
    for side in (values, -values):
        known = np.where(np.isnan(side), -np.inf, side)
        top = np.argpartition(-known, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(known, top, axis=1), axis=1, kind="stable")
        sides.append(np.take_along_axis(top, order, axis=1))
    return np.concatenate(sides, axis=1).astype(np.int32)


def strongest_cells(values: Float[np.ndarray, "stimulus probe"], count: int = STRONGEST) -> Int[np.ndarray, " cell"]:
    """Flat indices of the cells of largest magnitude, largest first, without undefined ones."""
    magnitude = np.where(np.isnan(values), -1, np.abs(values)).ravel()
    count = min(count, magnitude.size)
    top = np.argpartition(-magnitude, count - 1)[:count]
    top = top[np.argsort(-magnitude[top], kind="stable")]
    return top[magnitude[top] >= 0].astype(np.int32)


def scales(values: Float[np.ndarray, "stimulus probe"]) -> list[float]:
    """Magnitudes at which the colour scale may end: the `QUANTILES` of the finite ones."""
    known = np.abs(values[np.isfinite(values)])
    return np.quantile(known, QUANTILES).astype(float).tolist() if known.size else [0.0] * len(QUANTILES)


def relation_codes(influence: xr.DataArray) -> Shaped[np.ndarray, "stimulus probe"]:
    """Indices into `RELATIONS`; any other relation, or none, has their number as its code."""
    shape = (influence.sizes["stimulus"], influence.sizes["probe"])
    codes = np.full(shape, len(RELATIONS), dtype=np.uint8)
    if "relation" not in influence.coords:
        return codes
    relation = influence["relation"].transpose("stimulus", "probe").values
    for index, name in enumerate(RELATIONS):
        codes[relation == name] = index
    return codes


def sample_table(influence: xr.DataArray, dim: str, longest: int) -> dict[str, Any]:
    """A table of stimuli (or probes) for the page: ids, labels (None: the ids), groups, and which are neutral.

    Args:
        influence: With the coordinates of a job.
        dim: ``stimulus`` or ``probe``.
        longest: Longer texts are cut to so many characters, and end in an ellipsis.
    """
    ids, labels = ([shorten(text, longest) for text in texts(influence, f"{dim}_{name}")] for name in ("id", "label"))
    table: dict[str, Any] = {"ids": ids, "labels": None if labels == ids else labels, "groups": {}, "neutral": []}
    for name in GROUPS:
        if f"{dim}_{name}" in influence.coords:
            codes, names = group(influence, dim, name)
            table["groups"][name] = {"codes": codes.tolist(), "names": names}
    if dim == "stimulus":
        table["neutral"] = np.flatnonzero(neutral(influence)).tolist()
    return table


def group(influence: xr.DataArray, dim: str, name: str) -> tuple[Int[np.ndarray, " n"], list[str]]:
    """The group that each sample belongs to, and the groups' names in order."""
    values = influence[f"{dim}_{name}"].values
    known, first, codes = np.unique(values, return_index=True, return_inverse=True)
    names = texts(influence, f"{dim}_label")[first] if name == "class" else [f"{value}" for value in known]
    return codes, [f"world {value}" if name == "world" else str(value) for value in names]


def neighbours(influence: xr.DataArray, dim: str) -> Int[np.ndarray, " n"]:
    """The order in which samples stand side by side in blocks: by class or world, else as stored."""
    name = next((name for name in GROUPS if f"{dim}_{name}" in influence.coords), None)
    return (
        np.arange(influence.sizes[dim]) if name is None else np.argsort(group(influence, dim, name)[0], kind="stable")
    )


def shorten(text: str, longest: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def shares(sizes: Sequence[int], cells: int) -> list[int]:
    """The number of cells that each array may have: small arrays are whole, the remaining cells are split evenly."""
    granted = [0] * len(sizes)
    left = cells
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for done, index in enumerate(order):
        granted[index] = max(1, min(sizes[index], left // (len(order) - done)))
        left -= granted[index]
    return granted


def describe_array(
    influence: xr.DataArray, cells: Sequence[int], longest: int, contents: Contents
) -> tuple[dict[str, Any], Int[np.ndarray, " probe"]]:
    """One job's arrays, a description for each readout, and the probes that the page names outside of the arrays.

    Args:
        influence: Dims (seed, stimulus, step, probe, readout), with the coordinates of a job.
        cells: How many cells each readout may have.
        longest: See `sample_table`.
        contents: What is large goes here.
    """
    last, relations = last_step(influence), relation_codes(influence)
    orders = neighbours(influence, "stimulus"), neighbours(influence, "probe")
    readouts, shown = {}, np.zeros(0, dtype=np.int32)
    for index, name in enumerate(str(name) for name in influence["readout"].values):
        values = last.isel(readout=index).values.astype(np.float32)
        seen, moved, top = (
            overview(values, relations, orders, cells[index]),
            most_moved(values),
            strongest_cells(values),
        )
        readouts[name] = describe_readout(values, relations, seen, moved, top, contents=contents)
        readouts[name]["unit"] = unit(influence, name)
        shown = np.concatenate([shown, moved.ravel(), top % values.shape[1]])
    described = {
        "readouts": readouts,
        "shape": list(relations.shape),
        "step": np.asarray(influence["step"].values)[-1].item(),
        "steps": influence.sizes["step"],
        "seeds": influence.sizes["seed"],
        "sign": str(influence.attrs.get("sign", "")),
    }
    return described, np.unique(shown)


def describe_readout(
    values: Float[np.ndarray, "stimulus probe"],
    relations: Shaped[np.ndarray, "stimulus probe"],
    seen: Overview,
    moved: Int[np.ndarray, "stimulus moved"],
    top: Int[np.ndarray, " cell"],
    *,
    contents: Contents,
) -> dict[str, Any]:
    """Data from which the page draws one readout: the results of `overview`, `most_moved` and `strongest_cells`."""
    return {
        "block": [seen.rows.shape[1], seen.columns.shape[1]],
        "rows": contents.add(seen.rows),
        "columns": contents.add(seen.columns),
        "values": contents.add(seen.values),
        "offsets": contents.add(seen.offsets),
        "relations": contents.add(seen.relations),
        "scales": scales(values),
        "moved": contents.add(moved),
        "moved_values": contents.add(np.take_along_axis(values, moved, axis=1)),
        "moved_relations": contents.add(np.take_along_axis(relations, moved, axis=1)),
        "strongest": contents.add(top),
        "strongest_values": contents.add(values.ravel()[top]),
        "strongest_relations": contents.add(relations.ravel()[top]),
    }
