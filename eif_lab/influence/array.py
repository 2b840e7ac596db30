"""Put a task's labels, relations and distances on an influence array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor, bfloat16, strided

from eif_lab.data.sets import Sets
from eif_lab.data.task import Task
from eif_lab.errors import must_be, one_line, rule_error, unknown_name
from eif_lab.influence.sets import with_sets


def annotate(
    scores: xr.DataArray | np.ndarray | Tensor,
    task: Task,
    distances: Mapping[str, np.ndarray] | None = None,
    default: str | None = None,
) -> xr.DataArray:
    """Scores of any origin with the task's labels, relations and distances.

    They become coordinates: ``stimulus_*``, ``probe_*``, ``relation``, ``foil_*`` and ``distance_*``; and ``read``,
    where the task has each stimulus read on some of the probes alone, without which scores are NaN. Where its stimuli
    are sets of samples, `membership` tells which.

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
    must_be("task", task, Task, "a Task", "Try eif_lab.load_task(...).")
    array = scores if isinstance(scores, xr.DataArray) else scores_array(scores, task.read)
    size = (len(task.stimuli), len(task.probes))
    if not set(pair) <= set(array.dims) or (array.sizes["stimulus"], array.sizes["probe"]) != size:
        received = dict(array.sizes) if isinstance(scores, xr.DataArray) else array.shape
        raise rule_error("scores", f"be (stimuli, probes) of this task, {size}", received)
    must_be_real("scores", array)
    known = task.distances if distances is None else distances
    must_be_distances(known, size)
    if default is not None and default not in known:
        raise unknown_name("default", default, known)
    coords = {f"stimulus_{name}": ("stimulus", values) for name, values in task.stimuli.describe().items()}
    coords |= {f"probe_{name}": ("probe", values) for name, values in task.probes.describe().items()}
    coords |= {f"distance_{name}": (pair, values) for name, values in known.items()}  # type: ignore[misc]
    coords |= {f"foil_{name}": (pair, index) for name, index in task.foils.items()}  # type: ignore[misc]
    coords["relation"] = (pair, task.relation)  # type: ignore[assignment]
    array = array.assign_coords(coords).assign_attrs(distance=default or next(iter(known), ""))
    if isinstance(task.stimuli, Sets):
        array = with_sets(array, task.stimuli.members, task.stimuli.samples.ids.tolist())
    return array if task.read is None else only_read(array, task.read)


def only_read(array: xr.DataArray, read: np.ndarray) -> xr.DataArray:
    """The array with the coordinate ``read``, and NaN where that is false.

    Args:
        array: With the dims ``stimulus`` and ``probe`` among others.
        read: (stimuli, probes), which probes each stimulus is read on.
    """
    array = array.assign_coords(read=(("stimulus", "probe"), read))
    return array.where(array["read"])


def must_be_real(field: str, values: Any) -> None:
    """Refuse an array of anything but real numbers."""
    if values.dtype.kind not in "fiu":
        raise rule_error(field, "be real numbers", f"{values.dtype} of shape {values.shape}")


def must_be_distances(distances: Any, size: tuple[int, int]) -> None:
    """Refuse anything but real numbers of the scores' shape, by name."""
    must_be("distances", distances, Mapping, "a mapping from names to arrays", "Try dict(path=...).")
    for name, values in distances.items():
        field = f"distances[{name!r}]"
        if not isinstance(name, str):
            raise rule_error("distances", "have text as names", name)
        must_be(field, values, np.ndarray, "an array of NumPy")
        must_be_real(field, values)
        if values.shape != size:
            raise rule_error(field, f"be (stimuli, probes) of this task, {size}", values.shape)


def scores_array(scores: Any, read: np.ndarray | None = None) -> xr.DataArray:
    """Numbers as (stimulus, probe).

    Args:
        scores: An array or a tensor.
        read: Where they count; everywhere where None, or where it is of another shape.

    Raises:
        ConfigError: They have another number of dimensions, or are finite for no stimulus.
    """
    if isinstance(scores, Tensor) and (scores.is_meta or scores.layout != strided):
        received = "a tensor on the meta device" if scores.is_meta else "a sparse tensor"
        raise rule_error("scores", "hold a number for each cell", received, "Try tensor.to_dense().")
    if isinstance(scores, xr.Dataset):
        raise rule_error("scores", "be one array", "a Dataset", "Try one of its variables.")
    try:
        values = in_numpy(scores) if isinstance(scores, Tensor) else np.asarray(scores)
    except ValueError as error:  # rows of several lengths
        raise rule_error("scores", f"be one array ({one_line(error)})", type(scores).__name__) from None
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise rule_error("scores", "be real numbers with two dimensions", f"{values.dtype} of shape {values.shape}")
    if not finite_somewhere(values, read):
        raise rule_error("scores", "be finite for at least one stimulus", "none that is")
    return xr.DataArray(values, dims=("stimulus", "probe"), name="influence")


def finite_somewhere(values: np.ndarray, read: np.ndarray | None = None) -> bool:
    """Whether a stimulus has finite scores on all probes that it is read on.

    Args:
        values: (stimuli, probes).
        read: Where they count; everywhere where None, or where it is of another shape.
    """
    blank = ~read if read is not None and read.shape == values.shape else False
    return bool((np.isfinite(values) | blank).all(axis=1).any())


def in_numpy(scores: Tensor) -> np.ndarray:
    """A tensor's numbers; NumPy has no bfloat16, whose numbers float32 holds."""
    values = scores.detach().cpu()
    return (values.float() if values.dtype == bfloat16 else values).numpy()
