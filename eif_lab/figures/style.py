"""How the figures of the paper look: fonts, colours, marks, colour scales, and how they are written."""

from __future__ import annotations

import io
import logging
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from eif_lab.desiderata.format import spaced, verdict_text
from eif_lab.desiderata.verdict import ABSENT, INCONCLUSIVE, REVERSED, SATISFIED, SHORT, VIOLATED
from eif_lab.errors import one_line, printable
from eif_lab.files.checksums import replace_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

log = logging.getLogger(__name__)

# Okabe and Ito's colours, which every common colour blindness tells apart.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY, DARK = "0.55", "0.25"

GOOD, HATCH = "#00664B", "0.8"
"""Of the words that say what is good in a panel, and of the lines over what was taught nothing."""

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK)
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
SHAPES = ("o", "s", "D", "^", "v", "P")
"""What the lines of a panel go through, one after another, so that they are not told apart by colour alone."""

METHODS = {"full": BLUE, "lora": SKY, "adapter": GREEN, "ia3": PURPLE, "peft": BLACK, "prompt": VERMILION}
"""Colours of the methods, in the order in which they are shown."""

MARKERS = {"full": "o", "lora": "s", "adapter": "D", "ia3": "v", "peft": "P", "prompt": "^"}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"color": BLUE, "linestyle": "-"},
    "adam": {"color": VERMILION, "linestyle": "--"},
    "adamw": {"color": ORANGE, "linestyle": "-."},
}
OTHER_OPTIMIZER: dict[str, Any] = {"color": BLACK, "linestyle": ":"}

VERDICTS: dict[str, dict[str, Any]] = {
    SATISFIED: {"marker": "o", "color": GREEN, "markerfacecolor": GREEN},
    VIOLATED: {"marker": "X", "color": VERMILION, "markerfacecolor": VERMILION},
    INCONCLUSIVE: {"marker": "o", "color": GREY, "markerfacecolor": "white"},
}
"""Marks of the verdicts, distinguished by shape and filling as well as by colour."""

FILLINGS = {SATISFIED: GREY, INCONCLUSIVE: "0.85", VIOLATED: "white"}
"""Of marks whose colour says something else; where that colour is seen, it fills the satisfied ones."""

HOW_MARKS = {REVERSED: "<", ABSENT: "X", SHORT: ">"}
"""Marks of violated findings, by how they fail: each points to its side of chance, below or above."""

HOW_LETTERS = {REVERSED: "r", ABSENT: "a", SHORT: "s"}
"""Beside a mark whose shape says something else."""

DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"

CLIP = 0.99
"""A colour scale ends at this quantile of the absolute influence, so that one cell does not bleach the rest."""

FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "Hiragino Sans", "PingFang SC", "Yu Gothic",
    "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Emoji", "Unifont",
)  # fmt: skip
"""Where glyphs are looked for that matplotlib's own font lacks; of these, those that are installed."""

LONGEST_NAME, LONGEST_CLASS, LONGEST_LINE = 28, 16, 40
"""Characters that a figure has room for: of a name, of a class beside its rows, of a panel's title."""

RULES = {
    "text.parse_math": False,  # a name may have a dollar sign in it
    "pdf.fonttype": 42,  # fonts embedded whole, so that a journal's checker and an editor find text
    "ps.fonttype": 42,
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.titlepad": 11.0,  # what is good in a panel is written between the two
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


def paper_style() -> Any:
    """A context in which figures are drawn and written by `RULES`."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    family = ["DejaVu Sans", *(name for name in FONTS if name in installed)]
    return matplotlib.rc_context(cast(Any, {**RULES, "font.family": family}))


def fit_name(name: object, longest: int = LONGEST_NAME) -> str:
    """A name of the user's as a figure has room for it: in one line, and cut where it is too long."""
    line = one_line(printable(str(name)))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def wrap_title(text: str) -> str:
    """A panel's title in lines that are not wider than the panel."""
    return "\n".join(textwrap.wrap(text, LONGEST_LINE))


def log_scale(axes: Axes, which: str) -> None:
    """Make the axis ``x`` or ``y`` logarithmic, with plain text for its numbers: `RULES` has formulas off."""
    axes.set(**{f"{which}scale": "log"})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter())


def color_limit(*arrays: Float[np.ndarray, "..."]) -> float:
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


def line_look(number: int) -> dict[str, Any]:
    """Colour, dash and shape of a panel's line with this number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "marker": SHAPES[number % len(SHAPES)],
    }


def method_look(method: str) -> dict[str, Any]:
    """Colour and shape of a method's marks; black circles of one that has none of its own."""
    return {"color": METHODS.get(method, BLACK), "marker": MARKERS.get(method, "o")}


def method_handles(methods: Sequence[str]) -> list[Line2D]:
    """What a legend shows of methods."""
    return [Line2D([], [], label=fit_words(method), **method_look(method)) for method in methods]


def fit_words(name: str) -> str:
    """A name in words, as a figure has room for it: "noise_invariance" is noise invariance."""
    return fit_name(spaced(name))


def finding_text(row: pd.Series) -> str:
    """A finding's effect with its interval, and the verdict of its desideratum: ``0.4 [0.38, 0.41], satisfied``."""
    return f"{row.effect:.2f} [{row.low:.2f}, {row.high:.2f}], {verdict_text(row.verdict, row.how)}"


def order_names(names: Sequence[str], known: Sequence[str]) -> list[str]:
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
    with one_font_warning():
        for kind in ("pdf", "png"):
            drawn = io.BytesIO()
            # without the date, so that the same runs give the same file
            figure.savefig(drawn, format=kind, metadata={"CreationDate": None} if kind == "pdf" else None)
            replace_file(folder / f"{name}.{kind}", drawn.getvalue())
    return folder / f"{name}.png"


@contextmanager
def one_font_warning() -> Iterator[None]:
    """Within this, the characters that no font has are logged in one line at the end, instead of a warning for each."""
    missing: dict[str, None] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for one in caught:
        glyph = re.match(r"Glyph (\d+) .* missing from font", str(one.message))
        if glyph:
            missing[chr(int(glyph[1]))] = None
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if missing:
        sample = printable("".join(list(missing)[:20]))
        hint = "Install a font that has them, such as Noto Sans CJK."
        log.warning(
            "%d characters have no glyph in the installed fonts and are boxes: %s. %s", len(missing), sample, hint
        )
