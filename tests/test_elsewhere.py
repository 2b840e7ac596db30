"""A stimulus is read on the probes of its own world and of a few others, and the verdicts are those of the whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr

from eif_lab import annotate, judge, load_task, measure_influence, measure_task
from eif_lab.data.elsewhere import Elsewhere
from eif_lab.data.task import RELATED
from eif_lab.desiderata.selection import prepare, unread
from eif_lab.desiderata.strength import strength_of
from eif_lab.errors import ConfigError
from eif_lab.influence.context import measure_context
from eif_lab.influence.problem import rows_read, runs_of
from eif_lab.learners import imitate
from eif_lab.perturbations.noise import Noise
from eif_lab.perturbations.relabel import Relabel
from eif_lab.perturbations.template import Template
from eif_lab.results.comparison import above_neutral
from eif_lab.results.job import open_job

pytest_plugins = ["command_line_fixtures", "language_fixtures"]

STAND_INS = ("precision", "concentration", "rank_correlation")
"""Findings that compare a stimulus with those of other worlds; all others are about its own world's probes."""


def grid(worlds: int, others: int, seed: int = 0) -> np.ndarray:
    """Which world is read on which."""
    every = np.arange(worlds)
    return Elsewhere(others, seed).read(every, every)


@pytest.mark.parametrize(("worlds", "others"), [(7, 2), (8, 3), (9, 4), (3, 2)])
def test_each_world_is_read_on_so_many_others_and_by_as_many(worlds, others):
    read = grid(worlds, others)
    assert read.diagonal().all()
    assert (read.sum(axis=0) == 1 + others).all() and (read.sum(axis=1) == 1 + others).all()
    if others % 2 == 0:
        assert np.array_equal(read, read.T)
    assert np.array_equal(read, grid(worlds, others))
    if 1 + others < worlds:
        assert any(not np.array_equal(read, grid(worlds, others, seed)) for seed in range(1, 4))


def test_any_two_worlds_meet_equally_often():
    met = np.mean([grid(6, 2, seed) for seed in range(600)], axis=0)
    others = ~np.eye(6, dtype=bool)
    assert met[others] == pytest.approx(2 / 5, abs=5 * (0.24 / 600) ** 0.5)


def test_as_many_others_as_there_are_is_the_whole_array():
    assert load_task("ontology", worlds=3, elsewhere=2).read is None
    assert load_task("ontology", worlds=4, elsewhere=2).read is not None


@pytest.mark.parametrize("perturbation", [Noise(levels=[0.2]), Relabel(), Template()], ids=lambda one: one.name)
def test_a_perturbed_stimulus_is_read_on_all_that_it_says_something_about(perturbation):
    task = perturbation.apply(load_task("ontology", worlds=6, stimuli_per_world=2, elsewhere=2), 0)
    read, worlds = task.read, [samples.coords["world"] for samples in (task.stimuli, task.probes)]
    assert read.shape == task.relation.shape and not read.all()
    assert read[np.isin(task.relation, RELATED)].all() and read[worlds[0][:, None] == worlds[1][None, :]].all()
    plain = Elsewhere(2, 0).read(*worlds)
    assert np.array_equal(read, plain)


