"""Probes with candidates: every engine against one pass per candidate, and the laws of the comparing readouts."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eif_lab import measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.batch import Batch
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading import passes as reading
from eif_lab.influence.reading.passes import passes_of
from eif_lab.influence.resources.precision import LostToRounding, must_be_resolved
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.update import Update
from eif_lab.methods import named_method
from eif_lab.models.language.causal_lm import token_loss
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.readout import named_readouts

ALL = ["log_prob", "log_odds", "prob", "rank", "correct"]
UPDATE = {"learning_rate": 0.05, "momentum": 0.9, "steps": 2}

PROBES = (
    # prompt, then the target and its other candidates, in token ids
    ((1, 5, 6, 7), ((20, 21), (22, 23), (24, 20))),
    ((1,), ((5, 9, 12, 30),)),
    ((1, 5, 8), ((20,), (9,), (31, 32, 33, 34))),
    ((1, 9, 6), ((7, 5), (31,))),
    ((1, 30, 6, 8), ((7,),)),
)


def tensors(*texts):
    """(inputs, targets) of texts, each a prompt and what is learnt or scored after it."""
    longest = max(len(prompt) + len(answer) for prompt, answer in texts) - 1
    inputs, targets = torch.zeros(len(texts), longest, dtype=torch.long), torch.full((len(texts), longest), -100)
    for row, (prompt, answer) in enumerate(texts):
        whole = torch.tensor([*prompt, *answer])
        inputs[row, : len(whole) - 1] = whole[:-1]
        targets[row, len(prompt) - 1 : len(whole) - 1] = whole[len(prompt) :]
    return inputs, targets


@pytest.fixture
def stimuli():
    return tensors(((1,), (5, 6, 7, 20, 21)), ((1,), (9, 6, 30, 7)), ((1, 5), (8, 20, 2)))


@pytest.fixture
def rows():
    """Every candidate of every probe, and which probe each is of."""
    probe = torch.tensor([number for number, (_, answers) in enumerate(PROBES) for _ in answers])
    return tensors(*((prompt, answer) for prompt, answers in PROBES for answer in answers)), probe


def token_logs(model, prompt, answer):
    """Of each of the answer's tokens its log-probability and how many tokens are likelier, read alone."""
    logs = model(torch.tensor([[*prompt, *answer]]))[0].log_softmax(-1)[len(prompt) - 1 : -1]
    own = [one[token] for one, token in zip(logs, answer)]
    return own, [int((one > mine).sum()) for one, mine in zip(logs, own)]


def read_by_hand(model):
    """The definitions, probe by probe and candidate by candidate: a mapping of each readout for each probe."""
    read = []
    for prompt, (target, *candidates) in PROBES:
        own, likelier = token_logs(model, prompt, target)
        log_prob = sum(own)
        others = [token_logs(model, prompt, one)[0] for one in candidates]
        if others:
            as_long = all(len(one) == len(own) for one in others)
            score, *rest = [sum(one) if as_long else sum(one) / len(one) for one in (own, *others)]
            log_odds = score - torch.stack(rest).exp().sum().log()
            rank = sum(bool(one > score) for one in rest)
        else:
            log_odds = log_prob - torch.log1p(-log_prob.exp())
            rank = max(likelier)
        read.append(
            {"log_prob": log_prob, "log_odds": log_odds, "prob": log_prob.exp(), "rank": rank, "correct": rank == 0}
        )
    return read


def influence_by_hand(model, stimuli, method):
    """(stimuli, probes, readouts), with torch's own optimizer on a copy per stimulus."""
    ready = named_method(method).apply(copy.deepcopy(model), 0).eval()

    def table(one):
        with torch.no_grad():
            return np.array([[float(read[name]) for name in ALL] for read in read_by_hand(one)])

    signs = np.array([-1 if name == "rank" else 1 for name in ALL])
    before, influence = table(ready), []
    for inputs, targets in zip(*stimuli):
        own = copy.deepcopy(ready)
        recipe = {("lr" if name == "learning_rate" else name): v for name, v in UPDATE.items() if name != "steps"}
        optimizer = torch.optim.SGD([p for p in own.parameters() if p.requires_grad], **recipe)
        for _ in range(UPDATE["steps"]):
            optimizer.zero_grad()
            token_loss(own(inputs[None]), targets[None]).backward()
            optimizer.step()
        influence.append((table(own) - before) * signs)
    return np.stack(influence)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_engine_equals_one_forward_pass_per_candidate(phi3, stimuli, rows, method):
    expected = influence_by_hand(phi3, stimuli, method)
    assert (np.abs(expected).max((0, 1)) > 1e-4).all()
    for engine in ("reference", "stacked", "factored"):
        array = measure_influence(
            phi3, token_loss, stimuli, rows[0], candidates=rows[1], readout=ALL, method=method, update=UPDATE,
            engine=engine,
        )  # fmt: skip
        assert array.shape == expected.shape and array.attrs["engine"] == engine
        np.testing.assert_allclose(array, expected, atol=1e-9, err_msg=engine)


