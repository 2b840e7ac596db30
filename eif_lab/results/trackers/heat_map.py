"""An influence array as a picture for experiment trackers."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eif_lab.results.summary import last_step, unit

# ColorBrewer's RdBu (Harrower & Brewer, 2003), reversed: blue for negative, white for zero, red for positive. It stays
# readable under every common colour blindness.
ANCHORS = np.array(
    [
        (5, 48, 97),
        (33, 102, 172),
        (67, 147, 195),
        (146, 197, 222),
        (209, 229, 240),
        (247, 247, 247),
        (253, 219, 199),
        (244, 165, 130),
        (214, 96, 77),
        (178, 24, 43),
        (103, 0, 31),
    ],
    dtype=float,
)


UNDEFINED = (128, 128, 128)


LARGEST_SIDE = 1000


SMALLEST_SIDE = 400


def heat_map(influence: xr.DataArray) -> tuple[np.ndarray, str]:
    """A picture of the first readout: rows are stimuli, columns probes, both ordered by class or world where known.

    The colour scale is symmetric about zero and ends at the 99th percentile of the magnitudes, so that one cell does
    not bleach the rest. Arrays of more than 1000 rows or columns are averaged in blocks.

    Returns:
        (height, width, 3) in 0..255, and a caption with unit and scale.
    """
    readout = str(influence["readout"].values[0])
    values = last_step(influence).isel(readout=0)
    order = ""
    for name in ("class", "world"):
        if f"stimulus_{name}" in values.coords and f"probe_{name}" in values.coords:
            values = values.isel(
                {dim: np.argsort(values[f"{dim}_{name}"].values, kind="stable") for dim in values.dims}
            )
            order = f", ordered by {name}"
    blocks = {dim: int(np.ceil(size / LARGEST_SIDE)) for dim, size in values.sizes.items()}
    cells = values.drop_vars(values.coords).coarsen(blocks, boundary="pad").mean().values
    known = np.abs(cells[np.isfinite(cells)])
    scale = float(np.percentile(known, 99)) if known.size else 0.0
    measure = f"{readout} [{unit(influence, readout)}]".removesuffix(" []")
    caption = (
        f"influence on {measure}: blue {-scale:.3g}, white 0, red {scale:.3g} (99th percentile of |I|), "
        f"grey undefined; {values.sizes['stimulus']} stimuli down, {values.sizes['probe']} probes across{order}"
    )
    return _enlarged(diverging(cells, scale)), caption


def diverging(values: np.ndarray, scale: float) -> np.ndarray:
    """Colours on a diverging map with its middle at zero.

    Args:
        values: Any shape; NaN becomes grey.
        scale: The magnitude that has the map's last colour; what is beyond has it too.

    Returns:
        ``values.shape + (3,)``, 0..255.
    """
    position = np.clip(values / scale, -1, 1) if scale > 0 else np.zeros_like(values) * values
    stops = np.linspace(-1, 1, len(ANCHORS))
    colours = np.stack([np.interp(position, stops, channel) for channel in ANCHORS.T], axis=-1)
    colours[~np.isfinite(values)] = UNDEFINED
    return np.round(colours).astype(np.uint8)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """Small pictures with every cell repeated, so that a browser does not blur them."""
    times = max(1, round(SMALLEST_SIDE / max(picture.shape[:2])))
    return picture.repeat(times, axis=0).repeat(times, axis=1)
