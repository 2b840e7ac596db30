"""What a task's strength is read on, against the contrasts of its clozes written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eif_lab import load_task
from eif_lab.data.contrast import less_control
from eif_lab.data.task import Task
from eif_lab.library.strength import gauge_of


@pytest.fixture(scope="module", params=["ontology", "compositionality", "negation"])
def task(request) -> Task:
    return load_task(request.param, worlds=4, stimuli_per_world=2)


def test_strength_is_the_stated_clozes_less_their_controls(task):
    """The probes are few, and an influence of any size on the others changes nothing."""
    gauge = gauge_of(task)
    influence = np.random.default_rng(0).normal(size=task.relation.shape)
    above = less_control(influence, task.foils)
    direct = [(task.relation[i] == "direct") & np.isfinite(above[i]) for i in gauge.rows]
    expected = [above[i, stated].mean() for i, stated in zip(gauge.rows, direct)]
    columns = [task.probes.ids.tolist().index(name) for name in gauge.probes.ids]
    read = influence[np.ix_(gauge.rows, columns)]
    assert gauge.yardstick is not None and gauge.yardstick.weights.shape == read.shape
    np.testing.assert_allclose((gauge.yardstick.weights * read).sum(1), expected)
    assert gauge.yardstick.taught(read).strength == pytest.approx(np.median(expected))
    assert len(columns) <= len(task.probes) / 2


def test_all_that_any_training_does_to_words_and_forms_cancels(task):
    """A constant for each sentence, and one for all sentences about each subject, adds no strength."""
    gauge = gauge_of(task)
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(gauge.probes.prompts))}
    by_prompt = np.random.default_rng(1).normal(size=len(prompts))
    row = np.array([by_prompt[prompts[prompt]] for prompt in gauge.probes.prompts])
    assert gauge.yardstick.taught(np.tile(row, (len(gauge.rows), 1))).strength == pytest.approx(0, abs=1e-9)


def test_what_is_to_be_gained_is_that_of_stated_clozes_and_a_stimulus_is_held_to_its_whole_statement(task):
    gauge = gauge_of(task)
    whole = np.array([not prompt for prompt in gauge.probes.prompts])
    assert not gauge.yardstick.stated[:, whole].any() and np.allclose(gauge.yardstick.stated.sum(1), 1)
    assert [gauge.probes.targets[int(row.argmax())] for row in gauge.yardstick.own] == list(gauge.stimuli.targets)
    assert not gauge.yardstick.own[:, ~whole].any()


def test_neutral_stimuli_are_left_out_and_a_draw_is_taken(task):
    neutral = np.flatnonzero(task.stimuli.coords["neutral"])
    assert not set(gauge_of(task).rows) & set(neutral) and len(gauge_of(task).rows) == 8
    few = gauge_of(task, 3)
    assert len(few.rows) == len(few.stimuli) == 3 and set(few.rows) < set(gauge_of(task).rows)
    np.testing.assert_array_equal(few.rows, gauge_of(task, 3).rows)


def test_a_stimulus_without_a_cloze_that_has_foils_is_left_out_where_others_have_one(task):
    lacking = {
        name: np.where(np.arange(len(columns))[:, None] == 0, -1, columns) for name, columns in task.foils.items()
    }
    gauge = gauge_of(replace(task, foils=lacking))
    assert gauge.rows.tolist() == gauge_of(task).rows.tolist()[1:]


def test_without_foils_a_stimulus_is_measured_by_itself(task):
    gauge = gauge_of(replace(task, foils={}))
    assert gauge.yardstick is None and gauge.probes.targets == gauge.stimuli.targets and len(gauge.rows) == 8
    images = gauge_of(load_task("digits", stimuli=6, probes=4), 5)
    assert images.yardstick is None and len(images.stimuli) == 5