def test_first_order_is_the_inner_product_with_the_gradient_of_the_log_odds(phi3, stimuli, rows):
    asked = ["log_odds", "prob", "log_prob"]
    parameters = list(phi3.parameters())

    def gradient(value):
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])

    taught = torch.stack([gradient(token_loss(phi3(x[None]), y[None])) for x, y in zip(*stimuli)])
    read = torch.stack([torch.stack([gradient(one[name]) for name in asked]) for one in read_by_hand(phi3)])
    expected = -0.05 * torch.einsum("id,jrd->ijr", taught, read)
    array = measure_influence(
        phi3, token_loss, stimuli, rows[0], candidates=rows[1], readout=asked, update={"learning_rate": 0.05},
        engine="first_order",
    )  # fmt: skip
    np.testing.assert_allclose(array, expected, atol=1e-10)


def base_readings(passes):
    """What the probes read at the base."""
    return passes.probe_readings(passes.base_rows)


def problem_of(model, stimuli, inputs, targets, candidates):
    members = torch.arange(len(stimuli[1]))[:, None]
    return Problem(
        Snapshot(model, 2**30), token_loss, Batch(*stimuli), members, Batch(inputs, targets), named_readouts(ALL),
        Update(learning_rate=0.1), candidates=Candidates.of(candidates, targets),
    )  # fmt: skip


def test_neither_the_order_of_rows_nor_the_passes_they_are_read_in_matter(phi3, stimuli, rows, monkeypatch):
    (inputs, targets), candidates = rows

    def read(order):
        return base_readings(passes_of(problem_of(phi3, stimuli, inputs[order], targets[order], candidates[order])))

    as_given = torch.arange(len(candidates))
    expected = read(as_given)
    first = [int((candidates == probe).nonzero()[0]) for probe in range(len(PROBES))]
    rest = [row for row in range(len(candidates)) if row not in first]
    others = torch.tensor(first[::-1] + rest[::-1])
    torch.testing.assert_close(read(others), expected, rtol=0, atol=1e-12)
    for size in (1, 2, 4):
        monkeypatch.setattr(reading, "rows_at_once", lambda *_, size=size: size)
        torch.testing.assert_close(read(others), expected, rtol=0, atol=1e-12)


def test_what_the_candidates_of_a_probe_share_is_computed_once(phi3, stimuli):
    prompt = (1, *range(10, 30))
    answers = ((30, 31), (30, 32), (5, 6, 7), (8,), (9, 8))
    inputs, targets = tensors(*((prompt, answer) for answer in answers))
    texts = [row[: int((own >= 0).nonzero().max()) + 1].tolist() for row, own in zip(inputs, targets)]
    prefixes = {tuple(text[: end + 1]) for text in texts for end in range(len(text))}
    passes = passes_of(problem_of(phi3, stimuli, inputs, targets, torch.zeros(len(answers), dtype=torch.long)))
    plain = passes.probe_readings(passes.read_plainly(phi3))
    tokens = []
    embed = phi3.language_model.get_input_embeddings()
    handle = embed.register_forward_hook(lambda module, arguments, output: tokens.append(arguments[0].numel()))
    shared = base_readings(passes)
    handle.remove()
    assert tokens[-1] == len(prefixes) < inputs.numel() / 3
    torch.testing.assert_close(shared, plain, rtol=0, atol=1e-12)


ENGINES = ["reference", "stacked", "factored", "first_order"]


@pytest.mark.parametrize(
    ("engine", "perturbation"), [*((engine, "include") for engine in ENGINES), ("factored", "exclude")]
)
def test_all_classes_as_candidates_are_what_no_candidates_are(net, batch, engine, perturbation):
    """Three classes, each a row with its own copy of the image."""
    classes = (batch[1][:, None] + torch.arange(3)) % 3
    rows = (batch[0].repeat_interleave(3, 0), classes.flatten())
    readout = ["log_odds", "log_prob", "prob"] if engine == "first_order" else ALL
    same = {
        "readout": readout,
        "update": {"learning_rate": 0.05, "steps": 2},
        "engine": engine,
        "perturbation": perturbation,
        "trajectory": True,
    }
    expected = measure_influence(net, F.cross_entropy, batch, batch, **same)
    array = measure_influence(
        net, F.cross_entropy, batch, rows, candidates=torch.arange(7).repeat_interleave(3), **same
    )
    assert array.dims == expected.dims and np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(array, expected, atol=1e-10)


