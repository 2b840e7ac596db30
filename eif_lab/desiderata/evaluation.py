"""Hold one influence array to several desiderata, and correct their p-values over a sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import select_readout
from eif_lab.desiderata.verdict import Verdict
from eif_lab.errors import NotApplicable


def evaluate_all(
    influence: xr.DataArray, desiderata: Mapping[str, Desideratum], seed: int, readout: str = "log_prob"
) -> tuple[list[Verdict], dict[str, str]]:
    """Verdicts on the first seed, the last step and one readout.

    Args:
        influence: Dims (stimulus, probe), and any of seed, step and readout.
        desiderata: By name; a verdict goes by the name given here.
        seed: Of the resamples.
        readout: The readout judged.

    Returns:
        The verdicts, in the order given, and the reason of each desideratum that does not apply.

    Raises:
        ConfigError: The array has no such readout.
    """
    selected = select_readout(influence, readout)
    verdicts, reasons = [], {}
    for name, desideratum in desiderata.items():
        try:
            verdicts.append(dataclasses.replace(desideratum.evaluate(selected, seed), desideratum=name))
        except NotApplicable as reason:
            reasons[name] = str(reason)
    return verdicts, reasons


def adjust(p_values: Sequence[float] | Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """p-values corrected for the false discovery rate (Benjamini-Hochberg); NaN stays NaN and counts as no test.

    Source: Benjamini and Hochberg (1995), Controlling the false discovery rate.
    """
    adjusted = np.array(p_values, dtype=float)
    given = ~np.isnan(adjusted)
    if given.any():
        adjusted[given] = stats.false_discovery_control(adjusted[given], method="bh")
    return adjusted
