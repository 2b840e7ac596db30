"""Figures show what is stored, say what it was, and can be read."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from made_up import LOGICAL, knowledge, moved
from matplotlib.text import Text

from eif_lab.commands.figures import FIGURES, draw_figure, main
from eif_lab.data.images.digits import Digits
from eif_lab.desiderata import statistics
from eif_lab.desiderata.selection import clean
from eif_lab.errors import ConfigError
from eif_lab.figures import (
    array,
    asymmetry,
    distance,
    domains,
    first_order,
    forgetting,
    methods,
    noise,
    prompting,
    relations,
    seeds,
    sparsity,
    strength,
    symmetry,
    two_by_two,
)
from eif_lab.figures.caption import caption
from eif_lab.figures.runs import find_jobs, judged_array, setting
from eif_lab.figures.style import paper_style, save
from eif_lab.perturbations.noise import Noise
from eif_lab.results.manifest import manifest_text
from eif_lab.results.tables import sweep_table

ROOT = Path(__file__).parents[2]
DRAWN_FROM = {
    "symmetry": ["images"],
    "asymmetry": ["images"],
    "noise": ["noise"],
    "distance": ["images", "knowledge"],
    "sparsity": ["images", "knowledge"],
    "domains": ["statements"],
    "prompting": ["statements", "knowledge"],
    "two-by-two": ["two_by_two"],
    "relations": ["knowledge"],
    "forgetting": ["retention"],
    "strength": ["strength", "steps"],
    "methods": ["images", "noise", "knowledge"],
    "first-order": ["rates"],
    "seeds": ["seeds"],
}
MODULES = {
    "symmetry": symmetry,
    "asymmetry": asymmetry,
    "noise": noise,
    "distance": distance,
    "sparsity": sparsity,
    "domains": domains,
    "prompting": prompting,
    "two-by-two": two_by_two,
    "relations": relations,
    "forgetting": forgetting,
    "strength": strength,
    "methods": methods,
    "first-order": first_order,
    "seeds": seeds,
}


@cache
def opened(folder):
    return find_jobs([folder])


def jobs_of(runs, name):
    jobs = [job for run in DRAWN_FROM[name] for job in opened(runs[run])]
    return MODULES[name].select(sorted(jobs, key=lambda job: setting(job).order))


@pytest.fixture(scope="module")
def figures(runs):
    """Each figure as matplotlib has it."""
    with paper_style():
        return {name: MODULES[name].draw(jobs_of(runs, name)) for name in FIGURES}


@pytest.fixture(scope="module")
def drawn(runs, figures, tmp_path_factory):
    """Each figure as files."""
    folder = tmp_path_factory.mktemp("figures")
    with paper_style():
        for name, figure in figures.items():
            save(figure, caption(f"figure-{name}", MODULES[name].SHOWS, jobs_of(runs, name)), folder, name)
    return folder


def test_command_writes_picture_and_caption(runs, drawn, tmp_path, capsys):
    assert main(["first-order", str(runs["rates"]), "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "first-order.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"first-order.{kind}" for kind in ("md", "pdf", "png")]
    assert (tmp_path / "first-order.md").read_text() == (drawn / "first-order.md").read_text()


@pytest.mark.parametrize("name", FIGURES)
def test_caption_says_data_model_method_n_and_seed_of_every_job(name, drawn, runs):
    text = (drawn / f"{name}.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| ")][2:]
    jobs = jobs_of(runs, name)
    assert len(table) == len(jobs)
    for line, job in zip(table, jobs):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        told = setting(job)
        assert cells[0].startswith(told.dataset) and told.view in cells[0]
        assert cells[1].startswith({"cnn": "CNN", "phi3-tiny": "phi3-tiny (ours, not Phi-3)"}[told.model])
        assert cells[2] == told.method
        assert cells[4] == f"{job.influence.sizes['stimulus']} stimuli x {job.influence.sizes['probe']} probes"
        assert cells[5] == "0"
        assert ("learning rate" in cells[6]) == (told.method != "prompt")
        assert ("predicted" in cells[6]) == (told.engine == "first_order")


@pytest.mark.parametrize("name", FIGURES)
def test_fonts_are_embedded_whole(name, drawn):
    pdf = (drawn / f"{name}.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_that_is_drawn_is_cut_off(name, figures):
    figure = figures[name]
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_says_what_is_good_in_it(name, figures):
    panels = [axes for axes in figures[name].axes if axes.axison and axes.get_label() != "<colorbar>"]
    assert panels
    for axes in panels:
        assert [text.get_text() for text in axes.texts if text.get_gid() == "good"], axes.get_title()


@pytest.mark.parametrize("name", ["prompting", "methods"])
def test_a_job_far_beyond_the_others_does_not_set_the_scale(name, runs, make_job, tmp_path):
    jobs = jobs_of(runs, name)
    with paper_style():
        before = [axes.get_xlim() for axes in MODULES[name].draw(jobs).axes]
        task = knowledge("reversal")
        values = 250 * moved(task, LOGICAL, random=7)
        far = make_job(
            tmp_path / "far", task, values, method="lora", model="phi3-tiny", dataset="reversal", view="probes"
        )
        figure = MODULES[name].draw([*jobs, far])
    assert [text for axes in figure.axes for text in axes.texts if text.get_gid() == "beyond"]
    for axes, (low, high) in zip(figure.axes, before, strict=True):
        assert np.ptp(axes.get_xlim()) < 3 * (high - low)


@pytest.mark.parametrize(
    "name", [name for name in FIGURES if name not in ("symmetry", "asymmetry", "noise", "domains")]
)
def test_a_job_that_taught_nothing_is_hatched_and_named_so(name, runs, make_job, tmp_path, figures):
    taught = [
        axes for axes in figures[name].axes if axes.get_title() != "noise invariance"
    ]  # of noise alone nothing is
    assert not any(map(hatched, taught))
    told = {"model": "phi3-tiny", "dataset": "implication", "background": "taught", "view": "probes"}
    if name == "forgetting":
        told |= {"view": "retention", "readouts": ["log_prob", *forgetting.READOUTS]}
    task = knowledge("implication", told["view"])
    for engine in ("stacked", "first_order"):
        values = np.random.default_rng(0).normal(size=(len(task.stimuli), len(task.probes)))
        for target in (0.1, 1.0):
            recipe = {"calibration": {"target": target, "strength": 0.0, "reached": False}}
            make_job(tmp_path / f"{engine} {target}", task, values, engine=engine, update=recipe, **told)
    with paper_style():
        figure = MODULES[name].draw(MODULES[name].select(find_jobs([tmp_path])))
        figure.draw_without_rendering()
    assert any(hatched(axes) for axes in figure.axes)
    named = [text.get_text() for text in figure.findobj(Text)]
    assert any("not clearly taught" in text for text in named)


@pytest.mark.parametrize("name", ["symmetry", "asymmetry", "noise"])
def test_images_that_taught_nothing_are_hatched_and_named_so(name, make_job, tmp_path):
    task = Digits(stimuli=20, probes=20).load(0)
    fields = {}
    if name == "noise":
        task, fields = Noise(levels=[0.5]).apply(task, 0), {"noise": "gaussian", "levels": [0.5]}
    values = np.random.default_rng(0).normal(size=task.relation.shape)
    make_job(tmp_path / "0", task, values, **fields)
    with paper_style():
        figure = MODULES[name].draw(MODULES[name].select(find_jobs([tmp_path])))
        figure.draw_without_rendering()
    assert any(hatched(axes) for axes in figure.axes)
    assert any("not clearly taught" in text.get_text() for text in figure.findobj(Text))


def hatched(axes):
    return [patch for patch in axes.patches if patch.get_hatch()]


@pytest.mark.parametrize("name", ["symmetry", "domains"])
def test_colours_are_centred_at_zero_and_have_a_unit(name, figures):
    images = [image for axes in figures[name].axes for image in axes.images]
    assert images
    for image in images:
        assert image.norm.vmin == -image.norm.vmax
    bars = [axes.get_ylabel() for axes in figures[name].axes if "influence (" in axes.get_ylabel()]
    assert bars and all("nat" in label for label in bars)


LANGUAGE = ["domains", "prompting", "two-by-two", "relations", "forgetting", "strength"]


@pytest.mark.parametrize("name", [*LANGUAGE, "methods", "distance", "sparsity"])
def test_a_tiny_model_is_called_tiny_wherever_it_is_named(name, figures, drawn):
    texts = [text.get_text().replace("\n", " ") for text in figures[name].findobj(Text)]
    named = [text for text in texts if "phi" in text.lower()]
    assert named
    for text in [*named, *(line for line in (drawn / f"{name}.md").read_text().splitlines() if "| phi" in line)]:
        assert "phi3-tiny (ours, not Phi-3)" in text
        assert "microsoft" not in text.lower()


def sorted_by_class(job):
    array = judged_array(job)
    rows = sorted(range(array.sizes["stimulus"]), key=lambda i: int(array["stimulus_class"][i]))
    return array.values[np.ix_(rows, rows)]


def test_symmetry_shows_the_stored_arrays_on_shared_colours(runs, figures):
    exact, predicted = jobs_of(runs, "symmetry")
    images = [image for axes in figures["symmetry"].axes for image in axes.images]
    for image, job in zip(images, (exact, predicted)):
        np.testing.assert_array_equal(np.asarray(image.get_array()), sorted_by_class(job))
    assert images[0].norm.vmax == images[1].norm.vmax


def test_a_prediction_of_another_draw_is_no_prediction_of_this_one(runs):
    exact, predicted = jobs_of(runs, "symmetry")
    manifest = dataclasses.replace(predicted.manifest, config=predicted.manifest.config | {"data_seed": 1})
    other = dataclasses.replace(predicted, manifest=manifest)
    assert symmetry.prediction_of(exact, [exact, other, predicted]) is predicted
    assert symmetry.prediction_of(exact, [exact, other]) is None


NAMES = (
    "$\\undefined{$",
    "cost $5_a$ and $b",
    "_under",
    "a\nb^c",
    "ネコ",
    "שלום",
    "😀",
    "/slash",
    "\U000f0000",
    "x" * 5000,
)


@pytest.fixture(scope="module")
def oddly_named(tmp_path_factory, make_job):
    """An exact job and its prediction, of digits, of noise and of statements: whose names are anything but plain."""
    root = tmp_path_factory.mktemp("odd")
    plain, told = Digits(stimuli=20, probes=20).load(0), {"model": NAMES[1], "dataset": "_".join(NAMES[4:])}
    task = dataclasses.replace(
        plain, **{part: dataclasses.replace(getattr(plain, part), classes=NAMES) for part in ("stimuli", "probes")}
    )
    values = np.random.default_rng(0).normal(size=(20, 20))
    for engine in ("stacked", "first_order"):
        make_job(root / "images" / engine, task, values, engine=engine, **told)
    statements = knowledge("reversal", "statements")
    for method in ("full", "$m_"):
        values = moved(statements, LOGICAL)
        make_job(root / "statements" / method, statements, values, method=method, view="statements", **told)
    return root


@pytest.mark.parametrize(
    ("name", "run"),
    [(name, "images") for name in ("symmetry", "asymmetry", "distance", "sparsity", "methods", "first-order")]
    + [("domains", "statements"), ("prompting", "statements")],
)
def test_any_name_is_drawn_as_text_and_fits(oddly_named, name, run, tmp_path, caplog, recwarn):
    jobs = MODULES[name].select(find_jobs([oddly_named / run]))
    with paper_style():
        figure = MODULES[name].draw(jobs)
        save(figure, caption(f"figure-{name}", MODULES[name].SHOWS, jobs), tmp_path, name)
        assert len(caplog.records) <= 1 and [one for one in recwarn if "Glyph" in str(one.message)] == []
        box = figure.get_tightbbox()
    width, height = figure.get_size_inches()  # a box for a glyph is wider than most letters
    assert box.x0 > -0.1 and box.y0 > -0.1 and box.x1 < width + 0.1 and box.y1 < height + 0.1
    assert "cost $5_a$ and $b" in " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    table = [line for line in (tmp_path / f"{name}.md").read_text(encoding="utf-8").splitlines() if line[0:1] == "|"]
    assert len(table) == len(jobs) + 2


def test_an_arrays_picture_shows_any_class_name(oddly_named, tmp_path, caplog):
    array.write_picture(oddly_named / "images" / "stacked", tmp_path / "array.png")
    assert len(caplog.records) == 1 and "have no glyph" in caplog.text
    with pytest.raises(ConfigError, match=r"^picture must end in one of .*png"):
        array.write_picture(oddly_named / "images" / "stacked", tmp_path / "array.nothing")


def test_undefined_and_lonely_cells_take_nothing_from_the_other_classes(runs, recwarn):
    """A stimulus that diverged, and a class of a single image, which is only there beside itself."""
    found = judged_array(jobs_of(runs, "symmetry")[0]).copy()
    first = [int(np.flatnonzero(found["stimulus_class"].values == number)[0]) for number in range(10)]
    found[first[3]] = np.nan
    kept = [i for i in range(len(found)) if found["stimulus_class"].values[i] != 7 or i == first[7]]
    found = found.isel(stimulus=kept, probe=kept)
    _, means = symmetry.class_table(found)
    of, ids = found["stimulus_class"].values, found["stimulus_id"].values
    for a, b in np.ndindex(means.shape):
        cells = [
            found.values[i, j] for i in np.flatnonzero(of == a) for j in np.flatnonzero(of == b) if ids[i] != ids[j]
        ]
        defined = [cell for cell in cells if np.isfinite(cell)]
        assert means[a, b] == pytest.approx(np.mean(defined) if defined else np.nan, rel=1e-5, abs=1e-7, nan_ok=True)
    assert np.isnan(means[7, 7]) and np.isnan(means).sum() == 1
    with paper_style():
        figure = matplotlib.figure.Figure()
        symmetry.draw_pairs(figure.subplots(), found, "nat")
        symmetry.draw_classes(figure.subplots(), found, "nat")
        figure.draw_without_rendering()
    assert [str(one.message) for one in recwarn if one.category is RuntimeWarning] == []


def test_symmetry_shows_each_pair_both_ways(runs, figures):
    values = judged_array(jobs_of(runs, "symmetry")[0]).values
    n = len(values)
    pairs = {frozenset((values[i, j], values[j, i])) for i in range(n) for j in range(i)}
    axes = next(axes for axes in figures["symmetry"].axes if axes.get_xlabel().startswith("I[i, j]"))
    low, high = axes.get_xlim()
    within = {pair for pair in pairs if low <= min(pair) and max(pair) <= high}
    assert {frozenset(pair) for pair in axes.collections[0].get_offsets().tolist()} == within
    beyond = [text.get_text() for text in axes.texts if text.get_gid() == "beyond"]
    assert beyond == ([f"◇ {len(pairs) - len(within)} of {len(pairs)} pairs beyond"] if within < pairs else [])


def test_mean_by_class_leaves_out_a_sample_on_itself(runs):
    array = judged_array(jobs_of(runs, "symmetry")[0])
    _, means = symmetry.class_table(array)
    of = array["stimulus_class"].values
    for a in range(len(means)):
        for b in range(len(means)):
            cells = [array.values[i, j] for i in np.flatnonzero(of == a) for j in np.flatnonzero(of == b) if i != j]
            assert means[a, b] == pytest.approx(np.mean(cells), rel=1e-5, abs=1e-7)


def test_noise_curves_are_means_over_other_images_of_the_class(runs):
    array = judged_array(jobs_of(runs, "noise")[0])
    clean, curves = noise.teach_each_other(array)
    sigma, source = array["stimulus_sigma"].values, array["stimulus_source"].values
    same_class = array["stimulus_class"].values[:, None] == array["probe_class"].values[None, :]
    other = same_class & (source[:, None] != source[None, :])

    def mean(a, b):
        return array.values[other & (sigma == a)[:, None] & (sigma == b)[None, :]].mean()

    assert clean.mean == pytest.approx(mean(0, 0))
    for level in (0.5, 1.0):
        assert curves["noisy to clean"][level].mean == pytest.approx(mean(level, 0))
        assert curves["clean to noisy"][level].mean == pytest.approx(mean(0, level))
        assert curves["noisy to noisy"][level].mean == pytest.approx(mean(level, level))
        assert curves["clean to noisy"][level].low < mean(0, level) < curves["clean to noisy"][level].high


def test_noise_panels_show_these_curves(runs, figures):
    _, curves = noise.teach_each_other(judged_array(jobs_of(runs, "noise")[0]))
    lines = figures["noise"].axes[0].get_lines()
    shown = [line.get_ydata().tolist() for line in lines if len(line.get_xdata()) == 2 and line.get_marker() != "None"]
    assert shown == [[point.mean for point in curve.values()] for curve in curves.values()]


def test_decay_shows_the_mean_at_each_distance(runs):
    job = next(job for job in jobs_of(runs, "distance") if setting(job).dataset == "reversal")
    array, cells = distance.cells_of(judged_array(job), "path")
    decay = distance.means_by_distance(array, cells)
    places = sorted({d for d in cells.ravel() if np.isfinite(d)})
    np.testing.assert_allclose(decay.distance, places)
    stored = np.abs(clean(judged_array(job)).values)
    np.testing.assert_allclose(decay.mean, [stored[cells == place].mean() for place in places])
    assert ((decay.low <= decay.mean) & (decay.mean <= decay.high)).all()


def test_decay_of_images_of_which_no_two_are_of_one_class_is_that_of_all_pairs(make_job, tmp_path):
    task = Digits(stimuli=60, probes=60).load(0)
    one_each = np.unique(task.stimuli.labels.numpy(), return_index=True)[1]
    task = dataclasses.replace(
        task,
        stimuli=task.stimuli.take(one_each),
        probes=task.probes.take(one_each),
        relation=task.relation[np.ix_(one_each, one_each)],
        distances={name: values[np.ix_(one_each, one_each)] for name, values in task.distances.items()},
    )
    job = make_job(tmp_path / "0", task, moved(task, {"direct": 1.0}))
    with paper_style():
        [axes] = distance.draw([job]).axes
    array, cells = distance.cells_of(judged_array(job), distance.decay_finding(job)[1])
    assert distance.means_within_classes(array, cells) is None
    assert len(marks(axes, "o")) == len(distance.means_by_distance(array, cells).mean) and marks(axes, "s") == []


def test_fitted_line_is_the_exponential_that_the_means_follow():
    x = np.linspace(1, 9, 12)
    curve = 2.5 * np.exp(-x / 1.7) - 0.3
    found = distance.fitted_decay(distance.Decay(x, curve, curve, curve), 1.7, x)
    np.testing.assert_allclose(found, curve)
    wrong = distance.fitted_decay(distance.Decay(x, curve, curve, curve), 5.0, x)
    assert np.abs(wrong - curve).max() > 0.05


def test_lorenz_curve_has_the_area_of_the_gini_index():
    values = np.random.default_rng(0).normal(size=(7, 40)) ** 3
    at = np.linspace(0, 1, 41)
    area = np.trapezoid(sparsity.lorenz(values, at), at)
    assert 1 - 2 * area == pytest.approx(statistics.gini(values).mean())


def test_gaussian_lorenz_curve_is_that_of_many_normal_numbers():
    at = np.linspace(0, 1, 21)
    drawn = sparsity.lorenz(np.random.default_rng(0).normal(size=(1, 200_000)), at)
    np.testing.assert_allclose(sparsity.gaussian_lorenz(at), drawn, atol=5e-3)


def test_effective_numbers_are_those_of_the_stored_arrays(runs, figures):
    axes = next(axes for axes in figures["sparsity"].axes if axes.get_xlabel().startswith("effective"))
    drawn = [line for line in axes.get_lines() if line.get_color() == sparsity.BLUE]
    medians = [line for line in drawn if line.get_marker() in ("None", "")]
    for line, job in zip(medians, jobs_of(runs, "sparsity"), strict=True):
        array = sparsity.moving_rows(job)
        size = np.abs(array.values)
        share = (size.sum(1) ** 2 / (size**2).sum(1)) / array.sizes["probe"]
        assert line.get_xdata()[0] == pytest.approx(np.median(share))


def test_domains_show_the_mean_over_worlds_with_relations_marked(runs, figures):
    axes = [axes for axes in figures["domains"].axes if axes.images]
    for place, job in zip(axes, jobs_of(runs, "domains"), strict=True):
        array = judged_array(job)
        worlds = [np.flatnonzero(array["stimulus_world"].values == world) for world in range(6)]
        mean = sum(array.values[np.ix_(rows, rows)] for rows in worlds) / 6
        np.testing.assert_allclose(np.asarray(place.images[0].get_array()), mean)
        relation = array["relation"].values[np.ix_(worlds[0], worlds[0])]
        marks = {points.get_label(): points.get_offsets() for points in place.collections}
        for name in ("entailed", "contradicted"):
            assert {(int(y), int(x)) for x, y in marks[name]} == {tuple(cell) for cell in np.argwhere(relation == name)}


def test_prompting_marks_are_the_stored_findings(runs, figures):
    for axes, (view, desideratum, statistic) in zip(figures["prompting"].axes, prompting.PANELS):
        stored = []
        for job in jobs_of(runs, "prompting"):
            rows = job.verdicts[(job.verdicts["desideratum"] == desideratum) & (job.verdicts["statistic"] == statistic)]
            stored += [(setting(job).method, effect) for effect in rows["effect"] if setting(job).view == view]
        marks = [
            (line.get_label(), line.get_xdata()[0])
            for line in axes.get_lines()
            if line.get_label() in ("full", "prompt")
        ]
        assert stored and sorted(marks) == sorted(stored)


def effects(job, statistic):
    rows = job.verdicts
    return rows[(rows["desideratum"] == "logic") & (rows["statistic"] == statistic)]["effect"].tolist()


def marks(axes, marker):
    return [tuple(line.get_xydata()[0]) for line in axes.get_lines() if line.get_marker() == marker]


def test_two_by_two_has_the_stored_reach_in_the_cell_of_background_and_stimulus(runs, figures):
    jobs = jobs_of(runs, "two-by-two")
    cells = [("taught", "full"), ("taught", "prompt"), ("context", "full"), ("context", "prompt")]
    for axes, (background, method) in zip(figures["two-by-two"].axes, cells, strict=True):
        (job,) = (j for j in jobs if (setting(j).background, setting(j).method) == (background, method))
        (mark,) = [
            line for line in axes.get_lines() if line.get_label() == method and line.get_marker() not in ("None", "")
        ]
        assert [mark.get_xdata()[0]] == effects(job, "reach")
        assert ("background in weights" in axes.get_title()) == (background == "taught")
        assert ("stimulus in weights" in axes.get_title()) == (method == "full")


def test_two_by_two_shows_what_a_perfect_learner_and_a_bag_of_words_reach(figures):
    for axes in figures["two-by-two"].axes:
        (perfect,), (words,) = marks(axes, two_by_two.LEARNER_MARKS["perfect"]), marks(axes, "x")
        assert perfect[0] == pytest.approx(1.0, abs=0.1)
        assert words[0] < perfect[0] - 0.5


def test_two_by_two_leaves_out_a_row_and_a_column_that_was_not_run(runs, tmp_path):
    for folder, kept in (("row", {"taught-full", "taught-prompt"}), ("column", {"taught-full", "context-full"})):
        for name in kept:
            shutil.copytree(runs["two_by_two"] / name, tmp_path / folder / name)
        jobs = two_by_two.select(find_jobs([tmp_path / folder]))
        with paper_style():
            titles = [axes.get_title() for axes in two_by_two.draw(jobs).axes]
        there = "background in weights" if folder == "row" else "stimulus in weights"
        assert len(titles) == 2 and all(there in title for title in titles)


def test_two_by_two_leaves_out_domains_without_a_background(tmp_path, make_job):
    task = knowledge("reversal")
    fields = {"model": "phi3-tiny", "dataset": "reversal", "view": "probes", "background": "taught"}
    make_job(tmp_path / "0", task, moved(task, LOGICAL), **fields)
    with pytest.raises(ConfigError, match="must hold a job on a knowledge domain with a background"):
        two_by_two.select(find_jobs([tmp_path]))


def test_a_reference_learner_is_not_drawn_as_a_method_of_the_model_beside_it(tmp_path, make_job):
    task = knowledge("implication")
    fields = {"dataset": "implication", "view": "probes", "background": "taught"}
    make_job(tmp_path / "model", task, moved(task, LOGICAL), model="phi3-tiny", **fields)
    make_job(tmp_path / "learner", task, moved(task, LOGICAL), model="perfect", engine="rule", **fields)
    for figure in (two_by_two, prompting, sparsity, distance):
        assert [setting(job).model for job in figure.select(find_jobs([tmp_path]))] == ["phi3-tiny"]
        assert [setting(job).model for job in figure.select(find_jobs([tmp_path / "learner"]))] == ["perfect"]


def test_methods_of_two_models_are_not_drawn_as_those_of_one(tmp_path, make_job):
    task = knowledge("implication")
    for model in ("phi3-tiny", "SmolLM2-135M"):
        fields = {"dataset": "implication", "view": "probes", "background": "taught"}
        make_job(tmp_path / model, task, moved(task, LOGICAL), model=model, **fields)
    for figure in (two_by_two, prompting):
        with pytest.raises(ConfigError, match=r"results path must hold jobs of one model, got .*SmolLM2.*phi3-tiny"):
            figure.select(find_jobs([tmp_path]))


def test_shares_are_those_that_the_verdicts_rest_on(runs, figures):
    """What follows is reach, the converse is what is not held of it, the denial is what leaks."""
    jobs = jobs_of(runs, "relations")
    stored = {name: {effect for job in jobs for effect in effects(job, name)} for name in ("reach", "converse_held")}
    leaks = {
        details["negation_leak"]
        for job in jobs
        for details in map(json.loads, job.verdicts[job.verdicts["desideratum"] == "negation"]["details"])
    }
    drawn = {
        axes.get_title(): [line.get_xdata()[0] for line in axes.get_lines() if line.get_label() in ("full", "prompt")]
        for axes in figures["relations"].axes
    }
    assert sorted(drawn["what follows"]) == pytest.approx(sorted(stored["reach"]))
    assert sorted(1 - value for value in drawn["its converse"]) == pytest.approx(sorted(stored["converse_held"]))
    assert sorted(drawn["what it denies"]) == pytest.approx(sorted(leaks))


def test_relations_show_the_learners_between_which_a_method_lies(figures):
    learners = {
        (axes.get_title(), line.get_label()): line.get_xdata()[0]
        for axes in figures["relations"].axes
        for line in axes.get_lines()
        if line.get_label() in relations.MARKS
    }
    expected = {"what follows": {"perfect": 1}, "its converse": {"perfect": 0, "symmetric": 1}}
    expected["what it denies"] = {"perfect": -1, "negation_blind": 1}
    expected = {(title, rule): at for title, rules in expected.items() for rule, at in rules.items()}
    assert learners == pytest.approx(expected, abs=0.2)


def test_forgetting_is_what_known_answers_lose_for_each_nat_taught(runs, figures):
    jobs = {setting(job).method: job for job in jobs_of(runs, "forgetting")}
    lost = {}
    for method, job in jobs.items():
        array, taught = job.influence.isel(seed=0, step=0, readout=0), job.manifest.strength.effect
        own = array[~array["stimulus_neutral"].values, (array["probe_form"] == "background").values]
        lost[method] = float(own.mean()) / taught
        assert lost[method] == pytest.approx({"full": -0.4, "lora": -0.2}[method], abs=0.05)
    forgotten, less, answers = figures["forgetting"].axes
    drawn = {line.get_label(): line.get_xdata()[0] for line in forgotten.get_lines() if line.get_label() in jobs}
    assert drawn == {method: pytest.approx(value) for method, value in lost.items()}
    [paired] = [line for line in less.get_lines() if line.get_label() in jobs]
    assert (paired.get_label(), paired.get_xdata()[0]) == ("lora", pytest.approx(lost["lora"] - lost["full"]))
    assert paired.get_markerfacecolor() != "white"
    assert {line.get_label() for line in answers.get_lines()} >= set(jobs)


def test_forgetting_needs_the_readouts_that_it_shows(tmp_path, make_job):
    task = knowledge("implication", "retention")
    make_job(tmp_path / "0", task, moved(task, LOGICAL), model="phi3-tiny", dataset="implication", view="retention")
    with pytest.raises(ConfigError, match="must hold jobs with the readouts log_odds, correct"):
        forgetting.select(find_jobs([tmp_path]))


def test_facts_at_once_have_rows_of_their_own_and_company_beside_them_none(tmp_path, make_job):
    task = knowledge("implication")
    for facts, reached in ((1, 0.8), (4, 0.2)):
        calibration = {"target": 1.0, "strength": 1.0, "reached": True}
        values = moved(task, {"direct": 1.0, "entailed": reached})
        recipe = {"optimizer": "adam", "steps": 5 * facts, "calibration": calibration}
        fields = {"model": "phi3-tiny", "dataset": "implication", "view": "probes", "facts": facts}
        make_job(tmp_path / str(facts), task, values, update=recipe, **fields)
    jobs = strength.select(find_jobs([tmp_path]))
    with paper_style():
        figure = strength.draw(jobs)
    assert [axes.get_xlabel() for axes in figure.axes] == ["facts at once"] * 2
    points = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o" and line.get_markersize() == 4]
    drawn = [tuple(line.get_xydata()[0]) for line in points]
    assert drawn == [(strength.fact_count(job), pytest.approx(effects(job, "reach")[0])) for job in jobs]
    jobs[0].manifest.config["perturbation"]["retained"] = 0.5
    assert len(strength.select(jobs)) == 1


def test_first_order_shows_reach_beside_the_prediction_of_it(tmp_path, make_job):
    task = knowledge("implication")
    for engine, reached in (("stacked", 0.8), ("first_order", 0.0)):
        values = moved(task, {"direct": 1.0, "entailed": reached})
        make_job(tmp_path / engine, task, values, engine=engine, model="phi3-tiny", dataset="implication")
    jobs = first_order.select(find_jobs([tmp_path]))
    with paper_style():
        reach = first_order.draw(jobs).axes[3]
    drawn = {line.get_label(): line for line in reach.get_lines() if line.get_label() in first_order.BESIDE}
    for job, (label, look) in zip(jobs, first_order.BESIDE.items(), strict=True):
        assert drawn[label].get_ydata()[0] == pytest.approx(effects(job, "reach")[0])
        assert (drawn[label].get_markerfacecolor() == look["color"]) == (label == "exact")  # only that is satisfied


def test_strength_is_drawn_where_it_was_asked_for_and_hollow_where_it_was_not_reached(runs, figures):
    jobs = [job for job in jobs_of(runs, "strength") if strength.step_count(job) == 10]
    for axes, statistic in zip(figures["strength"].axes, strength.STATISTICS):
        stored = {
            (strength.target_of(job), strength.displayed_value(statistic, effects(job, statistic)[0])) for job in jobs
        }
        found = [line for line in axes.get_lines() if line.get_marker() == "o" and line.get_markersize() == 4]
        drawn = {(float(f"{line.get_xdata()[0]:.1g}"), line.get_ydata()[0]) for line in found}
        assert drawn == stored
        hollow = [line.get_xdata()[0] for line in found if line.get_markerfacecolor() == "white"]
        assert len(hollow) == 2 and all(place == pytest.approx(10, rel=0.1) for place in hollow)
        assert {text.get_text() for text in axes.texts if text.get_gid() == "reached"} == {"3"}


def test_steps_at_one_strength_have_rows_of_their_own(figures):
    labels = [axes.get_xlabel() for axes in figures["strength"].axes]
    assert labels == ["strength asked for (nat)"] * 2 + ["steps"] * 2
    for axes in figures["strength"].axes[2:]:
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "10", "100"]


def test_strength_shows_the_learners_between_which_reach_lies(runs, figures):
    axes = figures["strength"].axes[0]
    levels = {line.get_label(): line.get_ydata()[0] for line in axes.get_lines() if "learner" in line.get_label()}
    assert levels["learner: perfect"] == pytest.approx(1.0, abs=0.1)
    assert levels["learner: faint"] == pytest.approx(0.05, abs=0.1)
    assert levels["learner: bag of words"] == pytest.approx(0.0, abs=0.1)
    assert set(levels) == {"learner: perfect", "learner: bag of words", "learner: faint"}


def test_what_was_not_taught_has_a_cross_and_no_ratio(tmp_path, make_job):
    task = knowledge("implication")
    for target in (0.1, 1.0):
        calibration = {"target": target, "strength": 0.0, "reached": False}
        fields = {"model": "phi3-tiny", "dataset": "implication", "view": "probes"}
        make_job(tmp_path / str(target), task, moved(task, {}), update={"calibration": calibration}, **fields)
    with paper_style():
        figure = strength.draw(strength.select(find_jobs([tmp_path])))
    for axes in figure.axes:
        assert len(marks(axes, "x")) == 2 and marks(axes, "o") == []


@pytest.mark.parametrize("worlds", [2, 5])
def test_jobs_of_few_worlds_taught_something_and_have_their_ratios_without_hatching(worlds, tmp_path, make_job, caplog):
    task = knowledge("implication", worlds=worlds)
    fields = {"model": "phi3-tiny", "dataset": "implication", "view": "probes"}
    for target in (0.1, 1.0):
        calibration = {"target": target, "strength": target, "reached": target < 1}
        values = target * moved(task, LOGICAL, scatter=0.001)
        make_job(tmp_path / str(target), task, values, update={"calibration": calibration}, **fields)
    jobs = find_jobs([tmp_path])
    with paper_style():
        figure = strength.draw(strength.select(jobs))
        figure.draw_without_rendering()
    for axes, statistic in zip(figure.axes, strength.STATISTICS, strict=True):
        stored = {strength.displayed_value(statistic, effects(job, statistic)[0]) for job in jobs}
        assert {y for _, y in marks(axes, "o")} >= stored and not hatched(axes)
        assert [text.get_text() for text in axes.texts if text.get_gid() == "reached"] == ["1"]
    assert not caplog.records


def test_scorecard_marks_are_the_corrected_headline_verdicts(runs, figures):
    table = sweep_table(jobs_of(runs, "methods"))
    of_noise = table["path"].str.contains(str(runs["noise"]), regex=False)
    table = table[(table["finding"] == 0) & (of_noise == (table["desideratum"] == "noise_invariance"))]
    table = table[table["effect"].notna()]
    shown = {axes.get_title(): axes for axes in figures["methods"].axes}
    for desideratum, rows in table.groupby("desideratum"):
        marks = [
            (line.get_label(), line.get_xdata()[0])
            for line in shown[desideratum.replace("_", " ")].get_lines()
            if line.get_label().split(":")[0] in ("satisfied", "violated", "inconclusive")
        ]
        told = rows["verdict"] + rows["how"].map(lambda how: f": {how}" if how else "")
        assert sorted((label, f"{effect}") for label, effect in marks) == sorted(zip(told, rows["effect"].map(str)))


def test_first_order_curves_compare_the_paired_arrays(runs, figures):
    correlation, error, strength = figures["first-order"].axes
    jobs = {(setting(job).exact, job.manifest.update.learning_rate): job for job in jobs_of(runs, "first-order")}
    for steps, line, other in zip((1, 2, 3), correlation.get_lines(), error.get_lines(), strict=False):
        assert line.get_label().startswith(f"{steps} step")
        for place, rate in enumerate((1e-4, 1e-2)):
            exact, predicted = (
                jobs[kind, rate].influence.isel(seed=0, step=steps - 1, readout=0).values for kind in (True, False)
            )
            assert line.get_ydata()[place] == pytest.approx(np.corrcoef(exact.ravel(), predicted.ravel())[0, 1])
            far = np.linalg.norm(predicted - exact) / np.linalg.norm(exact)
            assert other.get_ydata()[place] == pytest.approx(far)
    assert len(strength.collections[0].get_offsets()) == 6


def test_what_a_figure_lacks_is_told_in_one_line(runs, tmp_path, capsys):
    with pytest.raises(ConfigError, match="must hold a job with perturbation=noise, got"):
        draw_figure("noise", [runs["statements"]], tmp_path)
    assert main(["noise", str(tmp_path), "--output", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1 and str(tmp_path) in printed.err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_make_draws_every_figure_after_its_runs(preset):
    result = subprocess.run(
        ["make", "-n", "-B", "figures", "claims", "questions", f"PRESET={preset}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    made = [line.rsplit("/", 1)[1] for line in lines if "experiment=figure_" in line]
    assert len(made) == len(set(made))
    for name in FIGURES:
        drawing = next(i for i, line in enumerate(lines) if f"eif-lab figures {name} " in line)
        for run in [word.rsplit("/", 1)[1] for word in lines[drawing].split() if f"runs/{preset}/" in word]:
            assert any(f"experiment=figure_{run} " in line for line in lines[:drawing])
    assert any("eif-lab claims" in line for line in lines)


@pytest.mark.parametrize("config", sorted((ROOT / "conf" / "experiment").glob("figure_*.yaml")), ids=lambda p: p.stem)
def test_last_job_of_a_figures_runs_can_be_composed(config):
    from hydra import compose, initialize_config_dir

    from eif_lab.commands.checking import to_plain_containers
    from eif_lab.configs import CONF
    from eif_lab.jobs.read import read_job

    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose("config", [f"experiment={config.stem}", "hydra.mode=MULTIRUN"], return_hydra_config=True)
        last = [f"{key}={str(values).split(',')[-1]}" for key, values in whole.hydra.sweeper.params.items()]
        read_job(to_plain_containers(compose("config", [f"experiment={config.stem}", *last])))


@pytest.mark.parametrize("lacking", ["unit", "engine", "update", "stimuli", "base_model"])
def test_a_job_that_lacks_what_figures_show_is_told_with_the_field_and_its_folder(runs, tmp_path, lacking):
    folder = tmp_path / "rates"
    shutil.copytree(next(runs["rates"].iterdir()), folder)
    stored = json.loads((folder / "manifest.json").read_text())
    del stored[lacking]
    (folder / "manifest.json").write_text(manifest_text(stored))
    with pytest.raises(ConfigError, match=rf"must hold jobs with manifest\.json {lacking}, got '{folder}'"):
        find_jobs([folder])


def test_an_error_of_a_figures_own_is_not_mistaken_for_a_job_that_lacks_a_field(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(first_order, "draw", lambda jobs: {}["a mistake in the code"])
    with pytest.raises(KeyError):
        draw_figure("first-order", [runs["rates"]], tmp_path)
