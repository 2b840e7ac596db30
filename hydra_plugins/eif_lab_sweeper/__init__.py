"""``hydra/sweeper=eif_lab``, the default: Hydra's basic sweeper, for jobs that are checked before it begins."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override


class CheckedSweeper(BasicSweeper):
    """Every combination of the swept values."""

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The overrides of each job of each batch; ``shuffle`` gives the same order each time, so that a sweep goes on.

        Args:
            overrides: Of the whole sweep.
            max_batch_size: The most jobs of a batch; None for one batch of all.
        """
        state = random.getstate()
        random.seed(0)
        try:
            return BasicSweeper.split_arguments(overrides, max_batch_size)
        finally:
            random.setstate(state)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose nothing: `eif_lab.commands.compose` has composed and checked each job, under the same rules."""
