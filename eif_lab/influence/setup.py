"""A problem with what is found out about it once: what every engine is prepared from."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from eif_lab.errors import rule_error
from eif_lab.influence.per_sample.trial import Layouts
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading.arrangement import Arrangement
from eif_lab.influence.reading.passes import Passes, passes_of
from eif_lab.influence.soundness import depends_on_others, must_be_sound

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """A problem and how it goes through the model, which holds at any learning rate.

    Attributes:
        problem: What is measured.
        passes: How the probes go through the model.
        layouts: How stimuli go through it together, each with parameters of its own.
        rows_each: The problem's, of the whole also where this is a part.
    """

    problem: Problem
    passes: Passes
    layouts: Layouts
    rows_each: float

    @classmethod
    def of(cls, problem: Problem, arrangement: Arrangement | None = None) -> Setup:
        """Find out how the probes go through the model; how stimuli do is found out by the engines that ask.

        Args:
            problem: What is to be measured, which is not checked.
            arrangement: How the rows of a pass are laid out; None for the fastest.
        """
        passes = passes_of(problem, arrangement)
        return cls(problem, passes, Layouts(problem, passes.arrangement.channels_last), problem.rows_each)

    @classmethod
    def checked(cls, problem: Problem) -> Setup:
        """Set a problem up whose model, loss and data are such that influence can be measured; see `of`.

        Raises:
            ConfigError: They are not.
        """
        if not problem.trained:
            raise rule_error("method", "train at least one parameter", "none that requires a gradient")
        must_be_sound(problem)
        return cls.of(problem).in_one_pass_where_rows_interact()

    def of_other_rows(self, problem: Problem) -> Setup:
        """Another problem of the same model and loss, with what is known of this one where rows have the same shapes.

        Args:
            problem: Its stimuli, probes and readouts may be others; a readout that is not ours must read classes.
        """
        mine, passes = self.problem, self.passes
        if problem.probes.is_like(mine.probes):
            others = passes.of_other_rows(problem.probes, problem.candidates, problem.runs)
            passes = replace(others, readouts=problem.readouts)
        else:
            passes = replace(passes_of(problem), one_pass=passes.one_pass)
        layouts = Layouts(problem, passes.arrangement.channels_last)
        if problem.first_rows.shape[1] == mine.first_rows.shape[1] and problem.samples.is_like(mine.samples):
            layouts = self.layouts.of_other_stimuli(problem)
        return Setup(problem, passes, layouts, problem.rows_each).in_one_pass_where_rows_interact()

    def in_one_pass_where_rows_interact(self) -> Setup:
        """The setup whose probes are read in one pass where a probe's output depends on those beside it."""
        if self.passes.one_pass or not depends_on_others(self.problem, self.passes):
            return self
        log.warning("a probe's output depends on the probes beside it: all of them are read in one pass")
        return replace(self, passes=replace(self.passes, one_pass=True))

    def first(self, stimuli: int, rows: int) -> Setup:
        """The setup of the first stimuli and rows of probes alone, with all findings about the whole kept."""
        problem = self.problem.first(stimuli, rows)
        return replace(self, problem=problem, passes=self.passes.of_other_rows(problem.probes))
