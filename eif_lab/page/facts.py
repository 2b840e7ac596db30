"""The facts of a manifest that the page shows, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eif_lab.desiderata.format import MARKS, number_text, spaced, verdict_text
from eif_lab.models.language.phi3 import TINY
from eif_lab.results.manifest import NOT_APPLICABLE, BaseModel, Calibration, Effect, Manifest, Provenance, Update

FACTS = {
    "model": "Model",
    "dataset": "Data",
    "method": "Method",
    "perturbation": "Perturbation",
    "size": "Stimuli, probes",
    "seeds": "Seeds",
    "update": "Update",
    "engine": "Engine",
    "trained": "Trained",
    "strength": "Strength",
    "direct": "Direct influence",
    "base": "Base model",
    "reading": "Pre-training",
    "device": "Device",
    "time": "Time",
    "versions": "Versions",
    "commit": "Commit",
}

READING = (
    f"{TINY} is this project's own: it was trained to read documents that state facts in such sentences and then what "
    "follows. That it concludes from what it reads was taught, and is no finding."
)
"""A caution for readers who compare prompting with fine-tuning."""


def facts(manifest: Manifest) -> dict[str, str]:
    """The facts of a run, in words; a fact that the manifest does not state is empty.

    Returns:
        Text by the keys of `FACTS`.
    """
    config, trained = manifest.config, manifest.trained_parameters
    # an array that was found in the cache was measured by what its own record says
    where = manifest.measured or manifest
    measured, judged = packages(where), packages(manifest)
    dirty = " with uncommitted changes" if where.git_dirty else ""
    seconds = f"{manifest.seconds:.0f} s" if manifest.seconds else ""
    return {
        "model": model_name(manifest.base_model),
        "dataset": choice_in_words(config.get("dataset")),
        "method": choice_in_words(config.get("method")),
        "perturbation": choice_in_words(config.get("perturbation")),
        "size": f"{manifest.stimuli:,}, {manifest.probes:,}" if manifest.stimuli else "",
        "seeds": ", ".join(map(str, manifest.seeds)),
        "update": "" if manifest.base_model.origin else recipe(manifest.update),
        "engine": manifest.engine,
        "trained": f"{trained.count:,} of {trained.total:,} parameters" if trained.count else "",
        "strength": with_interval(manifest.strength, manifest.unit),
        "direct": with_interval(manifest.direct_influence, manifest.unit),
        "base": quality(manifest.base_model),
        "reading": READING if manifest.base_model.name == TINY else "",
        "device": " · ".join(filter(None, [where.device, where.platform])),
        "time": " · ".join(filter(None, [manifest.created, seconds])),
        "versions": measured if measured == judged else f"{measured} (measured); {judged} (judged)",
        "commit": f"{where.git_commit[:12]}{dirty}" if where.git_commit else "",
    }


def packages(provenance: Provenance) -> str:
    """The versions of the packages that matter most."""
    names = ("eif-lab", "torch", "transformers", "peft")
    return ", ".join(f"{package} {provenance.versions[package]}" for package in names if package in provenance.versions)


def with_interval(effect: Effect, unit: str) -> str:
    """An effect with its interval, and of how many units; empty where there is none."""
    if effect.effect is None:
        return ""
    units = "" if effect.n is None else f", n = {effect.n} {effect.unit}".rstrip()
    return f"{effect_text(effect)} {unit}{units}"


def model_name(base: BaseModel) -> str:
    """The model's own name, its architecture and its size: a tiny model is not called by the name of the large one."""
    size = f"{base.parameters:,} parameters" if base.parameters else ""
    known = ", ".join(filter(None, [base.architecture, size]))
    return f"{base.name}{f' ({known})' if known else ''}" if base.name else ""


def choice_in_words(options: Mapping[str, Any] | None) -> str:
    """A choice and its plain options: ``ontology: worlds 20, stimuli_per_world 3``."""
    if not options:
        return ""
    name = choice_name(options)
    plain = [
        f"{spaced(key)} {value}"
        for key, value in options.items()
        if key not in ("_target_", "name", "root", "download") and isinstance(value, str | int | float)
    ]
    return f"{name}: {', '.join(plain)}" if plain else name


def choice_name(options: Mapping[str, Any] | None) -> str:
    """The name of a choice, or of its class; empty where nothing was chosen."""
    options = options or {}
    return str(options.get("name") or str(options.get("_target_", "")).rpartition(".")[2].lower())


def recipe(update: Update) -> str:
    """The update in words; empty where the job did not get so far."""
    if not update.optimizer:
        return "" if update.steps is None else "none: stimuli are read before the probes"
    target = update.calibration
    calibrated = "" if target is None else f", calibrated to {calibration(target)}"
    count = 1 if update.steps is None else update.steps
    steps = f"{count} step{'' if count == 1 else 's'}"
    return f"{update.optimizer}, {steps}, learning rate {number_text(update.learning_rate)}{calibrated}"


def calibration(target: Calibration) -> str:
    """The strength that was asked for, and the one that was reached where that is known."""
    reached = "" if target.strength is None else f", {number_text(target.strength)} reached"
    return f"{target.target:.3g} nat{reached}{'' if target.reached else ' (missed)'}"


def quality(base: BaseModel) -> str:
    """How good the base model was: its accuracies and losses, and the worlds not learnt; or what stands for it."""
    if base.origin:
        return base.origin
    parts = [f"{spaced(key)} {value:.3g}" for key, value in base.items() if isinstance(value, float)]
    if base.worlds_not_learnt:
        parts.append(f"{len(base.worlds_not_learnt)} worlds not learnt and left out")
    return ", ".join([*parts, f"weights {base.hash}"] if base.hash else parts)


def effect_text(finding: Mapping[str, Any]) -> str:
    """An effect with its interval, where it has one: ``0.4 [0.38, 0.41]``."""
    effect, low, high = (number_text(finding.get(name)) for name in ("effect", "low", "high"))
    if effect == "-":
        return "undefined"
    return f"{effect}, no interval" if low == high == "-" else f"{effect} [{low}, {high}]"


def mark(verdict: str, how: str = "") -> str:
    """A verdict with its sign, so that it needs no colour, and how it is violated: ``✗ violated: short``."""
    return f"{sign(verdict)} {verdict_text(verdict, how)}".strip()


def sign(verdict: str) -> str:
    """The sign of a verdict; a dash for one that does not apply."""
    return "\N{EN DASH}" if verdict == NOT_APPLICABLE else MARKS.get(verdict, "")
