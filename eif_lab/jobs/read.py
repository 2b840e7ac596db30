"""From a composed config to a job, checked choice by choice and each choice against the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from eif_lab.data.dataset import Dataset
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.errors import NotApplicable, rule_error
from eif_lab.influence.engines import Engine
from eif_lab.influence.update import Update
from eif_lab.jobs.channels import channel_of
from eif_lab.jobs.job import Job, Settings
from eif_lab.jobs.workers import Workers
from eif_lab.methods import Method
from eif_lab.models.base import Model
from eif_lab.options import _typed, choice
from eif_lab.perturbations.perturbation import Perturbation
from eif_lab.readouts.readout import named_readouts
from eif_lab.results.trackers.tracker import Tracker

GROUPS = ("dataset", "model", "method", "perturbation", "update", "engine", "tracker", "workers")

T = TypeVar("T")


def read_job(config: Mapping[str, Any]) -> Job:
    """A composed config as typed options, every name, type and rule checked.

    Each group's ``_target_`` names its dataclass. Nothing is loaded or computed.

    Args:
        config: Plain containers, interpolations resolved.

    Raises:
        ConfigError: The first mistake found.
        NotApplicable: Each choice is fine, but they do not go together.
    """
    options = {**dict.fromkeys(GROUPS), **config}
    desiderata = options.pop("desideratum", None) or {}
    job = Job(
        dataset=chosen("dataset", options.pop("dataset"), Dataset),
        model=chosen("model", options.pop("model"), Model),
        method=chosen("method", options.pop("method"), Method),
        perturbation=chosen("perturbation", options.pop("perturbation"), Perturbation),
        update=chosen("update", options.pop("update"), Update),
        engine=chosen("engine", options.pop("engine"), Engine),
        tracker=chosen("tracker", options.pop("tracker"), Tracker),  # type: ignore[type-abstract] # its instances count
        workers=chosen("workers", options.pop("workers"), Workers),
        desideratum={name: chosen(f"desideratum.{name}", one, Desideratum) for name, one in desiderata.items()},
        **_typed(Settings, options, "", (*GROUPS, "desideratum")),
    )
    if not job.readout or len(set(job.readout)) < len(job.readout):
        raise rule_error("readout", "name at least one readout, and each once", job.readout, "Try [log_prob].")
    named_readouts(job.readout)
    must_fit(job)
    return job


def chosen(group: str, options: Any, contract: type[T]) -> T:
    """The options of one group.

    Args:
        group: Its name.
        options: A mapping whose ``_target_`` names a class.
        contract: What the class has to derive from, or the protocol that it has to obey.

    Raises:
        ConfigError: There is no such class, it is of another kind, or an option breaks its rule.
    """
    made = choice(group, options)
    if not isinstance(made, contract):
        rule = f"name a {contract.__name__} ({contract.__module__}.{contract.__name__})"
        raise rule_error(f"{group}._target_", rule, options["_target_"], "Derive the class from that one.")
    return made


def must_fit(job: Job) -> None:
    """Refuse choices that do not go together.

    Raises:
        NotApplicable: Says which.
    """
    kind, name = job.dataset.kind, job.dataset.name
    if job.model.kind != kind:
        raise NotApplicable(
            f"dataset must hold {job.model.kind}s for model={job.model.name}, got {name!r} ({kind}s). "
            "Leave dataset out to have the model's own default."
        )
    for group, one, hint in (
        ("method", job.method, "method=full"),
        ("perturbation", job.perturbation, "perturbation=include"),
    ):
        if kind not in one.kinds:
            rule = f"be one for {kind}s with model={job.model.name}, got {one.name!r}. Try {hint}."
            raise NotApplicable(f"{group} must {rule}")
    channel_of(job).must_fit()
