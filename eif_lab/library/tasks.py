"""Tasks by the names that ``conf/dataset`` has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eif_lab.configs import CACHE, named_choice
from eif_lab.data.task import Task
from eif_lab.errors import must_be, rule_error


def load_task(name: str, *, seed: int = 0, cache: str | Path = CACHE, **options: Any) -> Task:
    """Stimuli and probes of a data set, with what each stimulus says about each probe.

    Args:
        name: A file of ``conf/dataset``, such as ``ontology`` or ``digits``.
        seed: Decides which samples are drawn; the same seed gives the same task.
        cache: Folder that downloaded data is unpacked to; only some data sets have any.
        options: Those of the data set that differ from its file, such as ``worlds=20``.

    Returns:
        A `Task` of n stimuli and m probes; its ``relation`` and ``distances`` are (n, m).

    Raises:
        ConfigError: There is no such data set, or an option is unknown, of another type, or breaks its rule.

    Examples:
        >>> task = load_task("ontology", worlds=2, stimuli_per_world=1)
        >>> task.relation.shape == (len(task.stimuli), len(task.probes))
        True
    """
    if not isinstance(seed, int) or seed < 0:
        raise rule_error("seed", "be a whole number from 0 on", seed, "Try 0.")
    must_be("cache", cache, str | Path, "the path of a folder")
    return named_choice("dataset", name, options, cache).load(seed)
