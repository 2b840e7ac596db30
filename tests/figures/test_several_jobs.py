"""Figures of several jobs of one dataset and method: which are compared, and where each stands."""

from __future__ import annotations

import dataclasses
from copy import copy
from itertools import chain, pairwise

import numpy as np
import pytest
from made_up import LOGICAL, knowledge, moved
from matplotlib.text import Text

from eif_lab.errors import ConfigError
from eif_lab.figures import forgetting, prompting, relations, seeds, strength, two_by_two
from eif_lab.figures.panel import UNTAUGHT
from eif_lab.figures.style import paper_style

SEEDS = range(3)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, make_job):
    """By view and method, a job with the background in the weights."""
    root, found = tmp_path_factory.mktemp("tuned"), {}
    for view, methods in (("probes", ("full",)), ("retention", ("full", "lora"))):
        task = knowledge("implication", view)
        for method in methods:
            fields = {"model": "phi3-tiny", "dataset": "implication", "view": view, "background": "taught"}
            readouts = ["log_prob", *forgetting.READOUTS]
            folder = root / f"{view} {method}"
            found[view, method] = make_job(
                folder, task, moved(task, LOGICAL), method=method, readouts=readouts, **fields
            )
    return found


def changed(job, *, strength_p=None, unit=None, background=None, **config):
    """The job under other options."""
    manifest = job.manifest
    dataset = manifest.config["dataset"] | ({"background": background} if background else {})
    fields = {"config": manifest.config | {"dataset": dataset, **config}}
    if strength_p is not None:
        fields["strength"] = copy(manifest.strength)
        vars(fields["strength"])["p_value"] = strength_p
    if unit is not None:
        fields["unit"] = unit
    return dataclasses.replace(job, manifest=dataclasses.replace(manifest, **fields))


def over_seeds(job, **config):
    return [changed(job, seed=seed, data_seed=0, **config) for seed in SEEDS]


# Forgetting: whom a method is compared with ---------------------------------------------------------------------------


def test_a_method_is_compared_with_all_weights_of_its_own_seed_and_these_with_none(tuned):
    full, lora = over_seeds(tuned["retention", "full"]), over_seeds(tuned["retention", "lora"])
    for seed in SEEDS:
        assert forgetting.full_of(lora[seed], [*full, *lora]) is full[seed]
        assert forgetting.full_of(full[seed], [*full, *lora]) is None
    assert forgetting.full_of(lora[2], full[:2]) is None


def test_a_method_is_not_compared_across_backgrounds_or_data(tuned):
    full, lora = tuned["retention", "full"], tuned["retention", "lora"]
    known = changed(full, background="known")
    assert forgetting.full_of(lora, [known]) is None
    assert forgetting.full_of(lora, [known, full]) is full
    english = changed(full, dataset=full.manifest.config["dataset"] | {"language": "english"})
    assert forgetting.full_of(lora, [english]) is None


def test_of_all_weights_by_several_updates_a_method_is_compared_with_its_own_but_for_the_rate(tuned):
    full, lora = tuned["retention", "full"], tuned["retention", "lora"]
    sgd, adam, other_adam = (
        changed(full, update={"optimizer": name, "learning_rate": rate})
        for name, rate in (("sgd", 0.1), ("adam", 0.1), ("adam", 0.2))
    )
    own = changed(lora, update={"optimizer": "adam", "learning_rate": 0.01})
    assert forgetting.full_of(own, [sgd, adam]) is adam
    assert forgetting.full_of(own, [sgd]) is sgd
    assert forgetting.full_of(own, [sgd, adam, other_adam]) is None
    assert forgetting.full_of(own, [changed(sgd, strength_p=0.2)]) is None


# Where jobs stand -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "view"),
    [(relations, "probes"), (prompting, "probes"), (two_by_two, "probes"), (forgetting, "retention")],
)
def test_seeds_of_one_dataset_and_method_stand_below_each_other_in_their_order(figure, view, tuned):
    jobs = figure.select(over_seeds(tuned[view, "full"]))
    with paper_style():
        drawn = figure.draw(jobs)
    panels = [
        [line.get_ydata()[0] for line in axes.get_lines() if line.get_label() == "full"]
        for axes in drawn.axes
        if axes.axison
    ]
    assert panels[0] and max(np.ptp(each) for each in panels if each) < 1
    for each in filter(None, panels):
        assert len(set(each)) == len(SEEDS) and each == sorted(each)


def test_rows_of_seeds_that_taught_nothing_do_not_overlap(tuned):
    jobs = [changed(job, strength_p=0.2) for job in over_seeds(tuned["probes", "full"])]
    with paper_style():
        first = relations.draw(jobs).axes[0]
    rows = sorted((patch.get_y(), patch.get_y() + patch.get_height()) for patch in first.patches)
    assert len(rows) == len(SEEDS)
    assert all(below[0] == pytest.approx(above[1]) for above, below in pairwise(rows))


