"""Scores from a file, in the order and with the sign of a task's influence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Int

from eif_lab.attribution.formats import Opened, open_scores, unreadable
from eif_lab.attribution.sources import SOURCES
from eif_lab.data.task import Task
from eif_lab.errors import ConfigError, must_be, rule_error, short_of_memory, unknown_name
from eif_lab.influence.array import finite_somewhere, must_be_real

AUTO = "auto"

UNIT = "score"
"""What scores are measured in where nobody says: they hold up to a positive factor."""

OF_OTHER_OPTIONS = "Try the dataset's options and the data_seed that they are of."


def read_scores(
    path: str | Path, task: Task, *, source: str = AUTO, reverse: bool = False, readout: str = "log_prob"
) -> xr.DataArray:
    """Scores that another program has written, ready for `eif_lab.annotate` and `eif_lab.judge`.

    Args:
        path: ``.npy``; ``.pt`` (one tensor); ``.parquet``; ``.nc``; a folder of zarr; TRAK's ``.mmap``; kronfluence's
            ``.safetensors`` or its folder; bergson's folder. docs/scores.md has what stands in each.
        task: Whose stimuli and probes they are about. Where the file names its samples (``stimulus_id``, ``probe_id``),
            they are put into the task's order by their names; else they have to be in that order.
        source: The program, of `SOURCES`: which way round its arrays are; ``auto`` for what the format says.
        reverse: Whether a positive score means that the target gets less likely, as where a probability and not a loss
            was attributed.
        readout: The one taken of an array that has several.

    Returns:
        (stimulus, probe), positive where the stimulus is to make the target likelier. NaN for a stimulus that a file
        with names does not have. The attribute ``unit`` is what the file says, else ``score``.

    Raises:
        ConfigError: There is no such file, it is damaged, or it is not about this task.

    Examples:
        >>> import tempfile
        >>> from eif_lab import load_task
        >>> task = load_task("ontology", worlds=2, stimuli_per_world=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/scores.npy", (task.relation == "entailed") * 1.0)
        ...     scores = read_scores(f"{folder}/scores.npy", task)
        >>> scores.dims
        ('stimulus', 'probe')
    """
    must_be("path", path, str | Path, "the path of a file or a folder")
    must_be("task", task, Task, "a Task", "Try eif_lab.load_task(...).")
    ids = (task.stimuli.ids, task.probes.ids)
    return read_aligned(Path(path), ids, source=source, reverse=reverse, readout=readout, read=task.read, field="path")


def read_aligned(
    path: Path,
    ids: tuple[np.ndarray, np.ndarray],
    *,
    source: str,
    reverse: bool,
    readout: str,
    read: Bool[np.ndarray, "stimuli probes"] | None,
    field: str,
) -> xr.DataArray:
    """Scores in the order of these samples.

    Args:
        path, source, reverse, readout: Those of `read_scores`.
        ids: Of the stimuli and of the probes.
        read: Which probes each stimulus is read on; all where None.
        field: What errors call the path.
    """
    if source not in (AUTO, *SOURCES):
        raise unknown_name("source", source, [AUTO, *SOURCES])
    opened = open_scores(path, field, readout)
    convention = SOURCES[opened.source if source == AUTO else source]
    turned = convention.probes_first and opened.names is None
    must_fit(opened, (len(ids[0]), len(ids[1])), turned, str(path), field=field)
    try:
        where = places(opened.names(), ids, field) if opened.names else None
        values = opened.read()
    except Exception as error:  # damage that shows when the values are read
        if short_of_memory(error) or isinstance(error, ConfigError):
            raise
        raise unreadable(path, field, error) from None
    must_be_real(field, values)
    values = values.T if turned else values
    if where is not None:
        rows, columns = where
        values = np.where((rows >= 0)[:, None], values[np.ix_(np.maximum(rows, 0), columns)], np.nan)
    if not finite_somewhere(values, read):
        raise rule_error(field, "hold finite scores of at least one stimulus", str(path))
    signed = -values.astype(float) if reverse != opened.reverse else values.astype(float)
    return xr.DataArray(signed, dims=("stimulus", "probe"), name="influence", attrs={"unit": opened.unit or UNIT})


def must_fit(opened: Opened, size: tuple[int, int], turned: bool, path: str, *, field: str) -> None:
    """Refuse scores of another shape than the task's before they are read; named ones where it is a larger one."""
    if opened.names:
        if any(there > known for there, known in zip(opened.shape, size)):
            rule = f"hold scores of at most {size[0]} stimuli and {size[1]} probes, which this task has"
            raise rule_error(field, rule, f"{opened.shape} in {path}", OF_OTHER_OPTIONS)
        return
    wanted = size[::-1] if turned else size
    if opened.shape == wanted:
        return
    dims = "(probes, stimuli)" if turned else "(stimuli, probes)"
    other = "plain" if turned else "captum"
    hint = f"Try source={other}, whose arrays are the other way round." if opened.shape == wanted[::-1] else ""
    raise rule_error(field, f"hold scores {dims} of this task, {wanted}", f"{opened.shape} in {path}", hint)


def places(
    names: tuple[np.ndarray, np.ndarray], ids: tuple[np.ndarray, np.ndarray], field: str
) -> tuple[Int[np.ndarray, " stimuli"], Int[np.ndarray, " probes"]]:
    """The row of each of the task's stimuli and the column of each of its probes; -1 for a stimulus that is not there.

    Args:
        names: Of the rows and columns.
        ids: Of the task's stimuli and probes.
        field: What errors call the path.

    Raises:
        ConfigError: A name is not the task's, stands there twice, or a probe is missing.
    """
    found = []
    for dim, named, wanted in zip(("stimulus", "probe"), names, ids):
        there, known = pd.Index(named), pd.Index(wanted.astype(str))
        if len(unknown := there.difference(known)):
            raise rule_error(field, f"name samples of this task in {dim}_id", str(unknown[0]), OF_OTHER_OPTIONS)
        if there.has_duplicates or known.has_duplicates:
            several = there if there.has_duplicates else known
            raise rule_error(field, f"name each sample once in {dim}_id", str(several[several.duplicated()][0]))
        found.append(there.get_indexer(known))
    rows, columns = found
    if (columns < 0).any():
        rule = f"have a score for each of {len(columns)} probes"
        raise rule_error(field, rule, f"none for {ids[1][columns < 0][0]!r}", OF_OTHER_OPTIONS)
    return rows, columns
