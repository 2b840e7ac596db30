"""How far an approximation of influence is from the exact array."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats


@dataclass(frozen=True)
class Agreement:
    """Agreement of two arrays over the same cells.

    Attributes:
        spearman: Rank correlation over all cells.
        pearson: Correlation over all cells.
        relative_error: ``norm(approximate - exact) / norm(exact)``.
        sign_agreement: Share of the cells whose exact influence is not zero that have the same sign.
        cells: How many cells are finite in both.
    """

    spearman: float
    pearson: float
    relative_error: float
    sign_agreement: float
    cells: int

    def describe(self) -> dict[str, Any]:
        """The fields as a mapping that JSON can hold."""
        return asdict(self)


def agreement(approximate: xr.DataArray | np.ndarray, exact: xr.DataArray | np.ndarray) -> Agreement:
    """Compare an approximation with the exact array, over the cells that are finite in both.

    Args:
        approximate, exact: Influence of the same stimuli on the same probes, in one readout; same shape.

    Raises:
        ValueError: Their shapes differ.
    """
    a, b = np.asarray(approximate, dtype=float), np.asarray(exact, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"approximate must have the shape of exact, {b.shape}, got {a.shape}")
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    moved = b != 0
    varied = len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0
    return Agreement(
        spearman=float(stats.spearmanr(a, b).statistic) if varied else float("nan"),
        pearson=float(stats.pearsonr(a, b).statistic) if varied else float("nan"),
        relative_error=float(np.linalg.norm(a - b) / np.linalg.norm(b)) if moved.any() else float("nan"),
        sign_agreement=float((np.sign(a[moved]) == np.sign(b[moved])).mean()) if moved.any() else float("nan"),
        cells=int(finite.sum()),
    )
