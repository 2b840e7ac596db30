"""In each chunk one stimulus, drawn at random, is done again alone, and held to what the chunk has of it.

A trial of two stimuli at the base cannot see what differs only later: a layer that does something else with other rows,
at other weights, or with more stimuli. So of one stimulus of every chunk the last step's gradient is taken again by
``backward``, with its weights put into the model in place, and some probes are read again in a batch of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eif_lab.influence.alone import disagreement, gradient_alone, placed, some_trained, update_alone
from eif_lab.influence.axes import Disagreement, ReadOtherwise
from eif_lab.influence.gradients import Gradients, own_gradient, says_something
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.rounding import counts, resolution
from eif_lab.influence.versions import Version

MOST_DRAWN = 3
"""Stimuli that are drawn for one whose gradient says something."""

PROBES = 4
"""Rows of probes that are read again."""

OFF = 0.01
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
        names = some_trained(self.problem)
        for index in torch.randperm(len(self.members), generator=self.draw)[:MOST_DRAWN].tolist():
            values = dense(self.problem, versions, index) if self.step > 1 else {}
            with placed(self.problem, values):
                alone = gradient_alone(self.problem, self.problem.samples.take(self.members[index]), names)
            if self.members.is_meta:  # shapes alone, which take as long
                break
            strict = self.problem.update.moves_without_gradient
            if reason := disagreement(own_gradient(gradients, index), alone, strict):
                raise Disagreement(reason)
            self.index = index
            if says_something(alone):
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
        with placed(problem, dense(problem, versions, self.index)):
            after = problem.read_some(problem.model, *problem.probes.take(few))
        if few.is_meta:
            return
        before, own = problem.base_rows[few], rows[self.index, few]
        coarsest = max(torch.finfo(p.dtype).eps for p in problem.model.parameters() if is_number(p))
        for column, readout in enumerate(problem.columns):
            finite = before[:, column][before[:, column].isfinite()]
            if counts(readout, finite):
                continue
            moved = (after - before)[:, column].abs().nan_to_num(0, 0, 0)
            slack = OFF * float(moved.max()) + 4 * resolution(readout, finite, coarsest)
            if not torch.allclose(own[:, column], after[:, column], rtol=0, atol=slack, equal_nan=True):
                raise ReadOtherwise("probes are read otherwise among others than in a batch of their own")
        for index in (~rows.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()[:1]:
            [alone] = update_alone(
                replace(problem, trajectory=False),
                problem.update.make_optimizer(problem.trained.values()),
                self.members[index],
                lambda: problem.read_some(problem.model, *problem.probes.take(few)),
            )
            if bool((alone.isfinite() & ~rows[index, few].isfinite()).any()):
                raise Disagreement("a stimulus diverges among others, and not alone")


def is_number(parameter: Tensor) -> bool:
    """Whether it is one of real or complex numbers."""
    return parameter.is_floating_point() or parameter.is_complex()


def dense(problem: Problem, versions: Mapping[str, Version], index: int) -> dict[str, Tensor]:
    """One stimulus's parameters."""
    values = {}
    for name, version in versions.items():
        if isinstance(version, Tensor):
            values[name] = version[index]
        else:
            base = problem.trained[name].detach() * version.scale
            values[name] = base + sum(pair.only(index).dense()[0] for pair in version.pairs)
    return values
