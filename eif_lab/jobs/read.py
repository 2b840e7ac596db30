"""From a composed config to a job, checked choice by choice and each choice against the others."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from eif_lab.errors import NotApplicable, rule_error
from eif_lab.jobs.job import Job, Settings
from eif_lab.options import _typed, choice

CONTRACTS = {
    "dataset": ("eif_lab.data.dataset", "Dataset"),
    "model": ("eif_lab.models.base", "Model"),
    "method": ("eif_lab.methods.method", "Method"),
    "perturbation": ("eif_lab.perturbations.perturbation", "Perturbation"),
    "update": ("eif_lab.influence.update", "Update"),
    "engine": ("eif_lab.influence.engines.engine", "Engine"),
    "tracker": ("eif_lab.results.trackers.tracker", "Tracker"),
    "workers": ("eif_lab.jobs.workers", "Workers"),
    "desideratum": ("eif_lab.desiderata.desideratum", "Desideratum"),
}
"""The base class or the protocol of each group's choices. They are imported group by group, so that a
mistake in an early one is reported before heavy packages are there."""

GROUPS = tuple(CONTRACTS)[:-1]


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
        dataset=read_choice("dataset", options.pop("dataset")),
        model=read_choice("model", options.pop("model")),
        method=read_choice("method", options.pop("method")),
        perturbation=read_choice("perturbation", options.pop("perturbation")),
        update=read_choice("update", options.pop("update")),
        engine=read_choice("engine", options.pop("engine")),
        tracker=read_choice("tracker", options.pop("tracker")),
        workers=read_choice("workers", options.pop("workers")),
        desideratum={name: read_choice(f"desideratum.{name}", one) for name, one in desiderata.items()},
        **_typed(Settings, options, "", (*GROUPS, "desideratum")),
    )
    if not job.readout or len(set(job.readout)) < len(job.readout):
        raise rule_error("readout", "name at least one readout, and each once", job.readout, "Try [log_prob].")
    from eif_lab.readouts.readout import named_readouts

    named_readouts(job.readout)
    must_fit(job)
    return job


def read_choice(group: str, options: Any) -> Any:
    """The options of one group.

    Args:
        group: Its name.
        options: A mapping whose ``_target_`` names a class.

    Raises:
        ConfigError: There is no such class, it is of another kind, or an option breaks its rule.
    """
    made = choice(group, options)
    module, name = CONTRACTS[group.partition(".")[0]]
    contract = getattr(importlib.import_module(module), name)
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
    if job.model.kind not in ("", kind):
        raise NotApplicable(
            f"dataset must hold {job.model.kind}s for model={job.model.name}, got {name!r} ({kind}s). "
            f"{job.dataset.kind_hint}"
        )
    for group, one, hint in (
        ("method", job.method, "method=full"),
        ("perturbation", job.perturbation, "perturbation=include"),
    ):
        if kind not in one.kinds:
            rule = f"be one for {kind}s with model={job.model.name}, got {one.name!r}. Try {hint}."
            raise NotApplicable(f"{group} must {rule}")
    from eif_lab.jobs.channels import channel_of

    channel_of(job).must_fit()
