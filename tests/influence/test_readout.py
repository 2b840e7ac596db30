"""Readouts against their definitions, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from eif_lab.errors import ConfigError
from eif_lab.readouts import classes
from eif_lab.readouts.readout import READOUTS, named_readouts


def test_readouts_of_classes_equal_their_definitions():
    output = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.arange(20) % 5
    for row, label, log_prob, prob, log_odds, rank, correct in zip(
        output,
        target,
        *(READOUTS[name](output, target) for name in ("log_prob", "prob", "log_odds", "rank", "correct")),
    ):
        p = math.exp(row[label]) / sum(math.exp(v) for v in row)
        assert math.isclose(log_prob, math.log(p)) and math.isclose(prob, p)
        assert math.isclose(log_odds, math.log(p / (1 - p)), abs_tol=1e-12)
        assert rank == sum(v > row[label] for v in row)
        assert correct == float(row.argmax() == label)


def test_readouts_of_sequences_multiply_over_the_targets_and_ignore_the_rest():
    output = torch.randn(6, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.randint(7, (6, 4), generator=torch.Generator().manual_seed(1))
    target[:, 0] = -100
    target[2, 3] = -100
    target[5] = output[5].argmax(-1)
    probabilities = output.softmax(-1)
    for i in range(6):
        places = [t for t in range(4) if target[i, t] >= 0]
        p = math.prod(probabilities[i, t, target[i, t]].item() for t in places)
        ranks = [(output[i, t] > output[i, t, target[i, t]]).sum().item() for t in places]
        read = {name: readout(output, target)[i].item() for name, readout in READOUTS.items()}
        assert math.isclose(read["log_prob"], math.log(p)) and math.isclose(read["prob"], p)
        assert math.isclose(read["log_odds"], math.log(p / (1 - p)))
        assert read["rank"] == max(ranks) and read["correct"] == float(max(ranks) == 0)
    assert READOUTS["correct"](output, target)[5] == 1


def test_log_odds_of_a_nearly_certain_target_are_finite_and_right():
    """In float32, against float64 logits so far apart that the probability itself rounds to one."""
    for gap in (5.0, 20.0, 60.0):
        output = torch.zeros(1, 2, 4)
        output[0, :, 1] = gap
        target = torch.tensor([[1, 1]])
        other = 3 * math.exp(-gap) / (1 + 3 * math.exp(-gap))
        p_not = 1 - (1 - other) ** 2 if gap < 10 else 2 * other
        odds = math.log1p(-p_not) - math.log(p_not)
        assert math.isclose(READOUTS["log_odds"](output, target).item(), odds, rel_tol=1e-5)
        assert math.isclose(READOUTS["log_odds"](output[:, 0], target[:, 0]).item(), gap - math.log(3), rel_tol=1e-5)


def test_every_readout_of_an_output_that_is_not_finite_is_nan():
    output = torch.tensor([[0.0, math.nan, 1.0], [math.inf, 0.0, 1.0], [0.0, 1.0, 2.0]])
    for name, readout in READOUTS.items():
        read = readout(output, torch.tensor([0, 0, 0]))
        assert read[:2].isnan().all() and read[2].isfinite(), name


def test_names_must_differ_and_there_must_be_one():
    with pytest.raises(ConfigError, match="readout must name at least one readout"):
        named_readouts([])
    with pytest.raises(ConfigError, match=r"readout must have a name for each, got '<lambda>'"):
        named_readouts([lambda o, t: o[:, 0], lambda o, t: o[:, 1]])


def test_half_precision_logits_are_read_in_float32():
    logits = torch.tensor([[10.0, 10.0625, -3.0]]).bfloat16()
    target = torch.tensor([0])
    assert READOUTS["log_prob"](logits, target).dtype == torch.float32
    np.testing.assert_allclose(
        READOUTS["log_prob"](logits, target), READOUTS["log_prob"](logits.double(), target), rtol=1e-6
    )


def test_unknown_readout_names_the_nearest():
    with pytest.raises(ConfigError, match=r"readout must be one of .*, got 'logprob'\. Did you mean log_prob\?"):
        named_readouts("logprob")


def test_own_function_goes_by_its_name():
    def margin(output, target):
        return output[:, 0] - output[:, 1]

    assert list(named_readouts([margin, "prob"])) == ["margin", "prob"]


def test_a_readout_of_another_package_goes_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "others_readouts.py").write_text(
        "from eif_lab.readouts.readout import Readout\n"
        "def margin(output, target):\n"
        "    return output[:, 0] - output[:, 1]\n"
        "LOSS = Readout('loss', lambda output, target: -output[:, 0], unit='nat', sign=-1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    named = named_readouts(["others_readouts.margin", "others_readouts.LOSS", "log_prob"])
    assert list(named) == ["others_readouts.margin", "others_readouts.LOSS", "log_prob"]
    margin, loss, _ = named.values()
    assert (margin.unit, margin.sign, margin.among) == ("", 1, None) and (loss.unit, loss.sign) == ("nat", -1)
    assert margin(torch.tensor([[3.0, 1.0]]), torch.tensor([0])).item() == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.margin", r"or a path that can be imported \(No module named 'no_such_package'\), got 'no_"),
        ("math.pi", r"readout must name a function \(output, targets\), got 'math.pi'"),
    ],
)
def test_a_path_that_names_no_readout_is_refused_in_one_line(path, message):
    with pytest.raises(ConfigError, match=message):
        named_readouts(path)


def test_a_named_readout_given_as_its_function_is_that_readout():
    assert named_readouts(classes.log_prob) == {"log_prob": READOUTS["log_prob"]}


@pytest.mark.parametrize("name", READOUTS)
def test_what_the_table_says_of_a_readout_holds(name):
    """Its sign, that it follows from the log-probability, that it counts, and what it is among candidates."""
    readout = READOUTS[name]
    output = torch.randn(30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.arange(30) % 5
    better = output.clone()
    better[torch.arange(30), target] += 10
    moved = readout.sign * (readout(better, target) - readout(output, target))
    assert (moved >= 0).all() and (moved > 0).any()
    read = readout(output, target)
    assert bool((read == read.round()).all()) == readout.is_count
    if readout.of_log_prob is not None:
        torch.testing.assert_close(readout.of_log_prob(classes.log_prob(output, target)), read)
    if readout.among is not None:  # all classes as candidates, the target's first
        others = output.log_softmax(-1)
        first = torch.cat([others.gather(1, target[:, None]), others], dim=1)
        is_other = torch.arange(6)[None] - 1 != target[:, None]
        is_other[:, 0] = False
        torch.testing.assert_close(readout.among(first, is_other), read)
