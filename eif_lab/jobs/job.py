"""One job as typed options: a choice for each group, checked one by one and against each other."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eif_lab.errors import (
    NotApplicable,
    rule_error,
)
from eif_lab.options import Options, _typed, choice, option
from eif_lab.results.folders import CACHE


@dataclass
class Job(Options):
    """One job: a choice for each group, and what belongs to none."""

    dataset: Any = None
    model: Any = None
    method: Any = None
    perturbation: Any = None
    update: Any = None
    engine: Any = None
    desideratum: dict[str, Any] = option({})
    tracker: Any = None
    workers: Any = None
    readout: list[str] = option(
        ["log_prob"], one_of=["log_prob", "log_odds", "prob", "rank", "correct"], hint="Try [log_prob]."
    )
    trajectory: bool = False
    seed: int = option(0, at_least=0, at_most=2**32 - 1, hint="Try 0.")
    data_seed: int = option(0, at_least=0, at_most=2**32 - 1, hint="Try 0.")
    device: str = "cpu"
    deterministic: bool = False
    plan: bool = False
    cache: str = CACHE


GROUPS = ("dataset", "model", "method", "perturbation", "update", "engine", "tracker", "workers")


def read_job(config: Mapping[str, Any]) -> Job:
    """A composed config as typed options, every name, type and rule checked.

    Each group's ``_target_`` names its dataclass. Nothing is loaded or computed.

    Args:
        config: Plain containers, interpolations resolved.

    Raises:
        ConfigError: The first mistake found.
        NotApplicable: Each choice is fine, but they do not go together.
    """
    given = dict(config)
    choices: dict[str, Any] = {group: choice(group, given.pop(group, None)) for group in GROUPS}
    desiderata = given.pop("desideratum", None) or {}
    choices["desideratum"] = {name: choice(f"desideratum.{name}", one) for name, one in desiderata.items()}
    values = _typed(_rest(), given, "", choices)
    job = Job(**choices, **values)
    if not job.readout or len(set(job.readout)) < len(job.readout):
        raise rule_error("readout", "name at least one readout, and each once", job.readout, "Try [log_prob].")
    _must_fit(job)
    return job


@functools.cache
def _rest() -> type:
    """The fields of `Job` that are no groups."""
    rest = [field for field in dataclasses.fields(Job) if field.name not in (*GROUPS, "desideratum")]
    return dataclasses.make_dataclass("Rest", [(field.name, field.type, field) for field in rest])


def _must_fit(job: Job) -> None:
    kind, name = job.dataset.kind, job.dataset.name
    if job.model.kind != kind:
        raise NotApplicable(
            f"dataset must hold {job.model.kind}s for model={job.model.name}, got {name!r} ({kind}s). "
            "Leave dataset out to have the model's own default."
        )
    for group in ("method", "perturbation"):
        chosen = getattr(job, group)
        if kind not in chosen.kinds:
            raise NotApplicable(
                f"{group} must be one for {kind}s with model={job.model.name}, got {chosen.name!r}. "
                f"Try {'method=full' if group == 'method' else 'perturbation=include'}."
            )
    if not job.method.trains:
        _must_need_no_training(job)


def _must_need_no_training(job: Job) -> None:
    """What has a meaning only where weights move."""
    leaves_out = job.perturbation.membership != "include"
    for field, rule, received, unfit in (
        ("perturbation", "take each stimulus alone", job.perturbation.name, leaves_out),
        ("engine", "be an exact one", job.engine.name, not job.engine.exact),
        ("trajectory", "be false", job.trajectory, job.trajectory),
    ):
        if unfit:
            raise NotApplicable(f"{field} must {rule} with method={job.method.name}, got {received!r}. Leave it out.")


def job_name(job: Job) -> str:
    """``model dataset method perturbation``, in words that tell what was run; and that it is a prediction, if it is."""
    parts = [job.model.name, job.dataset.name, job.method.name]
    parts += [] if job.perturbation.name == "include" else [job.perturbation.name]
    return " ".join(parts + ([] if job.engine.exact else [job.engine.name]))
