"""What all panels have in common: limits that no outlier sets, marks at the edge, hatching, and the good direction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.patches import Patch, Rectangle

from eif_lab.desiderata.format import number_text
from eif_lab.desiderata.strength import NOT_ABOVE_ZERO, TAUGHT_ALPHA
from eif_lab.figures.style import DARK, GOOD, HATCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

    Along = Literal["x", "y"]

OUTLIER = 5.0
"""What is so many times as far from chance as most marks are lies outside an axis."""

MOST = 0.75
"""Most marks: the share that an axis is sized by."""

MOST_TICKS = 4
"""Intervals between the numbers beside an axis: more of them run into each other where they are long."""

MARGIN = 0.05
"""Of an axis, free at either end."""

BEYOND = (
    "No scale is set by an outlier: a mark that lies far beyond the others stands at the edge with its value and an "
    "arrow, a caret at the edge is an interval that goes on, and of single pairs it is said how many lie beyond."
)
MIDDLE = 0.18
"""The luminance at which black and white stand out equally."""

BLACK_RGB, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

UNTAUGHT = "not clearly taught"
HATCHED = f"Hatched: {UNTAUGHT}, strength not above zero at p <= {TAUGHT_ALPHA:g}, so that there is no verdict."
"""Sentences for captions, of what the functions below draw."""

LINED: dict[str, Any] = {"facecolor": "none", "edgecolor": HATCH, "hatch": "///", "linewidth": 0}

HATCHED_AROUND = 1.15
"""A place is hatched so much to either side, as a ratio."""

ARROWS = {("x", -1): "◀", ("x", 1): "▶", ("y", -1): "▼", ("y", 1): "▲"}
CARETS = {("x", -1): 4, ("x", 1): 5, ("y", -1): 7, ("y", 1): 6}
"""matplotlib's numbers of the markers whose tip is at their place."""


class Mark(NamedTuple):
    """An effect with its interval.

    Attributes:
        effect: Its place along the axis of values.
        low, high: The interval's ends; NaN where there is none.
        place: Where it stands on the other axis.
        look: How `Axes.plot` draws it: ``color``, ``marker``, ``label`` and the like.
    """

    effect: float
    low: float
    high: float
    place: float
    look: Mapping[str, Any]


# Limits ---------------------------------------------------------------------------------------------------------------


def robust_limits(
    values: Float[np.ndarray, "marks ends"] | Sequence[Sequence[float]],
    anchors: Iterable[float] = (0.0,),
    *,
    most: float = MOST,
) -> tuple[float, float]:
    """Ends of an axis that no outlier sets.

    Outside is what lies more than `OUTLIER` times as far from chance as the mark that a share ``most`` of the marks
    does not exceed. The axis holds all else, and `MARGIN`.

    Args:
        values: What is to be shown: for each mark its effect and the ends of its interval, or one value.
        anchors: Chance first, then bars and the like: they are always inside, and what is as near to chance as they
            are is no outlier.
        most: The share of the marks by which the axis is sized; at most one less than there are, if there are several.
    """
    chance, *others = [anchor for anchor in anchors if math.isfinite(anchor)] or [0.0]
    table = np.asarray(values, dtype=float).reshape(len(values), -1 if len(values) else 1)
    sizes = np.abs(table - chance)
    known = np.isfinite(sizes)
    extents = np.where(known, sizes, 0.0).max(axis=1, initial=0.0)
    extents = extents[extents > 0]
    typical = float(np.quantile(extents, most, method="lower")) if extents.size else 0.0
    typical = max([typical, *(abs(other - chance) for other in others)])
    inside = table[known & (sizes <= OUTLIER * typical)]
    low, high = (float(end([*inside, chance, *others])) for end in (np.min, np.max))
    margin = MARGIN * (high - low) or 0.5
    return low - margin, high + margin


