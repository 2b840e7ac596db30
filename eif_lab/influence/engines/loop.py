"""The plain loop: one stimulus after the other, in place."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from eif_lab.influence.engines.engine import Engine, Prepared, ReadPlainly
from eif_lab.influence.per_sample.alone import gradient_alone, update_alone
from eif_lab.influence.per_sample.layout import inseparable
from eif_lab.influence.per_sample.recheck import Recheck
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading.arrangement import SharedPrefixes
from eif_lab.influence.reading.passes import Passes, Wanted
from eif_lab.influence.resources.memory import Chunks, peak_bytes
from eif_lab.influence.setup import Setup

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Stimuli whose readings are handed on together."""

FEW = 4
"""Rows of probes that tell what each takes in memory."""


@dataclass
class Loop(Engine):
    """Step, read, put everything back: exact for any module that ``backward`` goes through.

    It is what `auto` takes where stimuli cannot go through a model together. A model whose calls change its own
    buffers or attributes begins from the caller's state at each stimulus, and so does the reading before. Beginnings
    that texts share are computed once, and of every few stimuli one is read again without that.
    """

    name: ClassVar[str] = "loop"
    preference: ClassVar[int | None] = 9

    def prepared(self, setup: Setup) -> Prepared:
        """All probes are read in one plain pass where a call of the model changes it."""
        if inseparable(setup.problem):
            setup = replace(setup, passes=setup.passes.plain(one_pass=True))
        return PreparedLoop(self, setup)

    def instead(self, prepared: Prepared, reason: str, of_probes: bool) -> Prepared:
        """With rows of probes read as they are."""
        log.warning("engine %s: rows are read as they are: %s", self.name, reason)
        return self.plainly(prepared.setup, one_pass=False)

    def plainly(self, setup: Setup, one_pass: bool) -> Prepared:
        """Prepared so that rows of probes are read as they are.

        Args:
            setup: What is measured.
            one_pass: Whether all of them must go through the model at once, also where a trial does not show it.
        """
        plain = replace(setup, passes=setup.passes.plain(one_pass=setup.passes.one_pass or one_pass))
        return self.prepare(plain.in_one_pass_where_rows_interact())


class PreparedLoop(ReadPlainly):
    """One stimulus after the other, on the model itself.

    Attributes:
        checked_of: Of how many stimuli one is read again.
        shares: Whether probes are read with their common beginnings computed once; else rows as they are.
    """

    checked_of = AT_ONCE

    def __init__(self, engine: Loop, setup: Setup) -> None:
        super().__init__(engine, setup)
        self.shares = isinstance(setup.passes.arrangement, SharedPrefixes) and not setup.passes.one_pass

    def before(self) -> Tensor:
        """The base as it is read after an update."""
        return self.setup.passes.probe_readings(self.setup.passes.base_rows) if self.shares else super().before()

    def read_base(self, passes: Passes) -> Tensor:
        """As after an update."""
        return passes.read_rows({}) if self.shares else super().read_base(passes)

    def planned_bytes(self) -> int:
        """A copy of what is trained and what the optimizer remembers, beside a backward pass or a pass over probes."""
        problem, passes = self.setup.problem, self.setup.passes
        trained = sum(one.nbytes for one in problem.trained.values())
        kept = problem.base.bytes_to_copy(problem.trained.values())
        kept += problem.update.stepping.remembers(problem.update) * trained
        device, few = problem.probes.device, problem.probes.take(slice(min(FEW, len(problem.probes))))
        backward = peak_bytes(partial(gradient_alone, problem, problem.samples.take(problem.first_rows[0])), device)
        row = peak_bytes(partial(self.read_base, passes.of_other_rows(few)), device) / len(few)
        problem.base.restore()
        rows = len(problem.probes) if passes.one_pass else passes.size
        return kept + max(backward, trained + round(row * rows))

    def readings(self, problem: Problem) -> Iterator[Tensor]:
        """Readings after the update on each stimulus, one by one."""
        passes, optimizer = self.setup.passes, problem.update.make_optimizer(problem.trained.values())
        if self.shares:
            self.before()  # is read now, while the model is the base

        def some(place: slice) -> Tensor:
            part = problem.of_stimuli(place)
            recheck = Recheck(part, passes) if self.shares and self.rechecks else None
            every = [
                update_alone(part, optimizer, rows, partial(self.read, part.rows_of(i), recheck if i == 0 else None))
                for i, rows in enumerate(part.members)
            ]
            return passes.probe_readings(torch.stack(every))

        yield from Chunks(AT_ONCE, "stimuli").over(len(problem.members), some)

    def read(self, wanted: Wanted, recheck: Recheck | None) -> Tensor:
        """Readings of the model as it stands, (rows, columns).

        Args:
            wanted: Which rows are read.
            recheck: Reads some rows again as they are, of the first stimulus that it knows.

        Raises:
            Disagreement: They are then read otherwise.
        """
        passes = self.setup.passes
        if not self.shares:
            return passes.read_plainly(passes.base.model, wanted)
        rows = passes.read_rows({}, wanted)
        if recheck:
            recheck.in_place(rows)
        broken = (passes.base_rows.isfinite() & ~rows.isfinite()).any(1)
        if wanted is not None:
            broken &= wanted.to(broken.device)
        if broken.any():  # of what diverges for one text, nothing is to be seen by others
            rows = torch.where(broken[:, None], passes.read_plainly(passes.base.model, wanted), rows)
        return rows
