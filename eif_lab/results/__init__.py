"""What a job leaves behind: arrays, verdicts and manifests on disk, tables, and trackers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eif_lab.results.store import ArrayCache, array_key, open_results, write_job
    from eif_lab.results.table import print_job, print_sweep, write_sweep

__all__ = ["ArrayCache", "array_key", "open_results", "print_job", "print_sweep", "write_job", "write_sweep"]


def __getattr__(name: str) -> Any:
    """Names are imported when first used: a tracker's options must not wait for pandas and xarray."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Not through eif_lab.results.table alone, which brings the printing along.
    stores = ("ArrayCache", "array_key", "open_results", "write_job")
    return getattr(importlib.import_module(f"{__name__}.{'store' if name in stores else 'table'}"), name)
