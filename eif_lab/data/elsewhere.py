"""Which other worlds' probes the stimuli of a world are read on, where they are not read on all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from eif_lab.data.dataset import Dataset
from eif_lab.data.task import Task
from eif_lab.errors import rule_error
from eif_lab.options import option


@dataclass(frozen=True)
class Elsewhere:
    """A draw of other worlds for each world.

    The worlds stand on a circle in an order that the seed draws, and each is read on its neighbours: any two worlds are
    as likely to meet as any other two, each is read on, and read by, as many others, and where the number is even two
    worlds that meet are each read on the other.

    Attributes:
        worlds: How many others.
        seed: Of the draw.
    """

    worlds: int
    seed: int

    def read(self, stimuli: np.ndarray, probes: np.ndarray) -> Bool[np.ndarray, "stimuli probes"]:
        """Where a stimulus is read on a probe: on all probes of its own world and of the others drawn for it.

        Args:
            stimuli, probes: The world of each.
        """
        worlds, place = np.unique(np.concatenate([stimuli, probes]), return_inverse=True)
        at = np.random.default_rng([self.seed, len(worlds)]).permutation(len(worlds))
        steps = np.array([0, *((1 + n // 2) * (-1) ** n for n in range(self.worlds))])
        near = np.isin((at[:, None] - at[None, :]) % len(worlds), steps % len(worlds))
        return near[np.ix_(place[: len(stimuli)], place[len(stimuli) :])]


@dataclass
class OfWorlds(Dataset):
    """A dataset whose stimuli and probes belong to worlds.

    Attributes:
        elsewhere: On the probes of how many other worlds a stimulus is read, beside those of its own; None for all.
    """

    elsewhere: int | None = option(None, at_least=2, hint="Try 2, or null for all.")

    def with_elsewhere(self, task: Task, seed: int) -> Task:
        """The task whose stimuli are read on so many other worlds.

        Raises:
            ConfigError: It has no worlds.
        """
        if self.elsewhere is None:
            return task
        if not all("world" in samples.coords for samples in (task.stimuli, task.probes)):
            raise rule_error("dataset.elsewhere", "be null where probes have no world", self.elsewhere)
        return replace(task, elsewhere=Elsewhere(self.elsewhere, seed))
