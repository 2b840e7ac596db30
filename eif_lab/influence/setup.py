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
    """

    problem: Problem
    passes: Passes
    layouts: Layouts

    @classmethod
    def of(cls, problem: Problem, arrangement: Arrangement | None = None) -> Setup:
        """Find out how the probes go through the model; how stimuli do is found out by the engines that ask.

        Args:
            problem: What is to be measured, which is not checked.
            arrangement: How the rows of a pass are laid out; None for the fastest.
        """
        passes = passes_of(problem, arrangement)
        return cls(problem, passes, Layouts(problem, passes.arrangement.channels_last))

    @classmethod
    def checked(cls, problem: Problem) -> Setup:
        """The same, where the model, the loss and the data are such that influence can be measured.

        Raises:
            ConfigError: They are not.
        """
        if not problem.trained:
            raise rule_error("method", "train at least one parameter", "none that requires a gradient")
        must_be_sound(problem)
        setup = cls.of(problem)
        if not depends_on_others(problem, setup.passes):
            return setup
        log.warning("a probe's output depends on the probes beside it: all of them are read in one pass")
        return replace(setup, passes=replace(setup.passes, one_pass=True))

    def first(self, stimuli: int, rows: int) -> Setup:
        """The same measurement of the first stimuli and rows of probes alone, with what is known of all."""
        problem = self.problem.first(stimuli, rows)
        return replace(self, problem=problem, passes=self.passes.of_other_rows(problem.probes))
