"""Influence made comparable: per nat taught, and beyond what any text would do."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from jaxtyping import Bool

from eif_lab.desiderata.selection import neutral
from eif_lab.errors import rule_error


def per_nat(influence: xr.DataArray, strength: float) -> xr.DataArray:
    """The gain of a probe for each nat that was taught.

    Args:
        influence: Any array with the attribute ``units``.
        strength: Of what was taught, in nats.

    Returns:
        The array divided by it: nat per nat, of other readouts than log-probabilities their unit per nat.
    """
    units = {name: f"{unit} per nat" for name, unit in json.loads(influence.attrs["units"]).items()}
    return influence.copy(data=influence.values / strength).assign_attrs(units=json.dumps(units))


def above_neutral(influence: xr.DataArray) -> xr.DataArray:
    """The array less the influence of a neutral stimulus of the same world: the effect of what a stimulus says.

    Of noisy stimuli the neutral one of the same strength is subtracted, of several neutral ones their mean; where there
    are no worlds, the mean of all.

    Args:
        influence: With the coordinate ``stimulus_neutral``; dims in any order.

    Returns:
        The array without the neutral stimuli, in its own units.

    Raises:
        ConfigError: A stimulus has no neutral one.
    """
    blank, axis = neutral(influence), influence.get_axis_num("stimulus")
    partners = partner_rows(influence, blank)[~blank]
    others = influence.isel(stimulus=np.flatnonzero(~blank))
    if not partners.any(1).all():
        lonely = str(others["stimulus_id"].values[~partners.any(1)][0])
        raise rule_error("dataset", "have a neutral stimulus in the world of each stimulus", f"none for {lonely!r}")
    baseline = [influence.values.take(np.flatnonzero(row), axis).mean(axis) for row in partners]
    above = others.copy(data=others.values - np.stack(baseline, axis))
    return above.assign_attrs(sign=f"{influence.attrs.get('sign', '')}; less what a neutral stimulus does")


def partner_rows(
    influence: xr.DataArray, blank: Bool[np.ndarray, " stimulus"]
) -> Bool[np.ndarray, "stimulus stimulus"]:
    """The neutral stimuli (second axis) that stand for a stimulus: those of its world and its level of noise."""
    partners = np.repeat(blank[None, :], len(blank), axis=0)
    for name in ("stimulus_world", "stimulus_sigma"):
        if name in influence.coords:
            values = influence[name].values
            partners &= values[:, None] == values[None, :]
    return partners
