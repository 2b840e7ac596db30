"""Scores from a file, in the order and with the sign of a task's influence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from eif_lab.attribution.formats import Opened, open_scores, unreadable
from eif_lab.attribution.sources import SOURCES
from eif_lab.data.task import Task
from eif_lab.errors import ConfigError, must_be, rule_error, short_of_memory, unknown_name
from eif_lab.influence.array import must_be_real

AUTO = "auto"

UNIT = "score"
"""What scores are measured in where nobody says: they hold up to a positive factor."""


def read_scores(
    path: str | Path, task: Task, *, source: str = AUTO, reverse: bool = False, readout: str = "log_prob"
) -> xr.DataArray:
    """Scores that another program has written, ready for `eif_lab.annotate` and `eif_lab.judge`.

    Args:
        path: ``.npy``; ``.pt`` (one tensor); ``.parquet``; ``.nc``; a folder of zarr; TRAK's ``.mmap``; kronfluence's
            ``.safetensors`` or its folder; bergson's folder. docs/attribution.md has what stands in each.
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
    return read_aligned(Path(path), ids, source=source, reverse=reverse, readout=readout, field="path")


def read_aligned(
    path: Path, ids: tuple[np.ndarray, np.ndarray], *, source: str, reverse: bool, readout: str, field: str
) -> xr.DataArray:
    """Scores in the order of these samples.

    Args:
        path, source, reverse, readout: Those of `read_scores`.
        ids: Of the stimuli and of the probes.
        field: What errors call the path.
    """
    if source not in (AUTO, *SOURCES):
        raise unknown_name("source", source, [AUTO, *SOURCES])
    opened = open_scores(path, field, readout)
    convention = SOURCES[opened.source if source == AUTO else source]
    turned = convention.probes_first and not opened.labelled
    if not opened.labelled:
        must_fit(opened, (len(ids[0]), len(ids[1])), turned, str(path), field=field)
    try:
        values = opened.read()
    except Exception as error:  # damage that shows when the values are read
        if short_of_memory(error) or isinstance(error, ConfigError):
            raise
        raise unreadable(path, field, error) from None
    must_be_real(field, values)
    values = values.T if turned else values
    if opened.labelled:
        values = by_name(opened, values, ids, field)
    if not np.isfinite(values).all(axis=1).any():
        raise rule_error(field, "hold finite scores of at least one stimulus", str(path))
    signed = -values.astype(float) if reverse != opened.reverse else values.astype(float)
    return xr.DataArray(signed, dims=("stimulus", "probe"), name="influence", attrs={"unit": opened.unit or UNIT})


def must_fit(opened: Opened, size: tuple[int, int], turned: bool, path: str, *, field: str) -> None:
    """Refuse scores of another shape than the task's, before they are read."""
    wanted = size[::-1] if turned else size
    if opened.shape == wanted:
        return
    dims = "(probes, stimuli)" if turned else "(stimuli, probes)"
    other = "plain" if turned else "captum"
    hint = f"Try source={other}, whose arrays are the other way round." if opened.shape == wanted[::-1] else ""
    raise rule_error(field, f"hold scores {dims} of this task, {wanted}", f"{opened.shape} in {path}", hint)


def by_name(opened: Opened, values: np.ndarray, ids: tuple[np.ndarray, np.ndarray], field: str) -> np.ndarray:
    """The scores in the task's order; NaN for a stimulus that is not there.

    Args:
        opened: With the names of the rows and columns.
        values: (stimuli, probes), as they are stored.
        ids: Of the task's stimuli and probes.
        field: What errors call the path.

    Raises:
        ConfigError: A name is not the task's, stands there twice, or a probe is missing.
    """
    places = []
    for dim, there, wanted in zip(("stimulus", "probe"), (opened.stimulus_ids, opened.probe_ids), ids):
        names, known = pd.Index(there), pd.Index(wanted.astype(str))
        if len(unknown := names.difference(known)):
            rule = f"name samples of this task in {dim}_id"
            raise rule_error(
                field, rule, str(unknown[0]), "Try the dataset's options and the data_seed that they are of."
            )
        if names.has_duplicates or known.has_duplicates:
            twice = (names if names.has_duplicates else known).duplicated()
            rule = f"name each sample once in {dim}_id"
            raise rule_error(field, rule, str((names if names.has_duplicates else known)[twice][0]))
        places.append(names.get_indexer(known))
    rows, columns = places
    if (columns < 0).any():
        rule = f"have a score for each of {len(columns)} probes"
        raise rule_error(
            field, rule, f"none for {ids[1][columns < 0][0]!r}", "Try the dataset's options that they are of."
        )
    return np.where((rows >= 0)[:, None], values[np.ix_(np.maximum(rows, 0), columns)], np.nan)
