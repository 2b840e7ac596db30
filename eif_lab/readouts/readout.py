"""Readouts: scalars of (model, probe), each one entry of one table."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eif_lab.errors import reason_of, rule_error, short_of_memory, unknown_name
from eif_lab.readouts.among import correct_among, log_odds_among, rank_among
from eif_lab.readouts.classes import correct, log_odds, log_prob, prob, rank

Score = Callable[[Tensor, Tensor], Tensor]
"""(output, targets) to one scalar per row."""


@dataclass(frozen=True)
class Readout:
    """A scalar of (model, probe), with its properties.

    Attributes:
        name: What arrays and options call it.
        function: (output, targets) to one scalar per row: (n,).
        unit: Of its influence, such as ``nat``; empty where it has none.
        sign: -1 where lower is better, so that positive influence always means a likelier target; else 1.
        among: Where it sets the target against the probe's other candidates: (scores, which are other candidates) to
            one scalar per probe. None where it looks at the target alone.
        of_log_prob: Its value from the target's log-probability, where that is all that it needs.
        is_count: Whether its values are whole numbers, which have no gradient and which a small update rightly does not
            change. None: its readings tell.
        magnitude: Readings to the size, in the readings' unit, that their rounding errors are relative to.
        reads_classes: Whether it takes outputs for scores of classes, row by row, and leaves them as they are. Outputs
            and targets are then checked beforehand, and may share passes.
    """

    name: str
    function: Score
    unit: str = ""
    sign: int = 1
    among: Callable[[Tensor, Tensor], Tensor] | None = None
    of_log_prob: Callable[[Tensor], Tensor] | None = None
    is_count: bool | None = None
    magnitude: Callable[[Tensor], Tensor] = torch.abs
    reads_classes: bool = False

    def __call__(self, output: Tensor, targets: Tensor) -> Tensor:
        """Its value for each row: (n,)."""
        return self.function(output, targets)


def difference_rounding(readings: Tensor) -> Tensor:
    """A log-probability is a difference of numbers of size 1 at least, also where it is near zero."""
    return readings.abs() + 1


def probability_rounding(readings: Tensor) -> Tensor:
    """A probability has its logarithm's error relative to itself."""
    size = readings.abs()
    return size * (1 - size.clamp(min=torch.finfo(size.dtype).tiny).log())


READOUTS: dict[str, Readout] = {
    one.name: one
    for one in (
        Readout(
            "log_prob", log_prob, "nat",
            of_log_prob=torch.clone, is_count=False, magnitude=difference_rounding, reads_classes=True,
        ),
        Readout(
            "log_odds", log_odds, "nat",
            among=log_odds_among, is_count=False, magnitude=difference_rounding, reads_classes=True,
        ),
        Readout(
            "prob", prob, "probability",
            of_log_prob=torch.exp, is_count=False, magnitude=probability_rounding, reads_classes=True,
        ),
        Readout("rank", rank, "ranks", sign=-1, among=rank_among, is_count=True, reads_classes=True),
        Readout("correct", correct, "share", among=correct_among, is_count=True, reads_classes=True),
    )
}  # fmt: skip
"""The readouts that have a name; another one is an entry here, or a function wherever it is."""


def named_readouts(readout: Any) -> dict[str, Readout]:
    """Readouts by name.

    Args:
        readout: A name of `READOUTS`, the dotted path of a function or `Readout` (``my_package.readouts.margin``), a
            `Readout`, a function (output, targets), or a list of these. A path is its own name; a function goes by its
            ``__name__``, has no unit, and is better when higher.

    Raises:
        ConfigError: A name that does not exist, a path that cannot be imported, or two of the same name.
    """
    several = isinstance(readout, list | tuple)
    if not (several or isinstance(readout, str) or callable(readout)):
        raise rule_error("readout", "be a name, a function, or a list of these", readout, "Try log_prob.")
    chosen: list[str | Score] = list(readout) if several else [readout]
    if not chosen:
        raise rule_error("readout", "name at least one readout", chosen, "Try log_prob.")
    named: dict[str, Readout] = {}
    for one in map(as_readout, chosen):
        if one.name in named:
            raise rule_error("readout", "have a name for each", one.name, "Give each function another __name__.")
        named[one.name] = one
    return named


def as_readout(one: str | Score) -> Readout:
    """A name, a dotted path, or a function as a readout.

    Raises:
        ConfigError: There is no such readout.
    """
    if isinstance(one, Readout):
        return one
    if callable(one):
        known = (entry for entry in READOUTS.values() if entry.function is one)
        return next(known, Readout(getattr(one, "__name__", type(one).__name__), one))
    name = str(one)
    if name in READOUTS:
        return READOUTS[name]
    if "." not in name:
        raise unknown_name("readout", name, READOUTS)
    return replace(as_readout(import_readout(name)), name=name)


def import_readout(path: str) -> Score:
    """The function or `Readout` that a dotted path names.

    Raises:
        ConfigError: It cannot be imported, or is neither.
    """
    module, _, name = path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a module of the user's own raises
        if short_of_memory(error):
            raise
        reason = reason_of(error)
        raise rule_error("readout", f"be a name, or a path that can be imported ({reason})", path) from None
    if not callable(function):
        raise rule_error("readout", "name a function (output, targets)", path)
    return function
