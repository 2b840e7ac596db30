"""In each chunk one stimulus, drawn at random, is done again alone, and held to what the chunk has of it.

A trial of two stimuli at the base cannot see what differs only later: a layer that does something else with other rows,
at other weights, or with more stimuli. So of one stimulus of every chunk the last step's gradient is taken again by
``backward``, with its weights put into the model in place, and some probes are read again in a batch of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eif_lab.influence.per_sample.alone import gradient_alone, placed, some_trained, update_alone
from eif_lab.influence.per_sample.axes import Disagreement, ReadOtherwise
from eif_lab.influence.per_sample.gradients import Gradients, Jury, own_gradient, says_something
from eif_lab.influence.per_sample.versions import Version
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.precision import coarsest_unit, counts, resolution

MOST_DRAWN = 3
"""Stimuli that are drawn for one whose gradient says something."""

PROBES = 4
"""Rows of probes that are read again."""

OFF = 1e-3
"""How far influence may be off, of the largest that is read again, beside rounding."""


class Recheck:
    """One stimulus of a chunk, done again alone.

    Args:
        problem: What is asked.
        members: The rows that each of the chunk's stimuli trains on.

    Attributes:
        step: The step whose gradient is taken again: the last; in low precision, which does not hold a small update in
            the model's own weights, the first.
    """

    def __init__(self, problem: Problem, members: Tensor) -> None:
        self.problem, self.members = problem, members
        trained = problem.trained.values()
        self.precise = all(torch.finfo(p.dtype).bits >= 32 for p in trained)
        self.fits = 3 * sum(p.nbytes for p in trained) < problem.memory_budget * GIB
        whole = self.precise and self.fits
        self.step = problem.update.steps if whole else 1
        self.draw = torch.Generator().manual_seed(0 if members.is_meta else int(members[0, 0]))
        self.index = 0

    def gradient(self, versions: Mapping[str, Version], gradients: Gradients) -> None:
        """Hold the gradient of a stimulus, at the weights before the step, to its own alone.

        Raises:
            Disagreement: They differ.
        """
        if changed := self.problem.state.changed():
            self.problem.restore()
            raise Disagreement(f"a call of the model changes its {changed}")
        names, jury = some_trained(self.problem), Jury(self.problem)
        for index in torch.randperm(len(self.members), generator=self.draw)[:MOST_DRAWN].tolist():
            values = dense(self.problem, versions, index)[0] if self.step > 1 else {}
            with placed(self.problem, values):
                alone = gradient_alone(self.problem, self.problem.samples.take(self.members[index]), names)
            self.index = index
            own = own_gradient(gradients, index)
            # of shapes without numbers nothing can be said, and it takes as long
            agreed = self.members.is_meta or (jury.hear(own, alone) and says_something(alone))
            if agreed:
                break

    def readings(self, versions: Mapping[str, Version], rows: Tensor) -> None:
        """Hold what is read of some probes after the update to what is read of them in a batch of their own.

        Args:
            versions: The weights after the update.
            rows: (stimuli, rows, columns), what was read.

        Raises:
            Disagreement: They differ.
        """
        problem = self.problem
        if not (self.precise and self.fits):
            return
        few = torch.randperm(rows.shape[1], generator=self.draw)[:PROBES].sort().values.to(problem.members.device)
        if problem.one_pass:
            few = torch.arange(rows.shape[1], device=few.device)
        values, lost = dense(problem, versions, self.index)
        with placed(problem, values):
            after = problem.read_some(problem.model, *problem.probes.take(few))
        if few.is_meta:
            return
        if math.isfinite(lost):
            self.must_read_alike(problem.base_rows[few], after, rows[self.index, few], OFF + 2 * lost)
        unfinished = (~rows.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        if unfinished:
            self.must_diverge(unfinished[0], few, rows[unfinished[0], few])

    def must_read_alike(self, before: Tensor, alone: Tensor, own: Tensor, share: float) -> None:
        """Hold readings to those alone, up to rounding and a share of the largest influence: (rows, columns) each."""
        coarsest = coarsest_unit(self.problem)
        for readout, old, expected, found in zip(self.problem.columns, before.T, alone.T, own.T):
            finite = old[old.isfinite()]
            if counts(readout, finite):
                continue
            largest = float((expected - old).abs().nan_to_num(0, 0, 0).max())
            slack = share * largest + 4 * resolution(readout, finite, coarsest)
            if not torch.allclose(found, expected, rtol=0, atol=slack, equal_nan=True):
                raise ReadOtherwise("probes are read otherwise among others than in a batch of their own")

    def must_diverge(self, index: int, few: Tensor, own: Tensor) -> None:
        """See that a stimulus whose readings are not finite has none that are alone."""
        problem = replace(self.problem, trajectory=False)
        optimizer = problem.update.make_optimizer(problem.trained.values())

        def read() -> Tensor:
            return problem.read_some(problem.model, *problem.probes.take(few))

        [alone] = update_alone(problem, optimizer, self.members[index], read)
        if bool((alone.isfinite() & ~own.isfinite()).any()):
            raise Disagreement("a stimulus diverges among others, and not alone")


def dense(problem: Problem, versions: Mapping[str, Version], index: int) -> tuple[dict[str, Tensor], float]:
    """One stimulus's parameters, and the share of their change that is lost to rounding where it was kept as pairs."""
    values, errors, steps = dict[str, Tensor](), 0.0, 0.0
    for name, version in versions.items():
        if isinstance(version, Tensor):
            values[name] = version[index]
            continue
        base = problem.trained[name].detach()
        change = base * (version.scale - 1) if version.scale != 1 else torch.zeros_like(base)
        for pair in version.only(index).pairs:
            pair.add_to(change, 0)
        values[name] = base + change
        if not base.is_meta:
            errors += float((values[name] - base - change).square().sum())
            steps += float(change.square().sum())
    return values, math.sqrt(errors / steps) if steps else 0.0
