"""The jobs of a sweep: the overrides of each, before the first one runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep

from eif_lab.commands.loader import Loader
from eif_lab.errors import rule_error

SWEEPERS = (".BasicSweeper", ".CheckedSweeper")
"""Whose jobs are known before the first one runs."""

MOST_JOBS = 100_000
"""Of a sweep; a range is easily longer than was meant, or than fits the memory."""


def can_split(sweeper: Mapping[str, Any]) -> bool:
    """Whether the jobs of a sweep by this sweeper are known before the first one runs."""
    return str(sweeper["_target_"]).endswith(SWEEPERS)


def split_jobs(sweeper: Mapping[str, Any], overrides: Sequence[str], loader: Loader) -> list[list[str]]:
    """The overrides of each job of a sweep, in its order.

    Args:
        sweeper: The config of one of ``SWEEPERS``.
        overrides: Of the whole sweep, without Hydra's own, such as ``method=lora,full``.
        loader: What ``glob`` looks for choices with.

    Raises:
        HydraException: What the sweeper cannot do.
    """
    from hydra_plugins.eif_lab_sweeper import CheckedSweeper

    params = [f"{key}={value}" for key, value in (sweeper["params"] or {}).items()]
    given = OverridesParser.create(loader).parse_overrides([*params, *overrides])
    for one in given:
        if one.is_interval_sweep():
            rule = "be a list, range or glob, since hydra/sweeper=eif_lab cannot draw from an interval"
            raise rule_error(one.key_or_group, rule, one.input_line, "Try range(start,stop,step).")
    if (count := math.prod(map(count_values, given))) > MOST_JOBS:
        raise rule_error("the sweep", f"have at most {MOST_JOBS:,} jobs", count, "Try shorter ranges.")
    return [list(job) for job in CheckedSweeper.split_arguments(given, None)[0]]


def count_values(override: Override) -> int:
    """The number of values that a sweep gives an option; 1 where there are few, such as those of a glob."""
    sweep = override.value()
    if isinstance(sweep, RangeSweep):
        start, stop, step = sweep.start or 0, sweep.stop or 0, sweep.step or 1
        return max(0, math.ceil((stop - start) / step))
    return len(sweep.list) if isinstance(sweep, ChoiceSweep) and isinstance(sweep.list, list) else 1
