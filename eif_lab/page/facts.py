"""What was run, in words: the facts of a manifest that the page shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eif_lab.console.format import MARKS, number_text, spaced
from eif_lab.results.manifest import BaseModel, Manifest, Provenance, Update

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
    "direct": "Direct influence",
    "base": "Base model",
    "device": "Device",
    "time": "Time",
    "versions": "Versions",
    "commit": "Commit",
}


def facts(manifest: Manifest) -> dict[str, str]:
    """What was run, in words; what the manifest does not say is empty.

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
        "update": recipe(manifest.update),
        "engine": manifest.engine,
        "trained": f"{trained.count:,} of {trained.total:,} parameters" if trained.count else "",
        "direct": "" if manifest.direct_influence.effect is None else direct_in_words(manifest),
        "base": quality(manifest.base_model),
        "device": " · ".join(filter(None, [where.device, where.platform])),
        "time": " · ".join(filter(None, [manifest.created, seconds])),
        "versions": measured if measured == judged else f"{measured} (measured); {judged} (judged)",
        "commit": f"{where.git_commit[:12]}{dirty}" if where.git_commit else "",
    }


def packages(provenance: Provenance) -> str:
    """The versions of the packages that matter most."""
    names = ("eif-lab", "torch", "transformers", "peft")
    return ", ".join(f"{package} {provenance.versions[package]}" for package in names if package in provenance.versions)


def direct_in_words(manifest: Manifest) -> str:
    """The direct influence with its interval, and of how many units."""
    direct = manifest.direct_influence
    units = "" if direct.n is None else f", n = {direct.n} {direct.unit}".rstrip()
    return f"{effect_text(direct)} {manifest.unit}{units}"


def model_name(base: BaseModel) -> str:
    """The model's own name and its size: a tiny model is not called by the name of the large one."""
    size = f" ({base.parameters:,} parameters)" if base.parameters else ""
    return f"{base.name}{size}" if base.name else ""


def choice_in_words(options: Mapping[str, Any] | None) -> str:
    """A choice and its plain options: ``ontology: worlds 20, stimuli_per_world 3``."""
    if not options:
        return ""
    kind = str(options.get("_target_", "")).rpartition(".")[2]
    name = str(options.get("name") or kind.lower())
    plain = [
        f"{spaced(key)} {value}"
        for key, value in options.items()
        if key not in ("_target_", "name", "root", "download") and isinstance(value, str | int | float)
    ]
    return f"{name}: {', '.join(plain)}" if plain else name


def recipe(update: Update) -> str:
    """The update in words; empty where the job did not get so far."""
    if not update.optimizer:
        return "" if update.steps is None else "none: stimuli are read before the probes"
    target = update.calibration
    missed = "" if target is None or target.reached else " (not reached)"
    calibrated = "" if target is None else f", calibrated to {target.target:.3g} nat{missed}"
    count = 1 if update.steps is None else update.steps
    steps = f"{count} step{'' if count == 1 else 's'}"
    return f"{update.optimizer}, {steps}, learning rate {number_text(update.learning_rate)}{calibrated}"


def quality(base: BaseModel) -> str:
    """How good the base model was: its accuracies and losses, and the worlds that it did not learn."""
    parts = [f"{spaced(key)} {value:.3g}" for key, value in base.items() if isinstance(value, float)]
    if base.worlds_not_learnt:
        parts.append(f"{len(base.worlds_not_learnt)} worlds not learnt and left out")
    return ", ".join([*parts, f"weights {base.hash}"] if base.hash else parts)


def effect_text(finding: Mapping[str, Any]) -> str:
    """An effect with its interval: ``0.4 [0.38, 0.41]``."""
    effect, low, high = (number_text(finding.get(name)) for name in ("effect", "low", "high"))
    return f"{effect} [{low}, {high}]"


def mark(verdict: str) -> str:
    """A verdict with its sign, so that it needs no colour."""
    return f"{MARKS.get(verdict, '')} {verdict}".strip()
