"""Readouts against their definitions, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from eif_lab.influence.readout import READOUTS, named_readouts
from eif_lab.schema import ConfigError


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
