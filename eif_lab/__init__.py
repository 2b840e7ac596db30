"""Empirical influence functions: what one training sample did to everything else a network says."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eif_lab.data.sets import draw_sets
    from eif_lab.desiderata.evaluation import judge
    from eif_lab.desiderata.training_noise import training_noise
    from eif_lab.figures.array import plot_array
    from eif_lab.figures.forest import plot_forest
    from eif_lab.influence.array import annotate
    from eif_lab.influence.calibrate import calibrate
    from eif_lab.influence.context import measure_context
    from eif_lab.influence.measure import measure_influence
    from eif_lab.influence.sets import membership
    from eif_lab.library.measure import measure_task
    from eif_lab.library.tasks import load_task, make_task
    from eif_lab.results.sweep import open_results

    __version__: str

__all__ = [
    "annotate",
    "calibrate",
    "draw_sets",
    "judge",
    "load_task",
    "make_task",
    "measure_context",
    "measure_influence",
    "measure_task",
    "membership",
    "open_results",
    "plot_array",
    "plot_forest",
    "training_noise",
]

_MODULES = {
    "annotate": "eif_lab.influence.array",
    "calibrate": "eif_lab.influence.calibrate",
    "draw_sets": "eif_lab.data.sets",
    "judge": "eif_lab.desiderata.evaluation",
    "load_task": "eif_lab.library.tasks",
    "make_task": "eif_lab.library.tasks",
    "measure_context": "eif_lab.influence.context",
    "measure_influence": "eif_lab.influence.measure",
    "measure_task": "eif_lab.library.measure",
    "membership": "eif_lab.influence.sets",
    "open_results": "eif_lab.results.sweep",
    "plot_array": "eif_lab.figures.array",
    "plot_forest": "eif_lab.figures.forest",
    "training_noise": "eif_lab.desiderata.training_noise",
}


def __getattr__(name: str) -> Any:
    """Public functions are imported when first used, so that the command line's help does not wait for torch."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("eif-lab")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names first of all, although none of them is imported yet."""
    return sorted([*globals(), *__all__, "__version__"])
