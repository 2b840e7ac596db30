"""Put a task's labels, relations and distances on an influence array."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from torch import Tensor

from eif_lab.data.task import Task
from eif_lab.errors import rule_error, unknown_name


def annotate(
    scores: xr.DataArray | np.ndarray | Tensor,
    task: Task,
    distances: Mapping[str, np.ndarray] | None = None,
    default: str | None = None,
) -> xr.DataArray:
    """Scores of any origin with the task's labels, relations and distances.

    They become coordinates: ``stimulus_*``, ``probe_*``, ``relation``, ``foil_*`` and ``distance_*``.

    Args:
        scores: (stimuli, probes), in the task's order, positive where the stimulus makes the target likelier: an array,
            a tensor, or a DataArray with the dims ``stimulus`` and ``probe`` among others.
        task: Where the coordinates come from.
        distances: Named (stimuli, probes) arrays; the task's own where None.
        default: The distance that is taken when none is named, kept as the attribute ``distance``; else the first.

    Returns:
        The dims of ``scores``; `eif_lab.judge` takes it as it is.

    Raises:
        ConfigError: The scores are not of this task's shape, or are finite for no stimulus; or there is no such
            distance.

    Examples:
        >>> from eif_lab import load_task
        >>> task = load_task("ontology", worlds=2, stimuli_per_world=1)
        >>> array = annotate((task.relation == "entailed") * 1.0, task)
        >>> array.shape == array.relation.shape == (len(task.stimuli), len(task.probes))
        True
    """
    pair = ("stimulus", "probe")
    array = scores if isinstance(scores, xr.DataArray) else as_array(scores)
    size = (len(task.stimuli), len(task.probes))
    if not set(pair) <= set(array.dims) or (array.sizes["stimulus"], array.sizes["probe"]) != size:
        received = dict(array.sizes) if isinstance(scores, xr.DataArray) else array.shape
        raise rule_error("scores", f"be (stimuli, probes) of this task, {size}", received)
    known = task.distances if distances is None else distances
    if default is not None and default not in known:
        raise unknown_name("default", default, known)
    coords = {f"stimulus_{name}": ("stimulus", values) for name, values in task.stimuli.describe().items()}
    coords |= {f"probe_{name}": ("probe", values) for name, values in task.probes.describe().items()}
    coords |= {f"distance_{name}": (pair, values) for name, values in known.items()}  # type: ignore[misc]
    coords |= {f"foil_{name}": (pair, index) for name, index in task.foils.items()}  # type: ignore[misc]
    coords["relation"] = (pair, task.relation)  # type: ignore[assignment]
    return array.assign_coords(coords).assign_attrs(distance=default or next(iter(known), ""))


def as_array(scores: np.ndarray | Tensor) -> xr.DataArray:
    """Numbers as (stimulus, probe).

    Raises:
        ConfigError: They have another number of dimensions, or are finite for no stimulus.
    """
    values = scores.detach().cpu().numpy() if isinstance(scores, Tensor) else np.asarray(scores)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise rule_error("scores", "be real numbers with two dimensions", f"{values.dtype} of shape {values.shape}")
    if not np.isfinite(values).all(axis=1).any():
        raise rule_error("scores", "be finite for at least one stimulus", "none that is")
    return xr.DataArray(values, dims=("stimulus", "probe"), name="influence")
