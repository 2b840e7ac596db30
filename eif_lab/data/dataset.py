"""The base class of datasets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eif_lab.data.task import Task
from eif_lab.options import Options


@dataclass
class Dataset(Options):
    """Where stimuli and probes come from.

    Attributes:
        kind: ``image`` or ``text``; models, methods and perturbations say which kinds they are for.
        kind_hint: What to try where a model is for the other kind.
    """

    group: ClassVar[str] = "dataset"
    kind: ClassVar[str] = ""
    kind_hint: ClassVar[str] = "Leave dataset out to have the model's own default."

    @property
    def name(self) -> str:
        """The name in plots and runs: that of its module, unless an option says another."""
        return type(self).__module__.rpartition(".")[2]

    def load(self, seed: int) -> Task:
        """Stimuli and probes, what each stimulus says about each probe, and how far they are from each other.

        Args:
            seed: Decides which samples are drawn; the same seed gives the same task.

        Raises:
            ConfigError: The data cannot be had, or does not hold as many samples as are asked for.
        """
        raise NotImplementedError
