"""In each chunk one stimulus, drawn at random, is done again alone, and compared with its part of the chunk.

A trial of two stimuli at the base cannot see what differs only later: a layer that does something else with other rows,
at other weights, or with more stimuli. So of one stimulus of every chunk the last step's gradient is taken again by
``backward``, with its weights put into the model in place, and some probes are read again in a batch of their own.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from eif_lab.influence.per_sample.alone import gradient_alone, parameters_set_to, some_trained, update_alone
from eif_lab.influence.per_sample.axes import Disagreement, ReadingDisagreement
from eif_lab.influence.per_sample.backward import Gradients
from eif_lab.influence.per_sample.layers.layer import Parameters
from eif_lab.influence.per_sample.trial import GradientCheck, is_telling
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.reading.passes import Passes
from eif_lab.influence.resources.precision import coarsest_unit, counts, resolution

MOST_DRAWN = 3
"""Stimuli that are drawn for one whose gradient tells right from wrong."""

PROBES = 4
"""Rows of probes that are read again."""

OFF = 1e-3
"""How far influence may be off, of the largest that is read again, beside rounding."""


class Recheck:
    """One stimulus of a chunk, done again alone.

    Args:
        problem: What is measured of the chunk's stimuli.
        passes: How its probes are read.

    Attributes:
        step: The step whose gradient is taken again: the last; in low precision, which does not hold a small update in
            the model's own weights, the first.
    """

    def __init__(self, problem: Problem, passes: Passes) -> None:
        self.problem, self.passes, self.members = problem, passes, problem.members
        members = problem.members
        trained = problem.trained.values()
        self.precise = all(torch.finfo(p.dtype).bits >= 32 for p in trained)
        self.fits = 3 * sum(p.nbytes for p in trained) < problem.memory_budget * GIB
        whole = self.precise and self.fits
        self.step = problem.steps if whole else 1
        self.draw = torch.Generator().manual_seed(0 if members.is_meta else int(members[0, 0]))
        self.index = 0

    def gradient(self, parameters: Parameters, gradients: Gradients) -> None:
        """Compare the gradient of a stimulus, at the weights before the step, with the one that it has alone.

        Raises:
            Disagreement: They differ.
        """
        problem, rows = self.problem, self.problem.rows_at(self.step)
        if changed := problem.base.changed():
            problem.base.restore()
            raise Disagreement(f"a call of the model changes its {changed}")
        names, check = some_trained(problem), GradientCheck(problem.update.moves_without_gradient)
        for index in torch.randperm(len(self.members), generator=self.draw)[:MOST_DRAWN].tolist():
            values = dense(problem, parameters, index)[0] if self.step > 1 else {}
            with parameters_set_to(problem, values):
                alone = gradient_alone(problem, problem.samples.take(rows[index]), names)
            self.index = index
            among = gradients.of(index)
            # of shapes without numbers nothing can be said, and it takes as long
            agreed = self.members.is_meta or (check.agrees(among, alone) and is_telling(alone))
            if agreed:
                break

    def readings(self, parameters: Parameters, rows: Tensor) -> None:
        """Compare what is read of some probes after the update with what is read of them in a batch of their own.

        Args:
            parameters: The weights after the update.
            rows: (stimuli, rows, columns), what was read.

        Raises:
            Disagreement: They differ.
        """
        problem, passes = self.problem, self.passes
        if not (self.precise and self.fits):
            return
        few, asked = self.few_rows(self.index)
        values, lost = dense(problem, parameters, self.index)
        with parameters_set_to(problem, values):
            after = passes.read_pass(problem.model, *problem.probes.take(few))
        if few.is_meta:
            return
        if math.isfinite(lost):
            among = rows[self.index, few]
            self.must_read_alike(passes.base_rows[few][asked], after[asked], among[asked], OFF + 2 * lost)
        broken = ~rows.isfinite().all(2)
        if problem.reads is not None:
            broken &= problem.reads.to(broken.device)
        diverged = broken.any(1).nonzero().flatten().tolist()
        if diverged:
            few, asked = (few, asked) if problem.reads is None else self.few_rows(diverged[0])
            self.must_diverge(diverged[0], few, rows[diverged[0], few], asked)

    def in_place(self, rows: Tensor) -> None:
        """Compare what is read of some probes of the first stimulus, whose weights the model has, with them alone.

        Args:
            rows: (rows, columns), what was read.

        Raises:
            Disagreement: They differ.
        """
        if self.precise:
            few, asked = self.few_rows(0)
            alone = self.passes.read_pass(self.problem.model, *self.problem.probes.take(few))
            self.must_read_alike(self.passes.base_rows[few][asked], alone[asked], rows[few][asked], OFF)

    def few_rows(self, index: int) -> tuple[Tensor, Tensor]:
        """Rows that are read again, all where they are read together; and which of them the stimulus is read on."""
        wanted, device = self.problem.rows_of(index), self.members.device
        wanted = torch.ones(len(self.problem.probes), dtype=torch.bool) if wanted is None else wanted
        few = wanted.nonzero().flatten()
        few = few[torch.randperm(len(few), generator=self.draw)[:PROBES].sort().values]
        if self.passes.one_pass:
            few = torch.arange(len(wanted))
        return few.to(device), wanted[few].to(device)

    def must_read_alike(self, before: Tensor, alone: Tensor, among: Tensor, share: float) -> None:
        """See that readings, (rows, columns) each, are those alone, up to rounding and a share of the influence."""
        coarsest = coarsest_unit(self.problem)
        for readout, old, expected, reading in zip(self.passes.columns, before.T, alone.T, among.T):
            finite = old[old.isfinite()]
            if counts(readout, finite):
                continue
            largest = float((expected - old).abs().nan_to_num(0, 0, 0).max())
            slack = share * largest + 4 * resolution(readout, finite, coarsest)
            if not torch.allclose(reading, expected, rtol=0, atol=slack, equal_nan=True):
                raise ReadingDisagreement("probes are read otherwise among others than in a batch of their own")

    def must_diverge(self, index: int, few: Tensor, among: Tensor, asked: Tensor) -> None:
        """See that a stimulus whose readings are not finite has none that are alone, of the rows asked for."""
        problem = replace(self.problem, trajectory=False)
        optimizer = problem.update.make_optimizer(problem.trained.values())

        def read() -> Tensor:
            return self.passes.read_pass(problem.model, *problem.probes.take(few))

        [alone] = update_alone(problem, optimizer, self.members[index], read)
        if bool((alone.isfinite() & ~among.isfinite())[asked].any()):
            raise Disagreement("a stimulus diverges among others, and not alone")


def dense(problem: Problem, parameters: Parameters, index: int) -> tuple[dict[str, Tensor], float]:
    """One stimulus's parameters, and the share of their change that rounding takes where it was held as factors."""
    values, errors, steps = dict[str, Tensor](), 0.0, 0.0
    for name, parameter in parameters.items():
        if isinstance(parameter, Tensor):
            values[name] = parameter[index]
            continue
        base = problem.trained[name].detach()
        change = base * (parameter.scale - 1) if parameter.scale != 1 else torch.zeros_like(base)
        for factors in parameter.only(index).factors:
            factors.add_to(change, 0)
        values[name] = base + change
        if not base.is_meta:
            errors += float((values[name] - base - change).square().sum())
            steps += float(change.square().sum())
    return values, math.sqrt(errors / steps) if steps else 0.0
