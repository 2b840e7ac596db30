"""Where the marks of jobs stand in panels that have a row for each dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from eif_lab.figures.runs import setting
from eif_lab.results.job import JobResults

ROW = 0.7
"""The height of a dataset's marks together."""

IN_ORDER = "Jobs that share domain and method, as several seeds do, stand below each other in the order of the table."
"""A sentence for captions, of what `places_of` does."""


class Place(NamedTuple):
    """A job's part of its dataset's row.

    Attributes:
        middle: On the vertical axis.
        height: There.
    """

    middle: float
    height: float


def places_of(jobs: Sequence[JobResults], names: Sequence[str], methods: Sequence[str]) -> list[Place]:
    """Each job's place: a row for each dataset, in it a part for each method, which jobs that share both divide."""
    shared = [(names.index(setting(job).dataset), methods.index(setting(job).method)) for job in jobs]
    counts, part = Counter(shared), ROW / len(methods)
    places = []
    for number, (row, method) in enumerate(shared):
        height = part / counts[row, method]
        above = shared[:number].count((row, method))
        places.append(Place(row - ROW / 2 + part * method + height * (above + 0.5), height))
    return places


def most_in_a_row(places: Sequence[Place]) -> int:
    """How many of the smallest of these places a row has room for."""
    return round(ROW / min((place.height for place in places), default=ROW))
