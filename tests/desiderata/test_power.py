"""The stated power: the simulated arrays are what they are said to be, and the effect found is enough and no more."""

import re

import numpy as np
import pytest
from scipy import stats

from eif_lab.commands.power import main
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.negation import Negation
from eif_lab.desiderata.power import FAMILIES, GOAL, auc_of, power, simulate, smallest_effect


def test_simulated_array_without_noise_has_the_influence_it_was_given_and_nothing_else():
    array = simulate({"entailed": 0.5, "contradicted": -0.3}, noise=0.0, worlds=4, stimuli=2)
    logic, negation = (judge(resamples=99).evaluate(array, 0) for judge in (Logic, Negation))
    assert {found.statistic: found.effect for found in logic.findings} == pytest.approx(
        {"auc": 1.0, "reach": 0.5, "converse_held": 1.0}
    )
    assert {found.statistic: found.effect for found in negation.findings} == pytest.approx(
        {"contradicted_auc": 1.0, "gap": 0.8}
    )
    assert {found.n for found in logic.findings} == {4}
    assert negation.details["negated_pairs"] == logic.details["matched_pairs"] == 8
    assert np.count_nonzero(array.values) == 3 * 8


def test_auc_of_an_effect_is_the_share_of_simulated_pairs_in_which_it_shows():
    random = np.random.default_rng(0)
    above = 0.4 + 0.5 * random.normal(size=100_000) > 0.5 * random.normal(size=100_000)
    assert auc_of(0.4, 0.5) == pytest.approx(above.mean(), abs=5 * above.std() / np.sqrt(len(above)))


@pytest.mark.parametrize("name", FAMILIES)
def test_effect_found_has_the_power_stated_in_new_arrays_at_the_default_size(name):
    draws, noise = 20, 0.3
    effect = smallest_effect(name, noise, worlds=20, draws=draws, steps=4)
    again = power(name, effect, noise, worlds=20, draws=draws, first_seed=1000)
    # By chance 80 % were found there and fewer are here: a power of 70 % gives less than this in one of 1,000 runs.
    assert again * draws >= stats.binom.ppf(0.001, draws, GOAL - 0.1)
    assert power(name, effect / 3, noise, worlds=20, draws=draws) < GOAL


def test_more_worlds_find_what_fewer_miss_and_too_few_find_nothing_at_all():
    few, many = (power("logic", 0.5, 0.5, worlds=worlds, draws=15) for worlds in (6, 24))
    assert few < many
    assert np.isnan(smallest_effect("logic", 0.5, worlds=3, draws=8, steps=1))


def test_command_prints_an_effect_for_each_desideratum_and_noise(capsys):
    assert main(["--worlds", "8", "--draws", "1", "--noise", "0.1", "0.2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [(name, noise) for name, noise, *_ in rows] == [(name, f"{x}") for name in FAMILIES for x in (0.1, 0.2)]
    expected = smallest_effect("logic", 0.1, worlds=8, draws=1)
    assert rows[0][2:] == [f"{expected:.2f}", f"{auc_of(expected, 0.1):.2f}"]


def test_command_refuses_what_cannot_be_simulated_in_one_line(capsys):
    assert main(["--worlds", "1"]) == 2
    assert re.fullmatch(r"--worlds must be at least 2, got 1\. Try 2\.\n", capsys.readouterr().err)
