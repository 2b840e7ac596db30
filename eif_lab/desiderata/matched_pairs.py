"""Matched pairs: two probes of one stimulus, of which one is what the other is compared with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from eif_lab.desiderata.selection import require, texts
from eif_lab.errors import NotApplicable


class Pairs(NamedTuple):
    """Cells of an array, two probes of one stimulus at a time.

    Attributes:
        rows: The stimuli.
        columns: The probes that a claim is about.
        others: What each is compared with.
    """

    rows: Int[np.ndarray, " pairs"]
    columns: Int[np.ndarray, " pairs"]
    others: Int[np.ndarray, " pairs"]


def matched_pairs(influence: xr.DataArray, relation: str) -> Pairs:
    """The probes of a relation, each with the foil that was made for it.

    Raises:
        NotApplicable: There is none.
    """
    hint = "Choose a text dataset that has them."
    require(influence, "foil", hint=hint)
    foil = influence["foil"].transpose("stimulus", "probe").values.astype(int)
    # `foil` holds a probe's index, which is its place no longer once probes were sorted or left out.
    column = influence.indexes["probe"].get_indexer(foil.ravel()).reshape(foil.shape)
    rows, columns = np.nonzero((texts(influence, "relation") == relation) & (foil >= 0) & (column >= 0))
    if not len(rows):
        raise NotApplicable(f"influence must have {relation} probes with matched foils, got none. {hint}")
    return Pairs(rows, columns, column[rows, columns])


def negated_pairs(influence: xr.DataArray) -> Pairs:
    """The entailed and the contradicted probes of which one negates the other; none without ``probe_negates``."""
    relation = texts(influence, "relation")
    place = {name: j for j, name in enumerate(texts(influence, "probe_id")) if name}
    negates = texts(influence, "probe_negates") if "probe_negates" in influence.coords else np.array([], dtype=str)
    links = [(j, place[name]) for j, name in enumerate(negates) if name in place]
    # Either may be the one that is entailed: where it is the denial that follows, the plain sentence is contradicted.
    columns, others = np.array(sorted({*links, *((b, a) for a, b in links)}), dtype=int).reshape(-1, 2).T
    rows, link = np.nonzero((relation[:, columns] == "entailed") & (relation[:, others] == "contradicted"))
    return Pairs(rows, columns[link], others[link])


def wins(higher: Float[np.ndarray, " pairs"], lower: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """1 where the first of a pair is above the second, 1/2 where they are equal, else 0."""
    return (np.sign(higher - lower) + 1) / 2
