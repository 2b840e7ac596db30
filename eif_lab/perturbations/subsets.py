"""Sets of stimuli, each of which is fine-tuned on as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eif_lab.data.sets import SHARED, Sets, drawn_sets, task_of_sets
from eif_lab.data.task import Task, without_neutral
from eif_lab.errors import NotApplicable
from eif_lab.options import option
from eif_lab.perturbations.perturbation import Perturbation


@dataclass
class Subsets(Perturbation):
    """Each row of the array is a fine-tuning on a set of stimuli, drawn at random; neutral ones are left out.

    Attributes:
        count: How many different sets are drawn; with ``within`` of each group.
        size: Samples in each; None for a ``share``.
        share: Of the samples that there are to draw from.
        within: A coordinate whose value all samples of a set have in common, ``world`` or ``class``; None for none.
        seed: Of the draw, beside the data's own: another seed draws other sets of the same samples.
    """

    of_sets: ClassVar[bool] = True

    count: int = option(100, at_least=1, hint="Try 100.")
    size: int | None = option(None, at_least=1, hint="Try 10, or null for perturbation.share.")
    share: float = option(0.5, above=0, at_most=1, hint="Try 0.5.")
    within: str | None = option(None, one_of=SHARED, hint="Try world, or null for sets of any samples.")
    seed: int = option(0, at_least=0, hint="Try 0.")

    def apply(self, task: Task, seed: int) -> Task:
        """The task whose stimuli are the sets.

        Raises:
            ConfigError: There are not so many samples, or so many different sets.
            NotApplicable: The samples have no ``within``.
        """
        task, random = without_neutral(task), np.random.default_rng([seed, self.seed])
        assert not isinstance(task.stimuli, Sets)
        groups = self.groups(task)
        members = np.zeros((len(groups) * self.count, len(task.stimuli)), dtype=bool)
        for number, rows in enumerate(groups):
            drawn = drawn_sets(
                len(rows), count=self.count, size=self.size, share=self.share, random=random, group="perturbation."
            )
            members[number * self.count : (number + 1) * self.count, rows] = drawn
        return task_of_sets(task, members)

    def groups(self, task: Task) -> list[np.ndarray]:
        """Rows of the stimuli that sets are drawn from."""
        if self.within is None:
            return [np.arange(len(task.stimuli))]
        values = task.stimuli.describe().get(self.within)
        if values is None:
            rule = f"be null or another one where samples have no {self.within}, got {self.within!r}"
            raise NotApplicable(f"perturbation.within must {rule}. Try null.")
        return [np.flatnonzero(values == one) for one in np.unique(values)]
