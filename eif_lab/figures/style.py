"""How the figures of the paper look: fonts, colours, marks, colour scales, and how they are written."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import matplotlib
import numpy as np
from jaxtyping import Float

from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Okabe and Ito's colours, which every common colour blindness tells apart.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "0.55"

METHODS = {"full": BLUE, "lora": SKY, "adapter": GREEN, "ia3": PURPLE, "peft": BLACK, "prompt": VERMILION}
"""Colours of the methods, in the order in which they are shown."""

MARKERS = {"full": "o", "lora": "s", "adapter": "D", "ia3": "v", "peft": "P", "prompt": "^"}

VERDICTS: dict[str, dict[str, Any]] = {
    SATISFIED: {"marker": "o", "color": GREEN, "markerfacecolor": GREEN},
    VIOLATED: {"marker": "X", "color": VERMILION, "markerfacecolor": VERMILION},
    INCONCLUSIVE: {"marker": "o", "color": GREY, "markerfacecolor": "white"},
}
"""Marks of the verdicts, told apart by shape and filling as well as by colour."""

DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"

CLIP = 0.99
"""A colour scale ends at this quantile of the absolute influence, so that one cell does not bleach the rest."""

RULES = {
    "pdf.fonttype": 42,  # fonts embedded whole, so that a journal's checker and an editor find text
    "ps.fonttype": 42,
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "savefig.dpi": 200,
}


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches, that keeps its parts from overlapping."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def styled() -> Any:
    """A context in which figures are drawn and written by `RULES`."""
    return matplotlib.rc_context(cast(Any, RULES))


def limit(*arrays: Float[np.ndarray, "..."]) -> float:
    """Where a colour scale about zero ends for all of the arrays: `CLIP` of the magnitudes, 1 where all are zero."""
    sizes = np.concatenate([np.abs(array[np.isfinite(array)]).ravel() for array in arrays])
    largest = float(np.quantile(sizes, CLIP)) if sizes.size else 0.0
    return largest or (float(sizes.max(initial=0.0)) or 1.0)


def show_array(axes: Axes, values: Float[np.ndarray, "rows columns"], scale: float) -> AxesImage:
    """A heat map with white at zero, blue below and red above."""
    axes.spines[:].set_visible(True)
    return axes.imshow(
        values, cmap=DIVERGING, vmin=-scale, vmax=scale, aspect="equal", interpolation="nearest", rasterized=True
    )


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most so many characters."""
    return "\n".join(textwrap.wrap(text, width))


def spaced(name: str) -> str:
    """A name of the code in words: "noise_invariance" is noise invariance."""
    return name.replace("_", " ")


def in_order(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """The distinct names, those that are known first and in that order."""
    distinct = list(dict.fromkeys(names))
    return [name for name in known if name in distinct] + [name for name in distinct if name not in known]


def save(figure: Figure, caption: str, folder: Path, name: str) -> Path:
    """Write ``<name>.md``, ``<name>.pdf`` and, last, ``<name>.png``.

    Returns:
        The picture's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(caption, encoding="utf-8")
    for kind in ("pdf", "png"):
        # without the date, so that the same runs give the same file
        figure.savefig(folder / f"{name}.{kind}", metadata={"CreationDate": None} if kind == "pdf" else None)
    return folder / f"{name}.png"
