"""The record of a measurement, beside its numbers: in the manifest, in the log and with the cached array."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from eif_lab.attribution.scores import Scores
from eif_lab.desiderata.strength import strength_of
from eif_lab.desiderata.verdict import Finding
from eif_lab.results.provenance import package_versions

log = logging.getLogger(__name__)

ATTRIBUTE = "record"
"""Where a cached array has its record, as JSON."""


@dataclass(frozen=True)
class Record:
    """A measurement's subject, its method, and how far it can be trusted.

    Attributes:
        base_model: Its ``name``, the ``hash`` of its weights, and what was measured while it was made.
        trained_parameters: ``count`` of ``total``, ``tensors`` and ``names``.
        update: The recipe, and its ``calibration``; None where the learning rate was given.
        strength: What stimuli taught: what they state, less its controls, in the unit of the first readout.
        unit: Of the first readout.
        engine: That measured.
        diverged: How many stimuli have influence that is NaN or infinite.
        unmoved: How many stimuli moved no reading by one bit.
        stimuli, probes: How many there are.
        measuring_seconds: Of all stimuli, those included that an interrupted job had measured before.
        pairs_per_second: (stimulus, probe) pairs.
        method_shift: Nats by which the method changed an answer before it was trained.
        diverged_stimuli: The first of those that diverged, by name.
        measured: The packages and the machine.
        word_overlap: Share of their words that matched foils have in common with what follows; None without foils.
        strength_by_level: What the stimuli of each level of noise were taught; empty where there is no noise.
    """

    base_model: Mapping[str, Any]
    trained_parameters: Mapping[str, Any]
    update: Mapping[str, Any]
    strength: Finding
    unit: str
    engine: str
    diverged: int
    unmoved: int
    stimuli: int
    probes: int
    measuring_seconds: float
    pairs_per_second: float
    method_shift: float = 0.0
    diverged_stimuli: list[str] = field(default_factory=list)
    measured: Mapping[str, Any] = field(default_factory=dict)
    word_overlap: float | None = None
    strength_by_level: Mapping[str, float] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Plain containers, as the manifest has them; an overlap that does not exist is left out."""
        plain = dataclasses.asdict(self)
        return {name: value for name, value in plain.items() if name != "word_overlap" or value is not None}

    @classmethod
    def of(cls, influence: xr.DataArray) -> Record:
        """The record that a cached array has, also one that was written before some of it was noted.

        Strength is that of the array itself, however it was defined when the array was kept.
        """
        plain = json.loads(influence.attrs[ATTRIBUTE])
        known = {one.name: plain[one.name] for one in dataclasses.fields(cls) if one.name in plain}
        return cls(**{**known, "strength": strength_of(influence, str(influence["readout"].values[0]))})

    def attach_to(self, influence: xr.DataArray) -> xr.DataArray:
        """The array with this record as an attribute, to be cached."""
        return influence.assign_attrs({ATTRIBUTE: json.dumps(self.describe())})


def foreign_packages(record: Record) -> str:
    """The packages under which an array was measured, in words; empty where they are those installed now."""
    then = record.measured.get("versions") or {}
    now = package_versions()
    other = [f"{name} {version}" for name, version in then.items() if now.get(name) != version]
    return f", measured under {', '.join(other)}" if other else ""


def interval(finding: Finding) -> str:
    """An effect with its interval."""
    return f"{finding.effect:.3g} [{finding.low:.3g}, {finding.high:.3g}]"


def log_record(record: Record) -> None:
    """The lines that say what was measured, and how far it can be trusted."""
    log_recipe(record)
    log.info(
        "measured: %d stimuli x %d probes by %s in %.1f s (%.0f pairs/s)",
        record.stimuli, record.probes, record.engine, record.measuring_seconds, record.pairs_per_second,
    )  # fmt: skip
    if record.word_overlap is not None:
        log.info("matched foils share %.0f %% of their words with what follows", 100 * record.word_overlap)
    taught = record.strength
    log.info("strength: %s %s over %d %s", interval(taught), record.unit, taught.n, taught.unit)
    if record.engine == Scores.engine and taught.high < 0:
        log.warning("what is stated gets less likely: where that is how the scores have it, give model.reverse=true")
    if record.strength_by_level:
        levels = ", ".join(f"{level}: {strength:.3g}" for level, strength in record.strength_by_level.items())
        log.info("strength by level of noise, all at one learning rate: %s %s", levels, record.unit)
    if record.diverged:
        named, more = ", ".join(record.diverged_stimuli), record.diverged - len(record.diverged_stimuli)
        rest = f" and {more} more" if more else ""
        log.warning("%d stimuli diverged: their influence is NaN (%s%s)", record.diverged, named, rest)
    if record.unmoved and record.update["learning_rate"]:
        message = "%d stimuli moved nothing: their updates are zero, or too small for this precision to show"
        log.warning(message, record.unmoved)


def log_recipe(record: Record) -> None:
    """The lines that say which model was updated how."""
    base, moved, update = record.base_model, record.trained_parameters, record.update
    if not base["hash"]:
        log.info("%s: %s", base["name"], base.get("origin", "a rule and no model"))
        return
    quality = ", ".join(
        f"{k.replace('_', ' ')} {v:.3f}" for k, v in base.items() if "accuracy" in k and isinstance(v, float)
    )
    log.info("base model: %s%s (weights %s)", base["name"], f", {quality}" if quality else "", base["hash"])
    calibration = update["calibration"]
    if moved["count"]:
        names = moved["names"]
        rest = f" and {len(names) - 4} more, see manifest.json" if len(names) > 5 else ""
        message = ", ".join(names[:4] if rest else names) + rest
        log.info(
            "trained: %d of %d parameters in %d tensors: %s", moved["count"], moved["total"], moved["tensors"], message
        )
        what, rate = f"{update['optimizer']}, {update['steps']} steps, learning rate", update["learning_rate"]
        target = f", calibrated to {calibration['target']:.3g} nat" if calibration else ""
        log.info("update: %s %.3g%s", what, rate, target)
    else:
        log.info("no weight moves: stimuli are read before the probes, and there is no rate to calibrate")
    if calibration and not calibration["reached"]:
        message = "not matched: a strength of %.3g nat, where %.3g nat were asked for (not reached)"
        log.warning(message, calibration.get("strength", math.nan), calibration["target"])