@pytest.mark.parametrize(("figure", "view"), [(relations, "probes"), (prompting, "probes"), (forgetting, "retention")])
def test_jobs_with_the_background_in_the_context_are_left_out_where_there_are_others(figure, view, tuned):
    taught = tuned[view, "full"]
    read = changed(taught, background="context")
    assert figure.select([read, taught]) == [taught]
    assert figure.select([read]) == [read]


# What was taught ------------------------------------------------------------------------------------------------------


def test_relations_hatch_a_job_whose_strength_is_not_above_zero_at_the_captions_level(tuned):
    """Its strength is above zero at 95 %, which each relation asks of its own stimuli."""
    for p_value, taught in ((0.004, True), (0.006, False)):
        with paper_style():
            figure = relations.draw([changed(tuned["probes", "full"], strength_p=p_value)])
        for axes in figure.axes:
            assert bool([line for line in axes.get_lines() if line.get_label() == "full"]) == taught
            assert bool([patch for patch in axes.patches if patch.get_gid() == UNTAUGHT]) != taught


def test_captions_name_the_interval_of_a_ratio(tuned):
    for figure in (prompting, two_by_two, relations, forgetting, strength):
        assert "Fieller's" in figure.SHOWS


def test_relations_of_a_single_world_are_refused_in_one_line(tmp_path, make_job):
    task = knowledge("implication", worlds=1)
    job = make_job(tmp_path / "0", task, moved(task, LOGICAL), model="phi3-tiny", dataset="implication", view="probes")
    with pytest.raises(ConfigError, match=r"^results path must hold a job of at least two worlds .*\['phi3-tiny impl"):
        relations.draw(relations.select([job]))


# Seeds ----------------------------------------------------------------------------------------------------------------


def test_runs_without_a_verdict_have_their_cells_alone(tmp_path, make_job):
    task = knowledge("implication", worlds=1)
    fields = {"model": "phi3-tiny", "dataset": "implication", "view": "probes"}
    job = make_job(tmp_path / "0", task, moved(task, LOGICAL), **fields)
    assert not [row for row in job.verdict_rows if row["finding"] == 0]
    with paper_style():
        figure = seeds.draw(seeds.select([changed(run, strength_p=0.2) for run in over_seeds(job)]))
        figure.draw_without_rendering()
    [cells] = figure.axes
    assert cells.get_ylabel() == "standard deviation over runs"
    assert UNTAUGHT in [text.get_text() for text in figure.findobj(Text)]


def test_seeds_name_the_unit_of_the_readout_that_is_judged(tuned):
    jobs = [changed(job, unit="probability") for job in over_seeds(tuned["probes", "full"])]
    with paper_style():
        assert seeds.draw(jobs).axes[0].get_xlabel() == "|mean influence| (probability)"


def test_more_settings_than_seeds_have_room_for_are_refused_in_one_line(tuned):
    groups = [over_seeds(tuned["probes", "full"], method={"name": f"m{n}"}) for n in range(seeds.MOST + 1)]
    assert len(seeds.select(list(chain(*groups[1:])))) == seeds.MOST * len(SEEDS)
    with pytest.raises(ConfigError, match=r"^results path must hold runs of at most 4 settings, got .*\. Give the"):
        seeds.select(list(chain(*groups)))


def test_one_huge_cell_does_not_set_the_scale_of_seeds(tmp_path, make_job):
    task = knowledge("implication")
    fields = {"model": "phi3-tiny", "dataset": "implication", "view": "probes", "data_seed": 0}
    jobs = []
    for seed in (0, 1):
        values = moved(task, LOGICAL, scatter=0.1, random=seed)
        values[0, 0] = 1e6 * (1 + seed)
        jobs.append(make_job(tmp_path / str(seed), task, values, seed=seed, **fields))
    with paper_style():
        cells = seeds.draw(jobs).axes[0]
    assert 1 < cells.get_xlim()[1] < 10
    assert [text.get_text() for text in cells.texts if text.get_gid() == "beyond" and "pairs beyond" in text.get_text()]


def test_many_large_cells_that_are_no_outliers_stay_within_the_scale_of_seeds():
    """As those of images on themselves: some are beyond the quantile of the others, none is out of reach of it."""
    size = np.concatenate([np.full(990, 0.1), np.full(10, 0.4)])
    low, high = seeds.limits_of_cells(size, np.full(1000, 0.01))
    assert low < 0.01 and high > 0.4
    assert seeds.limits_of_cells(np.zeros(3), np.zeros(3)) == (0.1, 1.0)
