"""Several desiderata at once, what is selected from the array, verdicts and configs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from annotated_arrays import ORACLES, images, worlds
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from eif_lab.desiderata.evaluation import adjust, evaluate_all, judge, withhold_if_untaught
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.strength import TAUGHT_ALPHA
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.desiderata.verdict import ABSENT, INCONCLUSIVE, REVERSED, SATISFIED, SHORT, VIOLATED, Finding, Verdict
from eif_lab.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "conf" / "desideratum"


def measured(array):
    """The array as last step, first seed and ``log_prob`` among others that would be judged otherwise."""
    other = array.copy(data=np.random.default_rng(0).normal(size=array.shape))
    readouts = xr.concat([other, array], dim=xr.Variable("readout", ["prob", "log_prob"]), coords="minimal")
    steps = xr.concat([readouts * 0 + 1, readouts], dim=xr.Variable("step", [0, 1]), coords="minimal")
    seeds = xr.concat([steps, steps * 0 + 1], dim=xr.Variable("seed", [0, 1]), coords="minimal")
    return seeds.transpose("seed", "stimulus", "step", "probe", "readout")


def test_evaluate_all_judges_the_first_seed_the_last_step_and_log_prob():
    desiderata = {"symmetry": Symmetry(least_units=3)}
    [verdict], reasons = evaluate_all(measured(images(0)), desiderata, seed=4)
    assert repr(verdict) == repr(Symmetry(least_units=3).evaluate(images(0), 4))
    assert reasons == {}
    [other], _ = evaluate_all(measured(images(0)), desiderata, seed=4, readout="prob")
    assert other.findings[0].effect != verdict.findings[0].effect


def test_evaluate_all_lists_what_does_not_apply_and_goes_on():
    desiderata = {name: make() for name, (make, _) in ORACLES.items()}
    verdicts, reasons = evaluate_all(images(0), desiderata, seed=0)
    assert [verdict.desideratum for verdict in verdicts] == ["symmetry", "distance_decay", "sparsity"]
    assert set(reasons) == {"noise_invariance", "logic", "negation"}
    assert "perturbation=noise" in reasons["noise_invariance"]


def test_verdict_goes_by_the_name_it_was_asked_for_under():
    [verdict], _ = evaluate_all(worlds(0), {"by_kind": Logic()}, seed=0)
    assert verdict.desideratum == "by_kind"


def test_unknown_readout_says_which_there_are():
    with pytest.raises(
        ConfigError, match=r"readout must be one of log_prob, prob, got 'log_porb'\. Did you mean log_prob"
    ):
        evaluate_all(measured(images(0)), {}, seed=0, readout="log_porb")


@pytest.mark.parametrize("name", ORACLES)
def test_config_holds_every_option_with_its_default(name):
    config = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    target = get_class(config.pop("_target_"))
    assert target is ORACLES[name][0]
    assert config == dataclasses.asdict(target())
    OmegaConf.merge(OmegaConf.structured(target), config)


def test_chosen_desiderata_stand_side_by_side():
    with initialize_config_dir(str(CONFIGS.parent), version_base="1.3"):
        chosen = compose(overrides=[f"+desideratum=[{','.join(ORACLES)}]", "desideratum.symmetry.threshold=0.9"])
    built = {name: instantiate(config) for name, config in chosen.desideratum.items()}
    assert built.keys() == ORACLES.keys()
    assert built["symmetry"].threshold == 0.9


# Verdicts


def one(p_value, p_violated, effect=0.8, low=0.6, high=0.9, chance=0.5, threshold=0.5):
    return Finding("reach", effect, low, high, p_value, 10, "worlds", threshold, p_violated, chance)


@pytest.mark.parametrize(
    ("finding", "outcome"),
    [
        (one(0.01, 0.99), SATISFIED),
        (one(0.20, 0.80), INCONCLUSIVE),
        (one(0.99, 0.01), VIOLATED),
        (one(float("nan"), float("nan")), INCONCLUSIVE),
        (one(0.01, 0.99, effect=float("nan")), INCONCLUSIVE),
    ],
)
def test_finding_is_satisfied_or_violated_by_a_p_value_of_its_own_for_each(finding, outcome):
    assert finding.verdict(0.05) == outcome


def test_corrected_p_values_stand_in_for_a_findings_own():
    assert one(0.01, 0.99).verdict(0.05, p_value=0.2) == INCONCLUSIVE
    assert one(0.99, 0.01).verdict(0.05, p_violated=0.2) == INCONCLUSIVE


@pytest.mark.parametrize(
    ("interval", "how"), [((0.1, 0.3), REVERSED), ((0.4, 0.55), ABSENT), ((0.55, 0.7), SHORT), ((np.nan,) * 2, ABSENT)]
)
def test_finding_fails_below_at_or_above_chance(interval, how):
    assert one(0.9, 0.01, low=interval[0], high=interval[1], threshold=0.8).how == how


def test_verdict_is_satisfied_only_if_every_finding_is():
    good, poor = one(0.01, 0.99), one(0.03, 0.97)
    verdict = Verdict("logic", "", [good, poor], 0.05)
    assert verdict.outcome() == SATISFIED and verdict.p_value == 0.03
    assert Verdict("logic", "", [good, one(0.06, 0.94)], 0.05).outcome() == INCONCLUSIVE
    assert np.isnan(Verdict("logic", "", [good, one(np.nan, np.nan)], 0.05).p_value)


def test_verdict_is_violated_by_its_worst_finding_times_the_number_of_findings():
    good, bad, worse = one(0.01, 0.99), one(0.97, 0.03), one(0.98, 0.02)
    assert Verdict("logic", "", [good, bad], 0.05).outcome() == INCONCLUSIVE
    verdict = Verdict("logic", "", [good, worse], 0.05)
    assert verdict.outcome() == VIOLATED and verdict.p_violated == 0.04 and verdict.failing is worse
    # A finding without p-values counts among those that might have failed.
    assert Verdict("logic", "", [one(np.nan, np.nan), worse], 0.05).p_violated == 0.04


def test_corrected_p_values_stand_in_for_a_verdicts_own():
    satisfied, violated = (Verdict("logic", "", [finding], 0.05) for finding in (one(0.01, 0.99), one(0.99, 0.01)))
    assert (satisfied.outcome(0.04), satisfied.outcome(0.06)) == (SATISFIED, INCONCLUSIVE)
    assert (violated.outcome(None, 0.04), violated.outcome(None, 0.06)) == (VIOLATED, INCONCLUSIVE)


def test_line_of_a_violated_verdict_says_how_and_has_the_p_value_of_that_with_what_it_is_against():
    verdict = Verdict("logic", "", [one(0.01, 0.99), one(0.998, 0.002, 0.6, 0.55, 0.65, threshold=0.9)], 0.05)
    shown = "logic: violated: short (reach 0.6 [0.55, 0.65], chance 0.5, p = 0.002 against 0.9 or more, 10 worlds)"
    assert str(verdict) == shown and repr([verdict]) == f"[<{shown}>]"


def test_line_of_an_inconclusive_verdict_is_about_the_finding_that_is_undecided():
    verdict = Verdict("logic", "", [one(0.01, 0.99), one(0.4, 0.6, 0.52, 0.4, 0.6)], 0.05)
    assert str(verdict).startswith(
        "logic: inconclusive (reach 0.52 [0.4, 0.6], chance 0.5, p = 0.4 against 0.5 or less"
    )


@pytest.mark.parametrize(
    ("p", "p_violated", "clause"),
    [
        (1e-7, 1.0, "satisfied (reach 0.6 [0.5, 0.7], chance 0.5, p <= 0.001 against 0.1 or less, 10 worlds)"),
        (0.3, 0.7, "inconclusive (reach 0.6 [0.5, 0.7], chance 0.5, p = 0.3 against 0.1 or less, 10 worlds)"),
        (np.nan, np.nan, "inconclusive (reach 0.6 [0.5, 0.7], chance 0.5, no p-value, 10 worlds)"),
    ],
)
def test_a_p_value_is_told_with_its_null_hypothesis_and_a_tiny_one_by_a_bound(p, p_violated, clause):
    assert str(Verdict("logic", "", [one(p, p_violated, 0.6, 0.5, 0.7, threshold=0.1)], 0.05)) == f"logic: {clause}"


# What was not taught


def test_arrays_whose_stimuli_were_taught_keep_their_verdicts():
    verdicts = judge(worlds(0, count=12), ["logic", "distance_decay"])
    assert [verdict.note for verdict in verdicts] == ["", ""]
    assert np.isfinite([verdict.p_value for verdict in verdicts]).all()


@pytest.mark.parametrize("taught", [{"direct": 0.0}, {"direct": 0.8, "foil": 0.8}])
def test_nothing_is_satisfied_or_violated_where_strength_is_not_clearly_above_zero(taught):
    """Whether nothing moved, or the form of the sentence did, which no foil differs in."""
    array = worlds(1, count=12, entailed=0.7, **taught)
    verdicts = judge(array, ["logic", "distance_decay", "sparsity"])
    assert [verdict.outcome() for verdict in verdicts] == [INCONCLUSIVE] * len(verdicts)
    for verdict in verdicts:
        assert "strength is not clearly above zero" in verdict.note and "12 worlds" in verdict.note
        assert np.isnan([verdict.p_value, verdict.p_violated]).all()
        assert np.isfinite(verdict.findings[0].effect)


def test_strength_is_clear_at_a_level_of_its_own():
    verdicts = [Verdict("logic", "", [one(0.01, 0.99)], 0.05)]
    clear, unclear = (
        Finding("strength", 1.0, 0.01, 2.0, share * TAUGHT_ALPHA, 9, "worlds", 0.0) for share in (0.9, 1.1)
    )
    assert withhold_if_untaught(verdicts, clear) == verdicts
    [withheld] = withhold_if_untaught(verdicts, unclear)
    assert np.isnan(withheld.p_value)
    assert "1 [0.01, 2], p 0.0055 > 0.005, 9 worlds" in withheld.note  # its interval leaves zero out
    undefined = Finding("strength", np.nan, np.nan, np.nan, np.nan, 1, "worlds", 0.0)
    assert np.isnan(withhold_if_untaught(verdicts, undefined)[0].p_value)


def test_correction_passes_over_what_has_no_p_value():
    adjusted = adjust([0.01, np.nan, 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04]) and np.isnan(adjusted[1])
