"""The settings of jobs, by which jobs of a sweep are chosen."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eif_lab.errors import ConfigError, rule_error
from eif_lab.results.scalars import NAMED

if TYPE_CHECKING:
    from eif_lab.results.job import JobResults

MOST_NAMED = 12
"""Names that an error lists."""


def flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested options as (``model.channels``, value); a list is one value."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def settings(job: JobResults) -> dict[str, Any]:
    """The settings of a job by name: ``method`` is the name of the choice, ``method.rank`` an option of it."""
    options = {name: value for name, value in flat(job.manifest.config) if not name.endswith("_target_")}
    return {**options, "engine": job.manifest.engine, **choices(job)}


def choices(job: JobResults) -> Mapping[str, str]:
    """The names of a job's choices; of a job that was stored without them, those that its array has."""
    if job.manifest.choices or not job.has_array:
        return job.manifest.choices
    return {name: str(job.influence.attrs[name]) for name in NAMED if name in job.influence.attrs}


def fitting(jobs: Sequence[JobResults], wanted: Mapping[str, Any]) -> list[JobResults]:
    """The jobs that have every setting.

    Args:
        jobs: To choose from.
        wanted: The value of each setting, or a list of values of which a job has any.

    Raises:
        ConfigError: No job has such a setting, none has such a value, or none has all of them.
    """
    known = [settings(job) for job in jobs]
    fits = [True] * len(jobs)
    for name, value in wanted.items():
        there = [one[name] for one in known if name in one]
        if not there:
            raise unknown_setting(name, value, known)
        values = list(value) if isinstance(value, list | tuple | set) else [value]
        if absent := [one for one in values if one not in there and value not in there]:
            distinct = [repr(one) for one in {repr(one): one for one in there}.values()]
            raise rule_error(name, f"be one that a job has: {listed(sorted(distinct))}", absent[0])
        fits = [ok and name in one and one[name] in [*values, value] for ok, one in zip(fits, known)]
    if not any(fits):
        together = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        raise ConfigError(f"the sweep must hold a job with all of {together}, got none. Leave one of them out.")
    return [job for job, ok in zip(jobs, fits) if ok]


def unknown_setting(name: str, value: Any, known: Sequence[Mapping[str, Any]]) -> ConfigError:
    """The line for a setting that no job has, with those in which the jobs differ, or else the names of choices."""
    names = list(dict.fromkeys(name for one in known for name in one))
    differing = [each for each in names if len({repr(one.get(each)) for one in known}) > 1]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"The jobs differ in {listed(differing)}." if differing else ""
    rule = f"be a setting of a job, such as {listed([*NAMED, 'seed', 'update.steps'])}"
    return rule_error("sel", rule, f"{name}={value!r}", hint)


def listed(names: Sequence[str]) -> str:
    """The names in a line, of many the first."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
