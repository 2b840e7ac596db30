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

from eif_lab.desiderata.evaluation import evaluate_all
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED, Finding, Verdict
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
    desiderata = {"symmetry": Symmetry(resamples=49)}
    [verdict], reasons = evaluate_all(measured(images(0)), desiderata, seed=4)
    assert repr(verdict) == repr(Symmetry(resamples=49).evaluate(images(0), 4))
    assert reasons == {}
    [other], _ = evaluate_all(measured(images(0)), desiderata, seed=4, readout="prob")
    assert other.findings[0].effect != verdict.findings[0].effect


def test_evaluate_all_lists_what_does_not_apply_and_goes_on():
    desiderata = {name: make(resamples=49) for name, (make, _) in ORACLES.items()}
    verdicts, reasons = evaluate_all(images(0), desiderata, seed=0)
    assert [verdict.desideratum for verdict in verdicts] == ["symmetry", "distance_decay", "sparsity"]
    assert set(reasons) == {"noise_invariance", "logic", "negation"}
    assert "perturbation=noise" in reasons["noise_invariance"]


def test_verdict_goes_by_the_name_it_was_asked_for_under():
    [verdict], _ = evaluate_all(worlds(0), {"by_kind": Logic(resamples=19)}, seed=0)
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


def one(effect, low, high, p_value):
    return Finding("auc", effect, low, high, p_value, 10, "worlds", 0.5)


@pytest.mark.parametrize(
    ("finding", "outcome"),
    [
        (one(0.8, 0.6, 0.9, 0.01), SATISFIED),
        (one(0.8, 0.6, 0.9, 0.20), INCONCLUSIVE),
        (one(0.8, 0.4, 0.9, 0.01), INCONCLUSIVE),
        (one(0.3, 0.1, 0.5, 0.90), VIOLATED),
        (one(0.8, 0.6, float("inf"), 0.01), INCONCLUSIVE),
        (one(0.8, 0.6, 0.9, float("nan")), INCONCLUSIVE),
    ],
)
def test_finding_follows_the_rule(finding, outcome):
    assert finding.verdict(0.05) == outcome


def test_verdict_is_satisfied_only_if_every_finding_is_and_violated_if_any_is():
    good, poor, bad = one(0.8, 0.6, 0.9, 0.01), one(0.6, 0.4, 0.9, 0.03), one(0.2, 0.1, 0.3, 0.9)

    def outcome(*findings):
        return Verdict("logic", "", findings, 0.05).outcome()

    assert outcome(good, good) == SATISFIED
    assert outcome(good, poor) == INCONCLUSIVE
    assert outcome(poor, bad) == VIOLATED
    assert Verdict("logic", "", [good, poor], 0.05).p_value == 0.03


def test_corrected_p_value_can_take_a_verdict_away_but_not_give_one():
    verdict = Verdict("logic", "", [one(0.8, 0.6, 0.9, 0.01)], 0.05)
    assert (verdict.outcome(0.04), verdict.outcome(0.06)) == (SATISFIED, INCONCLUSIVE)
    assert Verdict("logic", "", [one(0.8, 0.6, 0.9, 0.2)], 0.05).outcome(0.001) == INCONCLUSIVE
