"""The lines that say what was measured, and how far it can be trusted."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import xarray as xr

from eif_lab.desiderata.verdict import Finding
from eif_lab.results.provenance import package_versions

log = logging.getLogger(__name__)


def measured_elsewhere(influence: xr.DataArray) -> str:
    """Under which other packages a stored array was measured, in words; empty where these are the ones at hand."""
    then = (json.loads(influence.attrs["record"]).get("measured") or {}).get("versions") or {}
    now = package_versions()
    other = [f"{name} {version}" for name, version in then.items() if now.get(name) != version]
    return f", measured under {', '.join(other)}" if other else ""


def interval(finding: Finding) -> str:
    """An effect with its interval."""
    return f"{finding.effect:.3g} [{finding.low:.3g}, {finding.high:.3g}]"


def log_record(record: Mapping[str, Any]) -> None:
    """The lines that say what was measured."""
    base, moved, update = record["base_model"], record["trained_parameters"], record["update"]
    quality = ", ".join(
        f"{k.replace('_', ' ')} {v:.3f}" for k, v in base.items() if "accuracy" in k and isinstance(v, float)
    )
    log.info("base model: %s%s (weights %s)", base["name"], f", {quality}" if quality else "", base["hash"])
    named = moved["names"]
    rest = f" and {len(named) - 4} more, see manifest.json" if len(named) > 5 else ""
    told = ", ".join(named[:4] if rest else named) + rest
    found = update["calibration"]
    if moved["count"]:
        log.info(
            "trained: %d of %d parameters in %d tensors: %s", moved["count"], moved["total"], moved["tensors"], told
        )
        what, rate = f"{update['optimizer']}, {update['steps']} steps, learning rate", update["learning_rate"]
        log.info("update: %s %.3g%s", what, rate, f", calibrated to {found['target']:.3g} nat" if found else "")
    else:
        log.info("no weight moves: stimuli are read before the probes, and there is no rate to calibrate")
    if found and not found["reached"]:
        told = "not matched: a stimulus raises itself by %.3g nat, where %.3g nat were asked for (not reached)"
        log.warning(told, found["direct_influence"], found["target"])
    log.info(
        "measured: %d stimuli x %d probes by %s in %.1f s (%.0f pairs/s)",
        record["stimuli"], record["probes"], record["engine"], record["measuring_seconds"], record["pairs_per_second"],
    )  # fmt: skip
    if "word_overlap" in record:
        log.info("matched foils share %.0f %% of their words with what follows", 100 * record["word_overlap"])
    direct = Finding(**record["direct_influence"])
    log.info("direct influence: %s %s over %d %s", interval(direct), record["unit"], direct.n, direct.unit)
    if record["diverged"]:
        names = record.get("diverged_stimuli", [])
        named, more = ", ".join(names), record["diverged"] - len(names)
        rest = f" and {more} more" if more else ""
        log.warning("%d stimuli diverged: their influence is NaN (%s%s)", record["diverged"], named, rest)
    if record["unmoved"] and update["learning_rate"]:
        told = "%d stimuli moved nothing: their updates are zero, or too small for this precision to show"
        log.warning(told, record["unmoved"])
