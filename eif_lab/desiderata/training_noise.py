"""How much of a cell is the sample's, and how much the run's: influence over several runs on the same samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from eif_lab.desiderata.evaluation import ANNOTATE, must_be_annotated, must_be_numbers
from eif_lab.desiderata.selection import clusters, each_run, neutral, select_readout, texts
from eif_lab.desiderata.statistics import jackknife
from eif_lab.errors import must_be, rule_error

BASE = "probe_base_log_prob"
"""The coordinate with the log-probability of each probe before any update."""

EVERY = "all"
"""Of the cells of all relations together."""


def training_noise(influence: xr.DataArray, *, readout: str | None = None, confidence: float = 0.95) -> xr.Dataset:
    r"""What a sample does whatever the run, and what the run adds.

    A run is one training: base model, what the method draws, order of batches. By cell, over R runs: the mean of
    influence and its standard deviation. What f-INE calls Gaussian influence is the difference of the mean readout with
    and without the sample over the spread of the readout, by which a test tells models that have seen the sample from
    models that have not:

    .. math:: \mu_{ij} = \frac{\bar a_{ij} - \bar b_j}{\sqrt{(s^2_{a,ij} + s^2_{b,j}) / 2}}

    with the readouts before, ``b``, and after, ``a = b + I``, of each run. There the models with and without the sample
    are different runs. Here each run has both, so that what the base models differ in is in both and falls out of
    ``I``: ``mean / sd`` is the paired counterpart of ``mu``, and ``unpaired_sd / sd`` says how much pairing takes out.

    For the array: ICC(1), the share of the variance between cells that is the sample's, ``(B - W) / (B + (R - 1) W)``,
    with ``B`` the mean square between cells and ``W`` that within cells, between runs. It is 1 where runs agree in
    every cell, and 0 where cells differ by no more than runs do. Its interval is that of the jackknife over units on
    the scale ``log(B / W)``.

    Args:
        influence: Annotated, with the dimension ``seed``: two runs or more on the same samples, such as
            ``eif_lab.results.seeds.over_seeds(jobs)`` or ``annotate(measure_influence(..., seed=[0, 1, 2]), task)``.
            The last step counts.
        readout: The first where None.
        confidence: Two-sided level of the interval.

    Returns:
        By (stimulus, probe): ``mean``, ``sd``; where the readout is ``log_prob`` and the coordinate
        ``probe_base_log_prob`` is there, ``mu`` and ``unpaired_sd``, the root of the mean of both variances; neither
        with ``perturbation=exclude``, whose readings before and after are of two trainings, and not kept. Along
        ``of``, of ``all`` cells and of those of each relation: ``icc``, ``icc_low``, ``icc_high``, and the number of
        ``cells`` and of ``units``, which are named by the attribute ``unit``. Stimuli that diverged in a run are NaN;
        they and neutral ones are left out of ``icc``. Its ends are NaN where there are fewer than three units, or where
        runs do not differ at all.

    Raises:
        ConfigError: There are fewer than two seeds, or they are of other samples; the array is not one of `annotate`,
            or has no such readout.

    Source: f-INE (arXiv 2510.10510), definition 2.5; Shrout and Fleiss (1979), Intraclass correlations, Psychological
    Bulletin 86; Fisher (1925), Statistical Methods for Research Workers, on the scale of the interval.

    Examples:
        >>> import xarray as xr
        >>> from eif_lab import annotate, load_task
        >>> task = load_task("ontology", worlds=4, stimuli_per_world=1)
        >>> moved = (task.relation == "entailed") * 1.0
        >>> runs = moved + 0.1 * np.random.default_rng(0).normal(size=(5, *moved.shape))
        >>> array = annotate(xr.DataArray(runs, dims=("seed", "stimulus", "probe")), task)
        >>> noise = training_noise(array)
        >>> bool(noise.icc.sel(of="all") > 0.5 > abs(noise.icc.sel(of="entailed")))
        True
    """
    must_be("influence", influence, xr.DataArray, "an annotated DataArray", ANNOTATE)
    must_be_numbers(influence)
    must_be_annotated(influence)
    if not 0 < confidence < 1:
        raise rule_error("confidence", "be between 0 and 1", confidence, "Try 0.95.")
    if influence.sizes.get("seed", 1) < 2:
        raise rule_error(
            "influence", "have at least two seeds", dict(influence.sizes), "Try -m seed=0,1,2 data_seed=0."
        )
    judged = readout or (str(np.atleast_1d(influence["readout"].values)[0]) if "readout" in influence.coords else "")
    runs = [select_readout(run, judged).transpose("stimulus", "probe") for run in each_run(influence)]
    values = np.stack([run.values.astype(float) for run in runs])
    varying = [name for name, coordinate in influence.coords.items() if "seed" in coordinate.dims]
    plain = runs[0].drop_vars([*varying, "seed"], errors="ignore")
    found = {"mean": values.mean(axis=0), "sd": values.std(axis=0, ddof=1)}
    left_out = influence.attrs.get("perturbation") == "exclude"
    if BASE in influence.coords and judged in ("", "log_prob") and not left_out:
        before = np.stack([np.asarray(run[BASE].values, dtype=float) for run in runs])[:, None, :]
        variance = ((before + values).var(axis=0, ddof=1) + before.var(axis=0, ddof=1)) / 2
        found["unpaired_sd"] = np.sqrt(variance)
        with np.errstate(divide="ignore", invalid="ignore"):
            found["mu"] = found["mean"] / found["unpaired_sd"]
    shares = shares_of_variance(values, plain, confidence)
    cells = {name: plain.copy(data=each).rename(name) for name, each in found.items()}
    units = clusters(plain)[1]
    return xr.Dataset({**cells, **shares}, attrs={**influence.attrs, "runs": len(runs), "unit": units})


def shares_of_variance(
    values: Float[np.ndarray, "runs stimulus probe"], array: xr.DataArray, confidence: float
) -> dict[str, Any]:
    """``icc`` and what goes with it, of all cells together and of those of each relation."""
    relation = texts(array, "relation")
    rows = clusters(array)[0][:, None] + np.zeros(relation.shape, dtype=int)
    counted = np.isfinite(values).all(axis=0) & ~neutral(array)[:, None]
    masks = {EVERY: counted, **{name: counted & (relation == name) for name in np.unique(relation[counted]).tolist()}}
    table: dict[str, list[float]] = {"icc": [], "icc_low": [], "icc_high": [], "cells": [], "units": []}
    for mask in masks.values():
        units = np.unique(rows[mask], return_inverse=True)[1]
        row = (*intraclass_correlation(values[:, mask], units, confidence), mask.sum(), units.max(initial=-1) + 1)
        for column, value in zip(table.values(), row, strict=True):
            column.append(value)
    return {name: xr.DataArray(np.array(each), coords={"of": list(masks)}) for name, each in table.items()}


def intraclass_correlation(
    values: Float[np.ndarray, "runs cells"], units: Int[np.ndarray, " cells"], confidence: float = 0.95
) -> tuple[float, float, float]:
    """ICC(1) of cells over runs, with the ends of its interval for other units.

    Args:
        values: Of each run, its cells.
        units: The independent unit ``0 .. n - 1`` that each cell belongs to.
        confidence: Two-sided level of the interval.
    """
    runs, count = len(values), int(units.max(initial=-1)) + 1
    mean, within = values.mean(axis=0), values.var(axis=0, ddof=1)
    mean = mean - mean.mean() if mean.size else mean  # about the middle the sums lose no digits
    size, total, square, noise = (
        np.bincount(units, one, minlength=count) for one in (np.ones_like(mean), mean, mean**2, within)
    )

    def log_ratio(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        cells = counts @ size
        with np.errstate(divide="ignore", invalid="ignore"):
            between = runs * (counts @ square - (counts @ total) ** 2 / cells) / (cells - 1)
            return np.log(between) - np.log(counts @ noise / cells)

    def share(logarithm: float) -> float:
        return float(1 - runs / (np.expm1(logarithm) + runs))

    whole = float(log_ratio(np.ones((1, count)))[0])
    if count < 3 or not np.isfinite(whole):
        return share(whole), float("nan"), float("nan")
    estimate = jackknife(log_ratio, count)
    low, high = estimate.interval(confidence)
    return share(estimate.value), share(low), share(high)