def limits_of(marks: Iterable[Mark], anchors: Iterable[float] = (0.0,)) -> tuple[float, float]:
    """`robust_limits` of marks with their intervals."""
    return robust_limits([mark[:3] for mark in marks], anchors)


# Marks ----------------------------------------------------------------------------------------------------------------


def draw_marks(axes: Axes, marks: Iterable[Mark], limits: tuple[float, float], along: Along = "x") -> None:
    """Draw marks with their intervals within limits, which become the axis's; what lies beyond is marked at the edge.

    Args:
        axes: Where.
        marks: Those without an effect are left out.
        limits: Of the axis of values.
        along: Which axis that is.
    """
    axes.set(**{f"{along}lim": limits})
    axes.locator_params(axis=along, nbins=MOST_TICKS)
    for mark in marks:
        if not math.isnan(mark.effect):
            _draw_interval(axes, mark, limits, along)
            _draw_effect(axes, mark, limits, along)


def _at(value: float, place: float, along: Along) -> tuple[float, float]:
    return (value, place) if along == "x" else (place, value)


def _beyond(value: float, limits: tuple[float, float]) -> int:
    """-1 below the limits, 1 above, 0 within."""
    return int(value > limits[1]) - int(value < limits[0])


def _draw_interval(axes: Axes, mark: Mark, limits: tuple[float, float], along: Along) -> None:
    ends = mark.low, mark.high
    if any(map(math.isnan, ends)) or 0 != _beyond(mark.low, limits) == _beyond(mark.high, limits):
        return
    color = mark.look["color"]
    drawn = np.clip(ends, *limits)
    axes.plot(*np.transpose([_at(end, mark.place, along) for end in drawn]), color=color, linewidth=1, zorder=1)
    for end, at in zip(ends, drawn):
        if side := _beyond(end, limits):
            caret = CARETS[along, side]
            axes.plot(*_at(at, mark.place, along), marker=caret, color=color, markersize=3, clip_on=False, zorder=1)


def _draw_effect(axes: Axes, mark: Mark, limits: tuple[float, float], along: Along) -> None:
    side = _beyond(mark.effect, limits)
    at = _at(float(np.clip(mark.effect, *limits)), mark.place, along)
    axes.plot(*at, **{"linestyle": "", "zorder": 2, "clip_on": not side, **mark.look})
    if side:
        arrow, number = ARROWS[along, side], number_text(mark.effect, 2)
        text = f"{number} {arrow}" if side > 0 else f"{arrow} {number}"
        outer = {"x": ("right", "left"), "y": ("top", "bottom")}[along][side < 0]
        aligned: dict[str, Any] = {"ha": outer, "va": "center"} if along == "x" else {"ha": "center", "va": outer}
        inwards = _at(-5 * side, 0, along)
        axes.annotate(text, at, inwards, textcoords="offset points", fontsize=5.5, color=DARK, gid="beyond", **aligned)


def draw_points(
    axes: Axes,
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
    limits: tuple[tuple[float, float], tuple[float, float]],
    **look: Any,
) -> None:
    """Draw very many points within limits of both axes, which become theirs; those beyond stand at the edge, counted.

    Args:
        axes: Where.
        x, y: The points.
        limits: Of x and of y.
        look: As `Axes.scatter` takes it.
    """
    axes.set(xlim=limits[0], ylim=limits[1])
    held = [np.clip(values, *ends) for values, ends in zip((x, y), limits)]
    outside = (held[0] != x) | (held[1] != y)
    axes.scatter(x[~outside], y[~outside], **{"linewidths": 0, "rasterized": True, **look})
    if outside.any():
        edge_x, edge_y = (values[outside] for values in held)
        axes.scatter(
            edge_x, edge_y, s=14, marker="D", facecolors="none", edgecolors=DARK,
            linewidths=0.5, clip_on=False, zorder=3,
        )  # fmt: skip
        text = f"◇ {outside.sum():,} of {len(x):,} pairs beyond"
        axes.text(
            0.98, 0.35, text, transform=axes.transAxes, ha="right", va="center", fontsize=5.5, gid="beyond",
            bbox={"facecolor": "white", "linewidth": 0, "pad": 0.4},
        )  # fmt: skip