def test_no_row_is_computed_that_no_readout_looks_at(net, batch):
    inputs, labels = batch
    rows = (inputs.repeat_interleave(3, 0), ((labels[:, None] + torch.arange(3)) % 3).flatten())
    candidates = torch.arange(7).repeat_interleave(3)
    plain = measure_influence(net, F.cross_entropy, batch, batch, readout=["log_prob", "prob"])
    seen = []

    def own(output, target):
        seen.append(len(output))
        return output.gather(1, target[:, None])[:, 0]

    array = measure_influence(
        net, F.cross_entropy, batch, rows, candidates=candidates, readout=["log_prob", "prob", own]
    )
    assert max(seen) == 7
    np.testing.assert_array_equal(array[..., :2], plain)
    numbers_alone = measure_influence(net, F.cross_entropy, batch, batch, candidates=np.arange(7), readout=ALL)
    np.testing.assert_array_equal(numbers_alone, measure_influence(net, F.cross_entropy, batch, batch, readout=ALL))


def test_a_function_of_ones_own_reads_the_target_whatever_its_name(net, batch):
    inputs, labels = batch
    rows = (inputs.repeat_interleave(2, 0), torch.stack([labels, (labels + 1) % 3], 1).flatten())

    def rank(output, target):
        return output.gather(1, target[:, None])[:, 0] ** 2

    asked = {"readout": [rank, "log_odds"], "update": {"learning_rate": 0.05}}
    array = measure_influence(
        net, F.cross_entropy, batch, rows, candidates=torch.arange(7).repeat_interleave(2), **asked
    )
    plain = measure_influence(net, F.cross_entropy, batch, batch, **asked)
    np.testing.assert_allclose(array.sel(readout="rank"), plain.sel(readout="rank"), atol=1e-12)
    assert not np.allclose(array.sel(readout="log_odds"), plain.sel(readout="log_odds"))


def test_a_candidate_that_is_not_a_number_makes_its_own_probe_nan():
    choices = Candidates.of(torch.tensor([0, 0, 0, 1, 1]), torch.zeros(5, dtype=torch.long))
    logs = torch.tensor([-1.0, -2.0, math.nan, -0.5, -3.0])
    read = choices.probe_readings(logs[:, None], named_readouts(["log_odds", "rank", "correct"]))
    assert read[0].isnan().all()
    torch.testing.assert_close(read[1], torch.tensor([2.5, 0.0, 1.0]))


def test_log_odds_are_held_to_the_rounding_of_the_log_probabilities_that_they_are_of():
    """Two answers at -500 nat each: their difference, near zero, is no more precise than they are."""
    model = nn.Linear(1, 3)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([0.0, -500.0, -500.5]))
    probes = Batch(torch.ones(2, 1), torch.tensor([1, 2]))
    problem = Problem(
        Snapshot(model, 2**30), F.cross_entropy, probes, torch.arange(2)[:, None], probes, named_readouts("log_odds"),
        Update(learning_rate=0.1), candidates=Candidates.of(torch.tensor([0, 0]), probes.targets),
    )  # fmt: skip
    passes = passes_of(problem)
    before = base_readings(passes)
    assert before.abs().max() < 1
    with pytest.raises(LostToRounding, match="large enough to move log_odds by more than rounding does"):
        must_be_resolved(problem, passes, before, torch.tensor([1e-5]))
    must_be_resolved(problem, passes, before, torch.tensor([1e-2]))


MISTAKES = {
    "real": (torch.zeros(6), r"candidates must be one whole number for each of the 6 rows .* got 'torch.float32 of"),
    "too few": (torch.zeros(5, dtype=torch.long), r"candidates must be one whole number for .* of shape \(5,\)'"),
    "a gap": (torch.tensor([0, 0, 2, 2, 3, 3]), r"candidates must number the probes .* got 'no row of probe 1'\. Try "),
    "negative": (torch.tensor([-1, -1, 0, 0, 1, 1]), r"candidates must number the probes .* got 'no row of probe 0'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_candidates_that_name_no_probes_are_refused_in_one_line(net, batch, mistake):
    given, message = MISTAKES[mistake]
    rows = (batch[0][:6], batch[1][:6])
    with pytest.raises(ConfigError, match=message) as caught:
        measure_influence(net, F.cross_entropy, batch, rows, candidates=given, readout="rank")
    assert "\n" not in str(caught.value)


def test_a_candidate_without_a_scored_token_is_refused(phi3, stimuli, rows):
    (inputs, targets), candidates = rows
    targets = targets.clone()
    targets[2] = -100
    with pytest.raises(ConfigError, match=r"^candidates must have a token to score each, got 'none in row 2'\.$"):
        measure_influence(phi3, token_loss, stimuli, (inputs, targets), candidates=candidates)
