"""Tasks by the names that ``conf/dataset`` has, and of one's own sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eif_lab.configs import CACHE, named_choice
from eif_lab.data.task import Task
from eif_lab.data.texts.assembly import BACKGROUNDS, task_of
from eif_lab.data.texts.lines import listed_lines
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


def make_task(lines: Iterable[Mapping[str, Any]], *, background: str = "context", delimiter: str = " ") -> Task:
    """One's own sentences as a task: what is taught, and what is asked afterwards.

    The same as ``load_task("jsonl", path=...)`` of a file that holds the lines in JSON: docs/data.md has all fields. A
    stimulus names the clozes, each ``[prompt, target]``, that it states (``direct``), that follow from it
    (``entailed``), that it denies (``contradicted``), and that it leaves open the other way round (``converse``). The
    cloze that another stimulus names at the same place gives each of them its foils.

    Args:
        lines: A mapping for each, of the kinds ``stimulus``, ``probe``, ``pair``, ``background`` and ``question``.
        background: Whether a world's background stands in the ``context`` of its probes, or is ``taught`` to the base
            model, which a job does and `measure_task` does not.
        delimiter: What stands between a prompt and its target, whichever of the two holds spaces; empty for what they
            hold themselves.

    Returns:
        A `Task` of n stimuli and m probes; its ``relation`` and ``foils`` are (n, m).

    Raises:
        ConfigError: A line breaks a rule: ``lines[3]: probe.relation must be one of direct, ...``.

    Examples:
        >>> kinds = {"dax": ("bird", "fly"), "wug": ("fish", "swim")}
        >>> task = make_task(
        ...     {
        ...         "kind": "stimulus",
        ...         "target": f"A {name} is a {kind}.",
        ...         "direct": [[f"A {name} is a", kind]],
        ...         "entailed": [[f"A {name} can", does]],
        ...     }
        ...     for name, (kind, does) in kinds.items()
        ... )
        >>> told = dict(zip(task.probes.ids.tolist(), task.relation[0].tolist()))
        >>> told["A dax can | fly"], told["A dax can | swim"], told["A wug can | fly"]
        ('entailed', 'foil', 'foil')
    """
    must_be("lines", lines, Iterable, "a list of mappings", "Try [{'kind': 'stimulus', ...}, ...].")
    if isinstance(lines, str | bytes | Mapping):
        hint = "Try load_task('jsonl', path=...) for a file." if isinstance(lines, str) else "Put it into a list."
        raise rule_error("lines", "be a list of mappings", type(lines).__name__, hint)
    if background not in BACKGROUNDS:
        raise rule_error("background", f"be one of {', '.join(BACKGROUNDS)}", background, "Try context.")
    must_be("delimiter", delimiter, str, "text", "Try ' '.")
    return task_of(listed_lines(lines, delimiter), "lines", background)