@pytest.fixture
def classes():
    """A small network, and six samples."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    return net, (torch.randn(6, 5), torch.arange(6) % 3)


READ = np.array([[i == j or j in (2, 3) for j in range(6)] for i in range(6)])
"""Each sample is read on itself and on two others."""

NEARLY_ALL = np.array([[(i, j) not in ((0, 1), (3, 5)) for j in range(6)] for i in range(6)])
"""Two cells are not read, and are in a pass with those that are."""


@pytest.mark.parametrize("engine", ["factored", "stacked", "loop", "reference", "first_order"])
@pytest.mark.parametrize("perturbation", ["include", "exclude"])
@pytest.mark.parametrize("read", [READ, NEARLY_ALL], ids=["few", "nearly all"])
def test_what_is_read_is_what_reading_all_would_say(classes, engine, perturbation, read):
    net, samples = classes
    how = {"engine": engine, "perturbation": perturbation, "update": {"learning_rate": 0.1, "steps": 2}}
    whole = measure_influence(net, F.cross_entropy, samples, samples, **how)
    some = measure_influence(net, F.cross_entropy, samples, samples, read=read, **how)
    assert np.array_equal(np.isnan(some.values), ~read) and np.array_equal(some["read"].values, read)
    np.testing.assert_allclose(some.values[read], whole.values[read], atol=1e-6)


@pytest.mark.parametrize(
    ("reads", "runs"),
    [
        (["110000", "110000"], [(0, 2), (2, 6)]),  # nobody reads the others
        (["111000", "111100", "111100"], [(0, 4), (4, 6)]),  # one row too many for one stimulus spares two a pass
        (["100000", "000011"], [(0, 1), (1, 4), (4, 6)]),  # nobody would be spared one
        (["1" * 100 + "0" * 100, "1" * 200], [(0, 100), (100, 200)]),  # a pass costs less than a hundred rows
        (["101111", "111111", "111111"], [(0, 6)]),
        (["10" * 20 + "0" * 40, "1" * 40 + "0" * 40], [(0, 40), (40, 80)]),
    ],
)
def test_rows_are_read_together_where_a_pass_costs_more_than_the_rows_that_are_too_many(reads, runs):
    cells = torch.tensor([[cell == "1" for cell in row] for row in reads])
    assert [(run.start, run.stop) for run in runs_of(cells)] == runs
    assert rows_read(cells) == sum("1" in row[slice(*run)] and run[1] - run[0] for row in reads for run in runs)


def test_reading_some_goes_on_from_measured_parts_and_takes_rows(classes):
    net, samples = classes
    parts: list[np.ndarray] = []
    how = {"update": {"learning_rate": 0.1}, "read": READ, "engine": "loop"}
    whole = measure_influence(net, F.cross_entropy, samples, samples, on_chunk=parts.append, **how)
    rest = measure_influence(net, F.cross_entropy, samples, samples, measured=[parts[0][:2]], **how)
    tail = measure_influence(net, F.cross_entropy, samples, samples, rows=slice(4, 6), **how)
    xr.testing.assert_allclose(rest, whole)
    np.testing.assert_allclose(tail.values, whole.values[4:])


def test_a_rate_of_zero_changes_nothing_that_is_read(classes):
    net, samples = classes
    still = measure_influence(net, F.cross_entropy, samples, samples, read=READ, update={"learning_rate": 0.0})
    assert (still.values[READ] == 0).all()


def test_what_is_read_must_be_cells_of_the_array(classes):
    net, samples = classes
    nobody = READ.copy()
    nobody[3] = False
    for wrong, told in ((READ[:, :4], r"\(6, 4\)"), (READ.astype(int), "ndarray of int"), (nobody, "stimulus 3")):
        with pytest.raises(ConfigError, match=rf"read must be .*, got .*{told}"):
            measure_influence(net, F.cross_entropy, samples, samples, read=wrong)


def test_contexts_are_read_before_some_probes(classes):
    net, (inputs, targets) = classes
    shifts = [(inputs + 0.1 * i, targets) for i in range(6)]
    some = [(inputs[row] + 0.1 * i, targets[row]) for i, row in enumerate(map(torch.from_numpy, READ))]
    whole = measure_context(net, (inputs, targets), shifts)
    part = measure_context(net, (inputs, targets), some, read=READ)
    assert np.array_equal(np.isnan(part.values), ~READ)
    np.testing.assert_allclose(part.values[READ], whole.values[READ], atol=1e-6)


@pytest.mark.parametrize("readout", ["log_prob", ["log_prob", "log_odds"]])
@pytest.mark.parametrize("method", ["full", "lora", "prompt"])
def test_a_task_is_measured_on_what_it_is_read_on(language_model, tokenizer, method, readout):
    options = {"worlds": 4, "stimuli_per_world": 1}
    whole, some = (load_task("inheritance", elsewhere=n, **options) for n in (None, 2))
    update = {} if method == "prompt" else {"update": {"learning_rate": 0.05}}
    how = {"method": method, "readout": readout, **update}
    both = [measure_task(task, language_model, tokenizer, **how) for task in (whole, some)]
    expected, found = (array.transpose("stimulus", "probe", ...).values for array in both)
    assert np.isnan(found[~some.read]).all()
    np.testing.assert_allclose(found[some.read], expected[some.read], atol=2e-5)


def learner(task, rule="perfect"):
    """The array of a reference learner."""
    return imitate(annotate(np.zeros(task.relation.shape), task), rule)


def on(array: xr.DataArray, read: np.ndarray) -> xr.DataArray:
    """The array without the cells that are not read."""
    return array.assign_coords(read=(("stimulus", "probe"), read)).where(read)


@pytest.fixture(scope="module")
def task():
    """Worlds for verdicts."""
    return load_task("ontology", worlds=12, stimuli_per_world=2)


@pytest.mark.parametrize("rule", ["perfect", "bag_of_words", "format", "negation_blind", "symmetric"])
def test_findings_about_a_stimulus_own_world_are_those_of_the_whole_array_and_so_are_the_verdicts(task, rule):
    whole = learner(task, rule)
    some = on(whole, replace(task, elsewhere=Elsewhere(2, 0)).read)
    assert strength_of(some, "") == strength_of(whole, "")
    expected, found = judge(whole), judge(some)
    assert [one.outcome() for one in found] == [one.outcome() for one in expected]
    for one, other in zip(found, expected):
        for mine, theirs in zip(one.findings, other.findings, strict=True):
            if not mine.statistic.startswith(STAND_INS):
                assert (mine.effect, mine.low, mine.high) == pytest.approx(
                    (theirs.effect, theirs.low, theirs.high), nan_ok=True
                )


def test_a_statistic_of_stand_ins_is_right_on_average_over_all_draws():
    task = load_task("ontology", worlds=5, stimuli_per_world=2)
    whole = learner(task, "bag_of_words")
    worlds = [np.unique(samples.coords["world"], return_inverse=True)[1] for samples in (task.stimuli, task.probes)]

    def decay(array):
        return judge(array, "distance_decay")[0].findings[0].effect

    found = []
    for order in permutations(range(1, 5)):  # world 0 stands first on the circle
        at = np.array([0, *order])
        near = np.isin((at[:, None] - at[None, :]) % 5, (0, 1, 4))
        found.append(decay(on(whole, near[np.ix_(*worlds)])))
    assert np.ptp(found) > 0
    assert np.mean(found) == pytest.approx(decay(whole), abs=1e-9)


def test_a_stimulus_that_diverged_is_told_from_one_that_was_not_read(task):
    read = replace(task, elsewhere=Elsewhere(2, 0)).read
    some = on(learner(task), read)
    broken = some.copy(data=np.where(np.arange(len(some))[:, None] == 0, np.nan, some.values))
    first = some["stimulus_id"].values[0]
    assert first in prepare(some)["stimulus_id"].values and first not in prepare(broken)["stimulus_id"].values
    assert np.array_equal(np.isnan(prepare(some).values), unread(prepare(some)))


def test_less_a_neutral_stimulus_the_same_cells_are_read(task):
    some = on(learner(task), replace(task, elsewhere=Elsewhere(2, 0)).read)
    above = above_neutral(some)
    assert np.array_equal(np.isnan(above.values), unread(above))


def test_scores_of_any_origin_count_where_they_are_read():
    task = load_task("ontology", worlds=4, stimuli_per_world=1, elsewhere=2)
    scores = np.where(task.read, 1.0, np.nan)
    assert np.array_equal(annotate(scores, task)["read"].values, task.read)
    assert np.array_equal(np.isnan(annotate(np.ones(task.relation.shape), task).values), ~task.read)


def test_a_job_says_what_it_read_and_that_nothing_diverged(command):
    job = "model=learner model.rule=perfect dataset=ontology dataset.worlds=8 dataset.elsewhere=2 hydra.run.dir=job"
    done = command(lambda _: None, f"{job} desideratum=[logic,sparsity,distance_decay] tracker=none")
    assert done.code == 0, done.err
    result = open_job(Path("job"))
    array = result.influence.load()
    read = array["read"].values
    assert array.sizes["probe"] > read.sum(axis=1).max() and np.array_equal(
        np.isnan(array.values).all(axis=(0, 2, 4)), ~read
    )
    assert result.manifest.diverged == result.manifest.unmoved == 0


@pytest.mark.parametrize("number", [0, 1])
def test_fewer_than_two_other_worlds_are_refused(number):
    with pytest.raises(ConfigError, match=r"dataset.elsewhere must be at least 2, got"):
        load_task("ontology", worlds=5, elsewhere=number)
