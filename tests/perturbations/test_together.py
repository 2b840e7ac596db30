"""A stimulus in company: whose it is, how much of it, and that the row stays about the stimulus."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eif_lab import annotate, judge
from eif_lab.data.task import Texts
from eif_lab.data.worlds.implication import Implication
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.data.worlds.transitivity import Transitivity
from eif_lab.errors import ConfigError, NotApplicable
from eif_lab.jobs.inputs import without_worlds
from eif_lab.library.strength import gauge_of
from eif_lab.models.base import BaseModel
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder
from eif_lab.perturbations.together import Sample, Together, entailed_clozes, sets_about


@pytest.fixture(scope="module")
def ontology():
    return Ontology(worlds=8, stimuli_per_world=2).load(0)


def texts_of(task, row):
    samples = task.stimuli.samples
    return {samples.targets[k]: int(samples.coords["world"][k]) for k in np.flatnonzero(task.stimuli.members[row])}


@pytest.mark.parametrize("facts", [1, 3, 8])
def test_company_is_one_stimulus_each_of_other_worlds(ontology, facts):
    task = Together(facts=facts).apply(ontology, 0)
    assert len(task.stimuli) == 16
    stated = dict(zip(ontology.stimuli.targets, ontology.stimuli.coords["world"].tolist()))
    for row, (name, world) in enumerate(zip(ontology.stimuli.targets[:16], ontology.stimuli.coords["world"])):
        texts = texts_of(task, row)
        assert texts[name] == world and len(texts) == len(set(texts.values())) == facts
        assert all(stated[text] == w for text, w in texts.items())


def test_a_row_is_about_its_stimulus_whatever_its_company(ontology):
    alone, company = (Together(facts=facts).apply(ontology, 0) for facts in (1, 4))
    for task in (alone, company):
        np.testing.assert_array_equal(task.relation, ontology.relation[:16])
        np.testing.assert_array_equal(task.distances["path"], ontology.distances["path"][:16])
        described = task.stimuli.describe()
        assert described["id"].tolist() == ontology.stimuli.ids[:16].tolist()
        assert described["world"].tolist() == ontology.stimuli.coords["world"][:16].tolist()
    ours, theirs = gauge_of(company), gauge_of(ontology)
    np.testing.assert_array_equal(ours.yardstick.weights, theirs.yardstick.weights)
    assert ours.probes.ids.tolist() == theirs.probes.ids.tolist()


def test_retained_facts_are_a_share_of_the_set_and_of_other_worlds_background(ontology):
    task = Together(facts=2, retained=0.75).apply(ontology, 0)
    known = dict(zip(ontology.background.facts.targets, ontology.background.facts.coords["world"].tolist()))
    for row, world in enumerate(ontology.stimuli.coords["world"][:16].tolist()):
        retained = [w for text, w in texts_of(task, row).items() if text in known]
        assert len(retained) == 6 == 0.75 * len(texts_of(task, row)) and world not in retained


def test_rows_keep_their_company_whatever_else_stands_beside_them(ontology):
    plain = Together(facts=3).apply(ontology, 0)
    more = {"facts": 5}, {"retained": 0.5}, {"retained": 0.8}, {"consequences": "others"}, {"wordings": 2}
    for options in more:
        task = Together(**{"facts": 3, **options}).apply(ontology, 0)
        assert all(texts_of(plain, row).items() <= texts_of(task, row).items() for row in range(16))
    half, most = (Together(facts=3, retained=share).apply(ontology, 0) for share in (0.5, 0.8))
    assert all(texts_of(half, row).items() <= texts_of(most, row).items() for row in range(16))


def test_nothing_is_retained_of_worlds_that_were_left_out(ontology):
    task = Together(facts=3, retained=0.8).apply(without_worlds(ontology, [2, 5]), 0)
    facts = ontology.background.facts
    of_others = {text for text, world in zip(facts.targets, facts.coords["world"].tolist()) if world not in (2, 5)}
    known, retained = set(facts.targets), set(task.stimuli.samples.targets)
    assert retained & known and retained & known <= of_others


def test_a_question_is_asked_once():
    plain = Transitivity(worlds=3, stimuli_per_world=1).load(0)
    asks = entailed_clozes(plain)
    prompts = [{plain.probes.prompts[j] for j in np.flatnonzero(row)} for row in asks[:3]]
    assert all(len(some) < row.sum() for some, row in zip(prompts, asks))
    task = Together(consequences="all").apply(plain, 0)
    for row, some in enumerate(prompts):
        texts = texts_of(task, row)
        assert len(texts) == 1 + len(some)
        assert all(sum(text.startswith(prompt) for text in texts) >= 1 for prompt in some)


def test_a_row_keeps_its_own_world_and_name_where_another_says_the_same():
    own, other = Sample("", "A dax is a bird.", 0), Sample("", "A wug is a fish.", 1)
    sets = sets_about(np.array(["dax", "wug"]), [own, other], [[own, other], [other, own._replace(world=1)]])
    assert sets.describe()["world"].tolist() == [0, 1]
    twice = sets_about(np.array(["dax", "again"]), [own, own._replace(world=1)], [[own], [own]])
    assert (twice.samples.ids.tolist(), twice.samples.coords["world"].tolist()) == (["dax"], [0])


def test_other_wordings_stand_beside_every_stimulus(ontology):
    task = Together(facts=2, wordings=2).apply(ontology, 0)
    for row in range(16):
        texts = texts_of(task, row)
        assert len(texts) == 6
        for column in ("wording_1", "wording_2"):
            assert str(ontology.stimuli.coords[column][row]) in texts


@pytest.mark.parametrize("whose", ["others", "all"])
def test_consequences_are_sentences_that_follow_and_the_rows_own_only_where_all_have_theirs(ontology, whose):
    task = Together(facts=3, consequences=whose).apply(ontology, 0)
    prompts, targets = ontology.probes.prompts, ontology.probes.targets
    for row in range(16):
        follows = {
            f"{prompts[j]}{targets[j]} ." for j in np.flatnonzero(ontology.relation[row] == "entailed") if prompts[j]
        }
        texts = set(texts_of(task, row))
        assert (follows <= texts) if whose == "all" else not follows & texts
        assert len(texts) == 3 + len(follows) * (3 if whose == "all" else 2)


def test_stimuli_that_entail_nothing_are_left_out():
    plain = Implication(worlds=3, stimuli_per_world=4).load(0)
    entails = [(row == "entailed").any() for row in plain.relation]
    task = Together(consequences="all").apply(plain, 0)
    assert 0 < len(task.stimuli) == sum(entails) < 12


def test_logic_is_judged_by_world_and_nothing_else(ontology, caplog):
    caplog.set_level("INFO")
    task = Together(facts=3, retained=0.5).apply(ontology, 0)
    noise = np.random.default_rng(0).normal(scale=0.1, size=task.relation.shape)
    scores = np.isin(task.relation, ("direct", "entailed")) + noise
    verdicts = {one.desideratum: one for one in judge(annotate(scores, task))}
    assert set(verdicts) <= {"logic", "negation"} and verdicts["logic"].outcome() == "satisfied"
    assert verdicts["logic"].findings[0].n == 8


def test_answers_in_context_are_the_candidates_that_a_plain_loop_finds_likeliest(language_model, tokenizer, caplog):
    caplog.set_level("INFO")
    plain = Ontology(worlds=3, stimuli_per_world=1).load(0)
    encode = Encoder(tokenizer, 64)
    base = BaseModel(CausalLM(language_model.eval(), encode.pad), "small", encode, token_loss, torch.nn.Identity())
    asking = Together(consequences="all", answers="context")
    assert asking.asks_model and not Together(consequences="all").asks_model
    task, follows = asking.apply_with(plain, 0, base), asking.apply(plain, 0)
    assert task.stimuli.members.sum() == follows.stimuli.members.sum()
    samples, right = set(task.stimuli.samples.targets), 0
    for i, told in enumerate(plain.relation[:3]):
        for j in np.flatnonzero(told == "entailed"):
            prompt = plain.probes.prompts[j]
            scores = {}
            for answer in plain.probes.candidates[j] if prompt else ():
                ids, targets = encode(Texts((f"{plain.stimuli.targets[i]} {prompt}",), (answer,), np.array(["one"])))
                with torch.no_grad():
                    losses = torch.log_softmax(base.module(ids)[0], -1)
                scored = targets[0] != -100
                scores[answer] = float(losses[scored].gather(1, targets[0][scored][:, None]).mean())
            if prompt:
                best = max(scores, key=scores.get)
                assert f"{prompt}{best} ." in samples
                right += best == plain.probes.targets[j]
    assert f"in its context small draws {right} of 6 consequences rightly" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        ({"facts": 9}, ConfigError, r"^perturbation.facts must be at most the 8 worlds that there are, got 9"),
        (
            {"facts": 8, "retained": 0.99},
            ConfigError,
            r"^perturbation.retained must leave room for no more than the \d+ ",
        ),
        ({"retained": 0.1}, ConfigError, r"^perturbation.retained must be 0, or a share that is one fact beside 1 sam"),
        ({"wordings": 3}, NotApplicable, r"^perturbation=together needs stimuli with 3 other wordings, got none"),
    ],
)
def test_company_that_cannot_be_had_is_one_line(ontology, options, error, line):
    with pytest.raises(error, match=line):
        Together(**options).apply(ontology, 0)


def test_consequences_of_others_need_others():
    with pytest.raises(ConfigError, match=r"^perturbation.consequences must be none or all with perturbation.facts=1"):
        Together(consequences="others")
