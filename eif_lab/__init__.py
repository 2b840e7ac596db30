"""Empirical influence functions: what one training sample did to everything else a network says."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eif_lab.influence.calibrate import calibrate
    from eif_lab.influence.context import measure_context
    from eif_lab.influence.measure import measure_influence
    from eif_lab.results.sweep import open_results

__all__ = ["calibrate", "measure_context", "measure_influence", "open_results"]

_ROOMS = {
    "calibrate": "eif_lab.influence.calibrate",
    "measure_context": "eif_lab.influence.context",
    "measure_influence": "eif_lab.influence.measure",
    "open_results": "eif_lab.results.sweep",
}


def __getattr__(name: str) -> Any:
    """Public functions are imported when first used, so that the command line's help does not wait for torch."""
    if name in _ROOMS:
        return getattr(importlib.import_module(_ROOMS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
