"""Leave one out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eif_lab.data.task import Task
from eif_lab.errors import rule_error
from eif_lab.perturbations.perturbation import Perturbation


@dataclass
class Exclude(Perturbation):
    """The stimuli are one fine-tuning set; each is left out in turn."""

    membership: ClassVar[str] = "exclude"

    def apply(self, task: Task, seed: int) -> Task:
        """The task as it is.

        Raises:
            ConfigError: Without its one stimulus nothing would be left to train on.
        """
        if len(task.stimuli) < 2:
            raise rule_error(
                "perturbation", "have at least 2 stimuli to leave one out", len(task.stimuli), "Try include."
            )
        return task
