"""What all panels have in common does what it says: limits, marks at the edge, hatching, the good direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from eif_lab.desiderata.format import statistic_text
from eif_lab.desiderata.strength import NOT_ABOVE_ZERO
from eif_lab.figures import panel, style
from eif_lab.figures.panel import Mark, draw_marks, draw_points, hatch, hatched_handles, mark_cells, robust_limits

LOOK = {"color": "black", "marker": "o", "label": "mark"}


def axes():
    return Figure().subplots()


@pytest.mark.parametrize("outlier", [-250.0, 40.0])
@pytest.mark.parametrize("jobs", [4, 8, 32])
def test_an_outlier_does_not_move_the_limits_and_all_else_is_within(outlier, jobs):
    values = np.random.default_rng(jobs).uniform(0.1, 0.9, jobs)
    low, high = robust_limits(np.append(values, outlier)[:, None], [0.0, 0.5])
    assert (low, high) == robust_limits(values[:, None], [0.0, 0.5])
    assert low < 0 and values.max() < high < 1


def test_no_limit_cuts_marks_that_are_like_each_other_or_as_near_as_the_bar():
    for values, anchors in (
        ([-250.0, -240.0, -260.0], [0.0]),
        ([0.001, 0.002, 0.4], [0.0, 0.1]),
        ([0.0, 0.0, 0.3], [0.0]),
        ([1.0, 1.0, 1.0, 0.2], [0.0, 0.5]),
    ):
        low, high = robust_limits(np.array(values)[:, None], anchors)
        assert low < min(*values, *anchors) and high > max(*values, *anchors)


def test_limits_hold_the_anchors_and_do_without_values():
    assert robust_limits(np.empty((0, 1)), [0.0]) == (-0.5, 0.5)
    assert robust_limits([(math.nan, math.nan)], [math.nan, 2.0]) == (1.5, 2.5)
    low, high = robust_limits([(0.2, -math.inf, math.inf)], [0.0, 1.0])
    assert low < 0 and 1 < high < 1.2


def texts(axes, gid):
    return [text.get_text() for text in axes.texts if text.get_gid() == gid]


@pytest.mark.parametrize("along", ["x", "y"])
def test_what_lies_beyond_stands_at_the_edge_with_its_value_and_an_arrow(along):
    shown = axes()
    marks = [Mark(0.5, 0.4, 0.6, 0, LOOK), Mark(-250.0, -300.0, -200.0, 1, LOOK), Mark(7.0, 0.2, 9.0, 2, LOOK)]
    draw_marks(shown, marks, (0.0, 1.0), along)
    assert getattr(shown, f"get_{along}lim")() == (0.0, 1.0)
    points = [line.get_xydata()[0] for line in shown.lines if line.get_label() == "mark"]
    at = [(float(x), float(y)) if along == "x" else (float(y), float(x)) for x, y in points]
    assert at == [(0.5, 0), (0.0, 1), (1.0, 2)]
    arrows = {"x": ["◀ -2.5e+02", "7 ▶"], "y": ["▼ -2.5e+02", "7 ▲"]}
    assert texts(shown, "beyond") == arrows[along]
    intervals = [line.get_xydata()[:, "xy".index(along)].tolist() for line in shown.lines if len(line.get_xdata()) == 2]
    assert intervals == [[0.4, 0.6], [0.2, 1.0]]
    carets = [line for line in shown.lines if line.get_marker() in panel.CARETS.values()]
    assert len(carets) == 1


def test_pairs_beyond_are_counted_and_stand_at_the_edge():
    shown = axes()
    x, y = np.array([0.1, 0.2, 5.0, 0.3]), np.array([0.1, -7.0, 0.2, 0.3])
    draw_points(shown, x, y, ((0.0, 1.0), (0.0, 1.0)))
    inside, outside = (points.get_offsets().tolist() for points in shown.collections)
    assert inside == [[0.1, 0.1], [0.3, 0.3]] and outside == [[0.2, 0.0], [1.0, 0.2]]
    assert texts(shown, "beyond") == ["◇ 2 of 4 pairs beyond"]


def contrast(one, other):
    light, dark = sorted((float(panel.luminance(np.array([to_rgb(color)]))[0]) for color in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("marker", ["o", "x"])
def test_marks_stand_out_on_every_colour_of_the_scale(marker):
    shown = axes()
    values = np.linspace(-1, 1, 201)[None, :]
    image = style.show_array(shown, values, 1.0)
    mark_cells(shown, image, np.ones(values.shape, dtype=bool), marker, size=4, label="all")
    [marks] = shown.collections
    cells = image.get_cmap()(image.norm(values[0]))[:, :3]
    ratios = [contrast(tuple(mark[:3]), tuple(cell)) for mark, cell in zip(marks.get_edgecolors(), cells, strict=True)]
    assert min(ratios) >= 4.5


def test_lines_of_a_panel_differ_in_more_than_colour():
    looks = [style.line_look(number) for number in range(10)]
    assert len({(str(look["linestyle"]), look["marker"]) for look in looks}) == len(looks)
    for named in (style.OPTIMIZERS.values(), [{"marker": marker} for marker in style.MARKERS.values()]):
        without = [tuple(str(value) for key, value in look.items() if key != "color") for look in named]
        assert len(set(without)) == len(without)


def test_hatching_is_in_the_legend_only_where_there_is_some():
    figure = Figure()
    rows, whole = figure.subplots(1, 2)
    assert hatched_handles(figure) == []
    hatch(rows, 0.5, 1.5)
    hatch(whole)
    assert [[patch.get_hatch() for patch in each.patches] for each in (rows, whole)] == [["///"], ["///"]]
    [handle] = hatched_handles(figure)
    assert handle.get_label() == "not clearly taught"


def test_a_place_on_a_logarithmic_axis_is_hatched_as_far_to_either_side():
    axes = Figure().subplots()
    panel.hatch_around(axes, 0.01)
    [span] = axes.patches
    assert math.sqrt(span.get_x() * (span.get_x() + span.get_width())) == pytest.approx(0.01)
    assert span.get_gid() == panel.UNTAUGHT


def test_a_finding_is_untaught_where_its_p_value_was_withheld_for_that():
    assert panel.is_untaught(math.nan, f"strength {NOT_ABOVE_ZERO} (0.1)")
    assert not panel.is_untaught(math.nan, "fewer than six worlds")
    assert not panel.is_untaught(0.2, f"strength {NOT_ABOVE_ZERO} (0.1)")


def test_a_statistic_says_which_distance_and_what_is_compared():
    assert statistic_text("within_class_feature") == "within classes, feature distance"
    assert statistic_text("between_classes_pixel") == "between classes, pixel distance"
    assert statistic_text("rank_correlation_path") == "within worlds, path distance"
    assert "distance" not in statistic_text("rank_correlation_class")
