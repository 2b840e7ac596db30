"""Parts of an influence array that desiderata use: which stimuli count, which samples are the same, the clusters."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from eif_lab.data.contrast import SIGNS
from eif_lab.errors import NotApplicable, rule_error, unknown_name

CONSTANT = 1e-12
"""An array whose cells differ by less than this fraction of its largest one says nothing."""

OF_SAMPLES = ("stimulus_id", "probe_id", "relation")
"""Coordinates that tell the samples."""


def select_readout(influence: xr.DataArray, readout: str) -> xr.DataArray:
    """The (stimulus, probe) array of the first seed, the last step and the named readout.

    Raises:
        ConfigError: The array has no such readout.
    """
    if "readout" in influence.coords:
        names = np.atleast_1d(influence["readout"].values).astype(str).tolist()
        if readout not in names:
            raise unknown_name("readout", readout, names)
        if "readout" in influence.dims:
            influence = influence.isel(readout=names.index(readout))
    if "seed" in influence.dims:
        influence = influence.isel(seed=0)
    return influence.isel(step=-1) if "step" in influence.dims else influence


def each_run(influence: xr.DataArray) -> list[xr.DataArray]:
    """The arrays of single seeds, which are runs of training on the same samples.

    Raises:
        ConfigError: The seeds are of other samples, so that they are not runs of one array.
    """
    seeds = influence.sizes.get("seed", 1)
    if seeds == 1:
        return [influence]
    drawn = np.unique(influence["data_seed"].values) if "data_seed" in influence.coords else ()
    if len(drawn) > 1 or any("seed" in influence[name].dims for name in OF_SAMPLES if name in influence.coords):
        rule = "be about the same samples for every seed"
        hint = "Try data_seed=0 with several seeds, or influence.isel(seed=[0]) for one of them."
        raise rule_error("influence", rule, f"other ones in {seeds} seeds", hint)
    return [influence.isel(seed=[place]) for place in range(seeds)]


def prepare(influence: xr.DataArray) -> xr.DataArray:
    """The array in float64 without neutral stimuli and those that have NaN or infinite influence, sorted by sample id.

    A cell that was not read (`unread`) is NaN, and no other one is. Sorted, because then neither the order of the
    samples nor that of the Monte Carlo draws can change a verdict.

    Raises:
        NotApplicable: The array is not 2-D, has no ids, or holds one value in every cell.
    """
    if set(influence.dims) != {"stimulus", "probe"}:
        raise NotApplicable(
            f"influence must have dims (stimulus, probe), got {influence.dims}. Select the others first."
        )
    require(influence, "stimulus_id", "probe_id", "relation")
    influence = influence.transpose("stimulus", "probe").astype(float)
    influence = influence[~neutral(influence)]
    influence = with_probe_numbers(influence)
    blank = unread(influence)
    influence = influence.where(~blank)[(np.isfinite(influence.values) | blank).all(axis=1)]
    influence = influence.isel(
        stimulus=np.argsort(texts(influence, "stimulus_id"), kind="stable"),
        probe=np.argsort(texts(influence, "probe_id"), kind="stable"),
    )
    if influence.size == 0:
        raise NotApplicable("influence must be finite, got no stimulus without NaN or infinity. Try a smaller update.")
    low, high = float(influence.min()), float(influence.max())
    if high - low <= CONSTANT * max(abs(low), abs(high)):
        raise NotApplicable(f"influence must vary, got {high:g} in every cell. Try a larger update.")
    return influence


def must_be_judged(influence: xr.DataArray, sets: bool) -> None:
    """Refuse rows that are sets of samples, where a claim is about single stimuli or about worlds.

    Args:
        influence: An array with the coordinates of a job.
        sets: Whether the claim has a meaning for sets of samples of one world.

    Raises:
        NotApplicable: The rows are such sets.
    """
    if "stimulus_set" not in influence.coords:
        return
    if not sets:
        raise NotApplicable("influence must have one stimulus in each row, got sets. Try perturbation=include.")
    if "stimulus_world" not in influence.coords:
        rule = "have samples of one world in each row"
        if "probe_world" in influence.coords:
            raise NotApplicable(f"influence must {rule}, got sets across worlds. Try perturbation.within=world.")
        raise NotApplicable(f"influence must {rule}, got sets without a world. Try perturbation=include.")


def unread(influence: xr.DataArray) -> Bool[np.ndarray, "stimulus probe"]:
    """Where a stimulus was not read on a probe, by the coordinate ``read``; nowhere, where there is none."""
    if "read" not in influence.coords:
        return np.zeros((influence.sizes["stimulus"], influence.sizes["probe"]), dtype=bool)
    return ~np.asarray(influence["read"].variable.transpose("stimulus", "probe").values, dtype=bool)


def with_zeros(influence: xr.DataArray) -> Float[np.ndarray, "stimulus probe"]:
    """The values, 0 where nothing was read: for sums that do not weigh these cells."""
    return np.where(unread(influence), 0.0, influence.values.astype(float))


def clean(influence: xr.DataArray) -> xr.DataArray:
    """The samples without noise, and no neutral stimulus; the array itself where there are none of either.

    Raises:
        NotApplicable: Every stimulus, or every probe, is noisy.
    """
    influence = influence.isel(stimulus=np.flatnonzero(~neutral(influence)))
    for dim in ("stimulus", "probe"):
        if f"{dim}_sigma" in influence.coords:
            influence = influence.isel({dim: np.flatnonzero(influence[f"{dim}_sigma"].values == 0)})
            if not influence.sizes[dim]:
                raise NotApplicable(f"{dim} must include clean samples, got none with sigma = 0. Add 0 to the levels.")
    return influence


def neutral(influence: xr.DataArray) -> Bool[np.ndarray, " stimulus"]:
    """Which stimuli say nothing about any probe: they are there to show what any text would do."""
    if "stimulus_neutral" not in influence.coords:
        return np.zeros(influence.sizes["stimulus"], dtype=bool)
    return np.asarray(influence["stimulus_neutral"].values, dtype=bool)


def with_probe_numbers(influence: xr.DataArray) -> xr.DataArray:
    """The array with the coordinate ``probe``, by which foils name probes wherever those are sorted to."""
    if "probe" in influence.coords:
        return influence
    return influence.assign_coords(probe=np.arange(influence.sizes["probe"]))


def foils(influence: xr.DataArray) -> dict[str, Int[np.ndarray, "stimulus probe"]]:
    """By the names of `eif_lab.data.contrast.SIGNS`, the column of each probe's foil; -1 where it has none.

    Args:
        influence: See `with_probe_numbers`.
    """
    columns = {}
    for name in SIGNS:
        if f"foil_{name}" in influence.coords:
            probes = influence[f"foil_{name}"].variable.transpose("stimulus", "probe").values.astype(int)
            place = influence.indexes["probe"].get_indexer(probes.ravel()).reshape(probes.shape)
            columns[name] = np.where(probes >= 0, place, -1)
    return columns


def require(influence: xr.DataArray, *names: str, hint: str = "") -> None:
    """Raise `NotApplicable` for the first coordinate that the array lacks."""
    for name in names:
        if name not in influence.coords:
            raise NotApplicable(f"influence must have the coordinate {name}, got none. {hint}".rstrip())


def require_units(count: int, unit: str, at_least: int = 3) -> None:
    """Raise `NotApplicable` where there are too few independent units to infer anything."""
    if count < at_least:
        raise NotApplicable(f"number of {unit} must be at least {at_least}, got {count}. Measure more of them.")


def texts(influence: xr.DataArray, name: str) -> np.ndarray:
    """A coordinate of names, as plain strings."""
    return np.asarray(influence[name].values).astype(str)


def same_sample(influence: xr.DataArray) -> Bool[np.ndarray, "stimulus probe"]:
    """Where stimulus and probe are the same sample: their ids are equal."""
    return texts(influence, "stimulus_id")[:, None] == texts(influence, "probe_id")[None, :]


def related(influence: xr.DataArray) -> Bool[np.ndarray, "stimulus probe"]:
    """Where the probe ought to move: it is stated, entailed or contradicted by the stimulus."""
    from eif_lab.data.task import RELATED  # imports torch, which reading results does not need

    return np.isin(texts(influence, "relation"), RELATED)


UNITS = {"class": "classes", "world": "worlds"}
"""Attributes that stimuli may share, each with its plural."""


def clusters(influence: xr.DataArray, units: Iterable[str] = tuple(UNITS)) -> tuple[Int[np.ndarray, " stimulus"], str]:
    """The independent unit ``0 .. n - 1`` that each stimulus belongs to, and its name in the plural.

    Images of one class share what makes the class, stimuli of one world its invented words and its background: the
    class or the world is the unit, and each stimulus only where there is neither.

    Args:
        influence: An array with the coordinates of a job.
        units: Those of `UNITS` that are looked for, the first that is there being taken.
    """
    for unit, name in ((unit, UNITS[unit]) for unit in units):
        if f"stimulus_{unit}" in influence.coords:
            return np.unique(influence[f"stimulus_{unit}"].values, return_inverse=True)[1], name
    return np.arange(influence.sizes["stimulus"]), "stimuli"
