"""How well attribution scores foretell what training did: the field's own measures, on arrays of any origin.

One sign everywhere: a score is positive where training on the sample is to make the probe's target likelier, and what
is measured is positive where it did. So a good method has positive values in each of these measures, one whose sign is
turned round has negative ones, and a positive factor changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from eif_lab.attribution.measure import Measure, over_probes, over_rows
from eif_lab.desiderata.selection import CONSTANT
from eif_lab.errors import must_be, rule_error
from eif_lab.influence.array import in_numpy

Rows = Float[np.ndarray, "_ _ _"]
"""(seeds, rows, probes)."""

SHARES = (0.01, 0.05, 0.1)
"""The shares of the samples that are removed."""

PEARSON, SPEARMAN = "pearson", "spearman"


def datamodeling_score(
    scores: Any,
    measured: Any,
    membership: Any,
    *,
    probe_units: Int[np.ndarray, " probes"] | None = None,
    correlation: str = SPEARMAN,
) -> Measure:
    """The linear datamodeling score (LDS): do the summed scores of a set's members rank what training on the set did?

    For each probe Spearman's correlation over sets, between ``sum of scores[i, probe] over the set's members i`` and
    ``measured[set, probe]``; then the mean over probes. Several seeds of training are averaged first, as in the source:
    what is foretold is the expected result. Where all sets are of one size, the scores of what was left out, summed and
    turned round, give the same.

    Args:
        scores: (samples, probes) or (seeds, samples, probes): an array, or a DataArray with the dims ``stimulus`` and
            ``probe``, of which the last step and the first readout are taken.
        measured: (sets, probes) or (seeds, sets, probes), the readout, or the influence, after training on each set;
            a DataArray has the sets along ``stimulus``.
        membership: (sets, samples), true where the set holds the sample.
        probe_units: What each probe belongs to, such as its world: the interval over probes leaves it out whole.
        correlation: ``spearman``, or ``pearson``.

    Returns:
        ``by_probe`` is the correlation of each probe. A probe on which nothing that was measured differs does not
        count; one on which the scores of all sets are equal, while what was measured differs, counts as 0. Intervals,
        each for others of its kind with the rest as it is: ``probes``, ``sets``, and ``seeds`` where there are several.

    Raises:
        ConfigError: The shapes do not go together, both name their samples or probes and not the same in one order, or
            a number is not finite.

    Source:
        Park et al. (2023), TRAK: Attributing Model Behavior at Scale, arXiv 2303.14186, Definition 2.3.

    Examples:
        >>> random = np.random.default_rng(0)
        >>> effects = random.normal(size=(30, 5))  # what each sample does to each probe
        >>> sets = random.random((50, 30)) < 0.5
        >>> datamodeling_score(effects, sets @ effects, sets).value
        1.0
    """
    must_name_the_same("measured", ids(measured, "probe_id"), ids(scores, "probe_id"), "probes")
    must_name_the_same("membership", ids(membership, "sample"), ids(scores, "stimulus_id"), "samples")
    held = np.asarray(membership)
    predicted, truth = rows_of("scores", scores), rows_of("measured", measured)
    if held.dtype != bool or held.shape != (truth.shape[1], predicted.shape[1]):
        rule = f"be true or false for each set and sample, ({truth.shape[1]}, {predicted.shape[1]})"
        raise rule_error("membership", rule, f"{held.dtype} of shape {held.shape}")
    must_share_probes(predicted, truth)
    sums = np.einsum("ks,nsp->nkp", held.astype(float), predicted)
    return correlated("lds", sums, truth, "sets", probe_units=probe_units, correlation=correlation)


def leave_one_out_correlation(
    scores: Any,
    measured: Any,
    *,
    probe_units: Int[np.ndarray, " probes"] | None = None,
    correlation: str = SPEARMAN,
) -> Measure:
    """Do scores rank samples as leaving each of them out, or training on it alone, does?

    For each probe the correlation over samples, then the mean over probes.

    Args:
        scores: As in `datamodeling_score`.
        measured: (samples, probes) or (seeds, samples, probes): the influence of each sample, such as an array with
            ``perturbation=exclude``: the readout after training on all of them, less the one after training without it.
        probe_units, correlation: As in `datamodeling_score`.

    Returns:
        As `datamodeling_score`, with an interval over ``samples`` in place of the one over sets.

    Raises:
        ConfigError: The shapes do not go together, both name their samples or probes and not the same in one order, or
            a number is not finite.

    Examples:
        >>> effects = np.random.default_rng(0).normal(size=(30, 5))
        >>> leave_one_out_correlation(-effects, effects).value
        -1.0
    """
    for name, what in (("stimulus_id", "samples"), ("probe_id", "probes")):
        must_name_the_same("measured", ids(measured, name), ids(scores, name), what)
    predicted, truth = rows_of("scores", scores), rows_of("measured", measured)
    if truth.shape[1] != predicted.shape[1]:
        raise rule_error("measured", f"have a row for each of {predicted.shape[1]} samples", truth.shape[1])
    must_share_probes(predicted, truth)
    return correlated("leave_one_out", predicted, truth, "samples", probe_units=probe_units, correlation=correlation)


def top_sets(scores: Any, shares: Any = SHARES) -> Bool[np.ndarray, "shares probes samples"]:
    """Which samples each probe's highest scores are of: those to be removed.

    To train without them, ``~top_sets(scores).reshape(-1, samples)`` is the membership of the sets that are left, a row
    for each share and probe. The same of scores that were permuted along the samples gives random sets to compare with.

    Args:
        scores: As in `datamodeling_score`; several seeds are averaged.
        shares: Numbers, of all samples, each in (0, 1); rounded to whole samples, at least one and not all of them.

    Raises:
        ConfigError: A share is not between 0 and 1, a score is not finite, or there is a single sample.

    Examples:
        >>> top_sets(np.array([[0.1], [0.3], [-0.2], [0.2]]), [0.5])[0, 0].tolist()
        [False, True, False, True]
    """
    shares, ranked = shares_of(shares), rows_of("scores", scores).mean(axis=0)
    if (samples := len(ranked)) < 2:
        raise rule_error("scores", "be of at least 2 samples, so that one is left", samples)
    order = np.argsort(-ranked, axis=0, kind="stable")
    places = np.argsort(order, axis=0, kind="stable")
    counts = [min(max(1, round(share * samples)), samples - 1) for share in shares]
    return np.stack([(places < count).T for count in counts])


def removal_difference(
    measured: Any,
    full: Any,
    shares: Any = SHARES,
    *,
    control: Any = None,
    probe_units: Int[np.ndarray, " probes"] | None = None,
    unit: str = "nat",
) -> list[Measure]:
    """How much likelier each probe's target is with the samples of its highest scores than without them.

    With the log-probability as readout it is the loss on the probe without them, less the loss with them: the more a
    method's best samples mattered, the larger.

    Args:
        measured: (shares * probes, probes) or (seeds, shares * probes, probes): the readout, or the influence, after
            training on the sets that `top_sets` leaves, in its order. Of each set its own probe counts.
        full: (probes,) or (seeds, probes): the same after training on all samples; of a DataArray the last step and the
            first readout. With a control it cancels.
        shares: Those that `top_sets` was given.
        control: Like ``measured``, of random sets of the same sizes, whose difference is then taken off probe by probe;
            None to take off nothing.
        probe_units: As in `datamodeling_score`.
        unit: Of the readout.

    Returns:
        One measure for each share, named ``without_top_1%`` and so on, with intervals over ``probes``, and over
        ``seeds`` where there are several.

    Raises:
        ConfigError: The shapes do not go together, or a number is not finite.

    Examples:
        >>> without = np.array([[-3.0, -1.0], [-1.0, -2.0]])  # one share, two probes: each loses by its own set
        >>> print(removal_difference(without, np.array([-1.0, -1.0]), [0.1])[0].value)
        1.5
    """
    shares = shares_of(shares)
    after_all = numbers("full", full, "probe")
    if after_all.ndim not in (1, 2) or not after_all.size:
        raise rule_error("full", "be (probes,) or (seeds, probes)", f"shape {after_all.shape}")
    whole = after_all.reshape(-1, 1, after_all.shape[-1])
    start = whole if control is None else own_cells(control, whole, len(shares), "control")
    differences = start - own_cells(measured, whole, len(shares), "measured")
    measures = []
    for share, of_share in zip(shares, differences.transpose(1, 0, 2)):
        by_probe = of_share.mean(axis=0)
        intervals = {"probes": over_probes(by_probe, probe_units)}
        if len(of_share) > 1:
            of_seed = of_share.mean(axis=1)
            intervals["seeds"] = over_rows(lambda kept, of_seed=of_seed: float(of_seed[kept].mean()), len(of_seed))  # type: ignore[misc]
        measures.append(Measure(f"without_top_{100 * share:g}%", float(by_probe.mean()), by_probe, intervals, unit))
    return measures


# Arithmetic ---------------------------------------------------------------------------------------------------------


def correlated(
    name: str,
    predicted: Rows,
    truth: Rows,
    rows: str,
    *,
    probe_units: Int[np.ndarray, " probes"] | None,
    correlation: str,
) -> Measure:
    """The mean over probes of a correlation over rows, with its intervals.

    Args:
        name: Of the measure.
        predicted, truth: Averaged over seeds before anything else.
        rows: What the rows are.
        probe_units: As in `datamodeling_score`.
        correlation: ``spearman`` or ``pearson``.
    """
    if correlation not in (PEARSON, SPEARMAN):
        raise rule_error("correlation", f"be {SPEARMAN} or {PEARSON}", correlation, f"Try {SPEARMAN}.")
    x, y = predicted.mean(axis=0), truth.mean(axis=0)
    if len(x) < 3:
        raise rule_error(f"number of {rows}", "be at least 3 to be ranked", len(x))
    by_probe = correlation_by_column(x, y, correlation)
    intervals = {
        "probes": over_probes(by_probe, probe_units),
        rows: over_rows(lambda kept: mean(correlation_by_column(x[kept], y[kept], correlation)), len(x)),
    }
    seeds = max(len(predicted), len(truth))
    if seeds > 1:
        if {len(predicted), len(truth)} - {1, seeds}:
            raise rule_error("scores", f"have one seed, or the {len(truth)} of what was measured", len(predicted))

        def of_seeds(kept: Int[np.ndarray, " kept"]) -> float:
            x, y = (values[kept if len(values) > 1 else slice(None)].mean(axis=0) for values in (predicted, truth))
            return mean(correlation_by_column(x, y, correlation))

        intervals["seeds"] = over_rows(of_seeds, seeds)
    return Measure(name, mean(by_probe), by_probe, intervals)


def correlation_by_column(
    predicted: Float[np.ndarray, "rows probes"], truth: Float[np.ndarray, "rows probes"], kind: str
) -> Float[np.ndarray, " probes"]:
    """Spearman's or Pearson's correlation of each column with the same column of the truth.

    0 where only the prediction is constant up to rounding, since it then tells nothing apart; NaN where the truth is.
    """
    turned: Callable[[np.ndarray], np.ndarray] = (lambda x: stats.rankdata(x, axis=0)) if kind == SPEARMAN else np.array
    x, y = (turned(values) for values in (predicted, truth))
    constant_x, constant_y = (
        np.ptp(values, axis=0) <= CONSTANT * np.abs(values).max(axis=0) for values in (predicted, truth)
    )
    x, y = (values - values.mean(axis=0) for values in (x, y))
    x, y = (
        values / np.where(flat, 1.0, np.linalg.norm(values, axis=0))
        for values, flat in ((x, constant_x), (y, constant_y))
    )
    found = np.where(constant_x, 0.0, (x * y).sum(axis=0).clip(-1, 1))
    return np.where(constant_y, np.nan, found)


def mean(by_probe: Float[np.ndarray, " probes"]) -> float:
    """The mean over the probes that count; NaN where none does."""
    counted = by_probe[np.isfinite(by_probe)]
    return float(counted.mean()) if len(counted) else float("nan")


def own_cells(measured: Any, whole: Rows, shares: int, field: str) -> Float[np.ndarray, "seeds shares probes"]:
    """Of the sets of each share and probe, the reading of that probe alone."""
    after = rows_of(field, measured)
    probes = whole.shape[2]
    if after.shape[1:] != (shares * probes, probes) or len(after) not in (1, len(whole)):
        received = f"{after.shape[1:]} of {len(after)} seeds"
        raise rule_error(field, f"be (shares * probes, probes), {(shares * probes, probes)}, for each seed", received)
    return np.diagonal(after.reshape(len(after), shares, probes, probes), axis1=2, axis2=3)


# Input --------------------------------------------------------------------------------------------------------------


def rows_of(field: str, values: Any) -> Rows:
    """Numbers as (seeds, rows, probes), in float64.

    Args:
        field: Its name, for errors.
        values: (rows, probes) or (seeds, rows, probes), as `numbers` takes them.

    Raises:
        ConfigError: They have other dimensions, are no numbers, or are not finite.
    """
    array = numbers(field, values, "stimulus", "probe")
    if array.ndim not in (2, 3) or not array.size:
        raise rule_error(field, "be (rows, probes) or (seeds, rows, probes)", f"shape {array.shape}")
    return array.reshape(-1, *array.shape[-2:])


def numbers(field: str, values: Any, *dims: str) -> np.ndarray:
    """Finite numbers of any shape, in float64.

    Args:
        field: Its name, for errors.
        values: An array, a tensor, or a DataArray, of which the last step and the first readout are taken.
        dims: Those that a DataArray has then, after its seeds.

    Raises:
        ConfigError: They are no real numbers, or are not finite; or a DataArray has other dims.
    """
    if isinstance(values, xr.DataArray):
        values = selected(field, values, dims).values
    elif isinstance(values, Tensor):
        values = in_numpy(values)
    must_be(field, values, np.ndarray | list | tuple, "an array", "Try a NumPy array.")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise rule_error(field, f"be one array ({error})", type(values).__name__) from None
    if array.dtype.kind not in "fiu":
        raise rule_error(field, "be real numbers", f"{array.dtype} of shape {array.shape}")
    if not np.isfinite(array).all():
        rule = "be finite, since what diverged cannot be ranked"
        raise rule_error(field, rule, f"{int((~np.isfinite(array)).sum())} cells that are not", "Leave them out.")
    return array.astype(float)


def selected(field: str, array: xr.DataArray, dims: tuple[str, ...]) -> xr.DataArray:
    """These dims of an influence array, after ``seed`` where it has that: its last step and first readout."""
    last = array.isel({dim: index for dim, index in (("step", -1), ("readout", 0)) if dim in array.dims})
    if set(last.dims) - {"seed"} != set(dims):
        rule = f"have the {'dims' if len(dims) > 1 else 'dim'} {' and '.join(dims)}"
        hint = "Try eif_lab.annotate(scores, task)." if "stimulus" in dims else ""
        raise rule_error(field, rule, array.dims, hint)
    return last.transpose(*(dim for dim in ("seed", *dims) if dim in last.dims))


def shares_of(shares: Any) -> list[float]:
    """Shares of the samples as a list, each between 0 and 1, of which there is at least one."""
    array, hint = numbers("shares", shares), "Try (0.01, 0.05, 0.1)."
    if array.ndim != 1 or not array.size:
        raise rule_error("shares", "be a list of at least one share", shares, hint)
    for share in array.tolist():
        if not 0 < share < 1:
            raise rule_error("shares", "be between 0 and 1", share, hint)
    return array.tolist()


def must_share_probes(predicted: Rows, truth: Rows) -> None:
    """Refuse arrays about different numbers of probes."""
    if predicted.shape[2] != truth.shape[2]:
        raise rule_error("scores", f"have a column for each of {truth.shape[2]} probes", predicted.shape[2])


def ids(array: Any, name: str) -> np.ndarray | None:
    """The names in a coordinate of a DataArray, as text; None where there are none, or other ones in each seed."""
    coordinate = array.coords.get(name) if isinstance(array, xr.DataArray) else None
    return None if coordinate is None or coordinate.ndim != 1 else coordinate.values.astype(str)


def must_name_the_same(field: str, found: np.ndarray | None, wanted: np.ndarray | None, what: str) -> None:
    """Refuse an array about other samples than the scores are; of another number of them the shapes will tell."""
    if found is None or wanted is None or len(found) != len(wanted) or (found == wanted).all():
        return
    place = int((found != wanted).argmax())
    received = f"{found[place]} where they have {wanted[place]}"
    raise rule_error(field, f"be about the {what} of the scores, in their order", received, "Reindex one of them.")