def mark_cells(
    axes: Axes, image: AxesImage, cells: Bool[np.ndarray, "rows columns"], marker: str, *, size: float, label: str
) -> None:
    """Mark cells of a heat map, in black on light ones and in white on dark ones.

    Args:
        axes: Where.
        image: The heat map.
        cells: Which.
        marker: Matplotlib's, not filled.
        size: In square points.
        label: What the mark means.
    """
    rows, columns = np.nonzero(cells)
    fill = np.asarray(image.get_cmap()(image.norm(np.asarray(image.get_array())[cells])))[:, :3]
    colors = np.where(luminance(fill)[:, None] < MIDDLE, WHITE, BLACK_RGB)
    look: dict[str, Any] = {"color": colors} if marker == "x" else {"facecolors": "none", "edgecolors": colors}
    axes.scatter(columns, rows, s=size, marker=marker, linewidths=0.7, label=label, **look)


def luminance(rgb: Float[np.ndarray, "colors 3"]) -> Float[np.ndarray, " colors"]:
    """Relative luminance, 0 for black and 1 for white.

    Source: Web Content Accessibility Guidelines 2.2, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance.
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


# What was not taught, and what is good --------------------------------------------------------------------------------


def is_untaught(p_value: float, note: str) -> bool:
    """Whether a finding has no verdict because nothing was clearly taught.

    Args:
        p_value: The finding's.
        note: Of its desideratum's verdict.
    """
    return math.isnan(p_value) and NOT_ABOVE_ZERO in note


def hatch(axes: Axes, low: float | None = None, high: float | None = None, along: Along = "y") -> None:
    """Hatch what nothing was taught in: a whole panel, or its part between two places.

    Args:
        axes: Where.
        low, high: The ends; the whole panel where None.
        along: The axis that they are on.
    """
    if low is None or high is None:
        zorder = 2 if axes.images else 0
        axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, zorder=zorder, gid=UNTAUGHT, **LINED))
    else:
        span = axes.axhspan if along == "y" else axes.axvspan
        span(low, high, zorder=0, gid=UNTAUGHT, **LINED)


def hatch_row(axes: Axes, place: float, height: float, name: str, at: float) -> None:
    """Hatch the row of what was not clearly taught, and say so.

    Args:
        axes: Where.
        place, height: Of the row, on the vertical axis.
        name: Of what was not clearly taught.
        at: Where the words begin, on the horizontal axis.
    """
    hatch(axes, place - height / 2, place + height / 2)
    axes.annotate(
        f"{name}: {UNTAUGHT}", (at, place), (3, 0), textcoords="offset points", fontsize=5.5, va="center",
        bbox={"facecolor": "white", "linewidth": 0, "pad": 0.4}, zorder=1,
    )  # fmt: skip


def hatch_around(axes: Axes, place: float) -> None:
    """Hatch the place of a job that taught nothing, on a logarithmic horizontal axis."""
    hatch(axes, place / HATCHED_AROUND, place * HATCHED_AROUND, "x")


def hatched_handles(figure: Figure | SubFigure) -> list[Patch]:
    """What the legend of a figure, or of a part of one, shows for `hatch`: nothing where nothing is hatched."""
    hatched = any(patch.get_gid() == UNTAUGHT for axes in figure.axes for patch in axes.patches)
    return [Patch(label=UNTAUGHT, **LINED)] if hatched else []


def mark_good(axes: Axes, text: str = "better →") -> None:
    """Write above the right end of a panel what is good in it: a direction, or a place.

    Args:
        axes: The panel.
        text: "better →" where larger values, on the horizontal axis, are better.
    """
    axes.text(
        1, 1.01, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=5.8, color=GOOD, gid="good"
    )  # fmt: skip
