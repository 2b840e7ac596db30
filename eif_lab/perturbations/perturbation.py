"""The base class of perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eif_lab.data.task import KINDS, Task
from eif_lab.models.base import BaseModel
from eif_lab.options import Options


@dataclass
class Perturbation(Options):
    """How a stimulus enters training.

    Attributes:
        kinds: The kinds of data it is for.
        membership: ``include``: each stimulus is trained on alone; ``exclude``: on all of them but that one.
        of_sets: Whether the stimuli become sets of samples, each of which is trained on as one.
    """

    group: ClassVar[str] = "perturbation"
    kinds: ClassVar[tuple[str, ...]] = KINDS
    membership: ClassVar[str] = "include"
    of_sets: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name in plots and runs: that of its module."""
        return type(self).__module__.rpartition(".")[2]

    def apply(self, task: Task, seed: int) -> Task:
        """The task with its stimuli perturbed, and with what they are compared with among the probes.

        Args:
            task: What the dataset holds, of one of the ``kinds``.
            seed: What the perturbation draws with.

        Raises:
            NotApplicable: The perturbation has no meaning for this task.
        """
        return task

    @property
    def asks_model(self) -> bool:
        """Whether what is trained on depends on what the base model answers: `apply_with` then says it."""
        return False

    def apply_with(self, task: Task, seed: int, base: BaseModel) -> Task:
        """As `apply`, with a base model to ask.

        Args:
            task: As `apply` takes it.
            seed: What the perturbation draws with.
            base: Before anything is learnt.
        """
        return self.apply(task, seed)
