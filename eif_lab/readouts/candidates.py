"""Probes with candidate answers: which rows answer which probe, and how rows become readings of probes.

Each candidate is a row of its own, with the probe's input and the candidate as its target. ``log_prob`` and ``prob`` of
a probe are those of its target. The comparing readouts set the target against the other candidates, by scores: a row's
log-probability, or its log-probability per scored token where the probe's candidates differ in length, because a longer
answer is less probable for its length alone. The idea is that of ``acc_norm`` in EleutherAI's lm-evaluation-harness,
which divides by bytes; Gao, *Multiple Choice Normalization in LM Evaluation* (2021), describes both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from eif_lab.errors import rule_error
from eif_lab.readouts.classes import IGNORED, per_row
from eif_lab.readouts.readout import Readout


@dataclass(frozen=True)
class Candidates:
    """Which rows are the candidate answers of which probe.

    Attributes:
        places: The rows of each probe, its target's first; filled up with its target's.
        others: Which of them are other candidates than the target.
        divisors: What their log-probabilities are divided by: 1, or the scored tokens where a probe's candidates differ
            in those.
    """

    places: Int[Tensor, "probes most"]
    others: Bool[Tensor, "probes most"]
    divisors: Int[Tensor, "probes most"]

    @classmethod
    def of(cls, candidates: Tensor | np.ndarray, targets: Tensor) -> Candidates:
        """The rows by probe.

        Args:
            candidates: (rows,), which probe each row is a candidate answer of, whole numbers from 0 on; in any order,
                but a probe's target is the first of its rows.
            targets: (rows,) or (rows, positions), what each row scores.

        Raises:
            ConfigError: It is not one whole number per row, a probe has no row, or a row scores nothing.
        """
        probe = probe_of_each(candidates, len(targets)).to(targets.device)
        lengths = per_row(targets != IGNORED).sum(1)
        if not lengths.all():
            raise rule_error("candidates", "have a token to score each", f"none in row {int(lengths.argmin())}")
        counts = torch.bincount(probe)
        column = torch.arange(int(counts.max()), device=probe.device)
        real = column < counts[:, None]
        starts = (counts.cumsum(0) - counts)[:, None]
        places = probe.argsort(stable=True)[starts + torch.where(real, column, 0)]
        tokens = lengths[places]
        differ = (tokens != tokens[:, :1]).any(1, keepdim=True)
        return cls(places, real & (column > 0), torch.where(differ, tokens, 1))

    def __len__(self) -> int:
        """How many probes there are."""
        return len(self.places)

    @property
    def target_rows(self) -> Int[Tensor, " probes"]:
        """The row of each probe's target."""
        return self.places[:, 0]

    @cached_property
    def without_others(self) -> Bool[Tensor, " probes"]:
        """Which probes have no other candidate; they are read against all classes or sequences."""
        return ~self.others.any(1)

    def needed_for(self, readouts: Mapping[str, Readout]) -> bool:
        """Whether any of the readouts looks at another row than the target's."""
        return not self.without_others.all() and any(one.among is not None for one in readouts.values())

    def to(self, device: torch.device | str) -> Candidates:
        """The same on another device."""
        return Candidates(*(t.to(device) for t in (self.places, self.others, self.divisors)))

    def scores(self, logs: Float[Tensor, "*batch rows"]) -> Float[Tensor, "*batch probes most"]:
        """The scores that are compared, from the rows' log-probabilities."""
        return logs[..., self.places] / self.divisors

    def read_by_row(self, readouts: Mapping[str, Readout]) -> dict[str, Readout]:
        """The readouts that do not follow from the rows' log-probabilities."""

        def follows(one: Readout) -> bool:
            return one.of_log_prob is not None or (one.among is not None and not self.any_without_others)

        return {name: one for name, one in readouts.items() if not follows(one)}

    @cached_property
    def any_without_others(self) -> bool:
        """Whether any probe has no other candidate."""
        return bool(self.without_others.any())

    def probe_readings(
        self, readings: Shaped[Tensor, "*batch rows columns"], readouts: Mapping[str, Readout]
    ) -> Shaped[Tensor, "*batch probes readouts"]:
        """Readings of probes from readings of rows.

        Args:
            readings: Of each row its log-probability, then what `read_by_row` says.
            readouts: What is asked of the probes.
        """
        own, scores = readings[..., self.target_rows, :], self.scores(readings[..., 0])
        by_row = dict(zip(self.read_by_row(readouts), own[..., 1:].unbind(-1)))

        def reading(name: str, readout: Readout) -> Tensor:
            if readout.among is not None:
                among = readout.among(scores, self.others)
                return torch.where(self.without_others, by_row[name], among) if self.any_without_others else among
            return by_row[name] if readout.of_log_prob is None else readout.of_log_prob(own[..., 0])

        return torch.stack([reading(*one) for one in readouts.items()], dim=-1)


def probe_of_each(candidates: Any, rows: int) -> Int[Tensor, " rows"]:
    """The checked ``candidates``: a whole number for each row, and a row for each number from 0 to the largest."""
    rule = f"be one whole number for each of the {rows} rows of probes"
    try:
        given = torch.as_tensor(candidates)
    except (TypeError, ValueError, RuntimeError):
        raise rule_error("candidates", rule, type(candidates).__name__) from None
    whole = not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)
    if not whole or given.shape != (rows,):
        raise rule_error("candidates", rule, f"{given.dtype} of shape {tuple(given.shape)}")
    present = given.unique()
    if not torch.equal(present, torch.arange(len(present)).to(present)):
        missing = next(i for i, number in enumerate(present.tolist()) if i != number)
        hint = "Try candidates.unique(return_inverse=True)[1]."
        raise rule_error("candidates", "number the probes 0, 1, 2 and so on", f"no row of probe {missing}", hint)
    return given.long()
