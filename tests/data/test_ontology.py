"""The ontology domain: its words, its labels against forward chaining, its distances against breadth-first search."""

import pydoc_data.topics
import re
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eif_lab.data.names import ONSETS, invent, words
from eif_lab.data.ontology import RULES, Fact, Ontology, World, counterpart, derivable, document, probes_of
from eif_lab.data.task import RELATIONS
from eif_lab.schema import ConfigError

SENTENCE = re.compile(r"a (\w+) (is|can)( not)?(?: a)? (\w+)(?: \.)?")


def read(prompt, target):
    """(fact, negated), from the text alone."""
    subject, verb, negated, last = SENTENCE.fullmatch(prompt + target).groups()
    return Fact(subject, verb, last), bool(negated)


@pytest.fixture(scope="module")
def task():
    return Ontology().load(0)


@pytest.fixture(scope="module")
def claims(task):
    return [read(p, t) for p, t in zip(task.probes.prompts, task.probes.targets)]


@pytest.fixture(scope="module")
def statements(task):
    return [read("", t)[0] for t in task.stimuli.targets]


@pytest.fixture(scope="module")
def background(task):
    return [read("", t)[0] for t in task.background.facts.targets]


def test_no_english_word_begins_like_an_invented_one():
    english = set(re.findall(r"(?<![\w.`:_])[a-z]{3,}(?![\w.`_])", " ".join(pydoc_data.topics.topics.values())))
    assert len(english) > 2000
    everyday = [word for word in english if word.startswith(ONSETS)]
    assert not everyday
    assert not english.intersection(words(unseen=True) + words(unseen=False))


def test_datasets_and_pretraining_share_no_word():
    assert not set(words(unseen=True)) & set(words(unseen=False))
    spoken = {word for seed in range(20) for line in document(np.random.default_rng(seed)) for word in line.split()}
    assert not spoken & set(words(unseen=True))
    assert spoken & set(words(unseen=False))


@pytest.mark.parametrize("seed", [0, 1])
def test_every_concept_of_a_dataset_has_its_own_word(seed):
    task = Ontology(worlds=5, stimuli_per_world=6).load(seed)
    told = " ".join((*task.background.facts.targets, *task.stimuli.targets)).split()
    assert len(set(told) - {"a", "is", "can", "."}) == 5 * (2 + 4 + 4 + 6)


def test_seeds_draw_other_words_and_repeat_themselves():
    one, again, other = (Ontology(worlds=2).load(seed) for seed in (3, 3, 4))
    assert one.probes.targets == again.probes.targets
    assert np.array_equal(one.relation, again.relation)
    assert not set(one.stimuli.targets) & set(other.stimuli.targets)


def test_entailed_needs_the_stimulus_and_follows_with_it(task, claims, statements, background):
    for i, j in np.argwhere((task.relation == "entailed") | (task.relation == "contradicted")):
        fact, negated = claims[j]
        assert negated == (task.relation[i, j] == "contradicted")
        assert derivable([*background, statements[i]], RULES, fact)
        assert not derivable(background, RULES, fact)


def test_whatever_follows_from_a_stimulus_is_labelled_so(claims):
    small = Ontology(worlds=2, stimuli_per_world=5).load(1)
    known = [read("", t)[0] for t in small.background.facts.targets]
    asked = [read(p, t) for p, t in zip(small.probes.prompts, small.probes.targets)]
    for i, target in enumerate(small.stimuli.targets):
        stated = read("", target)[0]
        for j, (fact, negated) in enumerate(asked):
            follows = derivable([*known, stated], RULES, fact)
            expected = {(True, True): {"contradicted"}, (True, False): {"entailed", "direct"}}
            allowed = expected.get((follows, negated), {"foil", "converse", "unrelated"})
            assert small.relation[i, j] in allowed
            assert (small.relation[i, j] == "direct") == (fact == stated and not negated)


def test_converse_turns_the_statement_round(task, claims, statements):
    cells = np.argwhere(task.relation == "converse")
    assert len(cells) == len(task.stimuli)
    for i, j in cells:
        assert claims[j] == (Fact(statements[i].object, "is", statements[i].subject), False)


def test_foils_claim_another_conclusion_of_the_name_or_the_same_of_another_name(task, claims, statements, background):
    kinds = {fact.subject: fact.object for fact in background if fact.verb == "is"}
    names = {fact.subject for fact in statements}
    for i, j in np.argwhere(task.relation == "foil"):
        fact, negated = claims[j]
        stated = statements[i]
        follows = {stated.object, kinds[stated.object]} | {
            known.object for known in background if known.subject == stated.object
        }
        assert not negated
        assert fact.subject in names
        assert (fact.subject == stated.subject) != (fact.object in follows)


def test_matched_foils_differ_in_the_last_word_and_hang_under_the_other_superkind(task, claims, background):
    superkind = {fact.subject: fact.object for fact in background if fact.verb == "is"}
    able = {fact.object: fact.subject for fact in background if fact.verb == "can"}
    assert np.array_equal(task.foil >= 0, task.relation == "entailed")
    for i, j in np.argwhere(task.foil >= 0):
        k = task.foil[i, j]
        assert task.relation[i, k] == "foil"
        assert task.probes.prompts[j] == task.probes.prompts[k]
        (entailed, _), (foil, _) = claims[j], claims[k]
        above = [superkind[able[f.object]] if f.verb == "can" else f.object for f in (entailed, foil)]
        assert above[0] != above[1]


def test_counterparts_make_each_ability_as_often_a_foil_as_a_consequence():
    assert sorted(map(counterpart, range(4))) == [0, 1, 2, 3]
    task = Ontology(worlds=3, stimuli_per_world=8).load(0)
    own = np.arange(len(task.stimuli))
    entailed = sorted(task.probes.targets[own_j] for i in own for own_j in np.flatnonzero(task.foil[i] >= 0))
    foils = sorted(task.probes.targets[j] for i in own for j in task.foil[i][task.foil[i] >= 0])
    assert entailed == foils


def test_statements_are_stimuli_and_probes_with_one_id(task):
    whole = task.probes.coords["form"] == "statement"
    assert np.array_equal(task.probes.ids[whole], task.stimuli.ids)
    assert tuple(np.array(task.probes.targets)[whole]) == task.stimuli.targets
    assert len(set(task.probes.ids)) == len(task.probes)
    assert len(task.stimuli) >= 60 and len(task.probes) >= 60
    assert set(task.relation.ravel()) == set(RELATIONS)


def test_negations_say_the_opposite_of_the_stimulus(task, statements):
    for target, stated in zip(task.stimuli.coords["negation"], statements):
        assert read("", str(target)) == (stated, True)


def walk(edges, start, goal):
    """Edges on the shortest way, by breadth-first search."""
    near = {}
    for a, b in edges:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    steps, queue = {start: 0}, deque([start])
    while queue:
        here = queue.popleft()
        for there in near[here] - steps.keys():
            steps[there] = steps[here] + 1
            queue.append(there)
    return steps[goal]


def test_distance_is_the_walk_in_the_graph_of_all_worlds():
    task = Ontology(worlds=2, stimuli_per_world=5).load(2)
    facts = [read("", t)[0] for t in (*task.background.facts.targets, *task.stimuli.targets)]
    worlds = [*task.background.facts.coords["world"], *task.stimuli.coords["world"]]
    edges = [(fact.subject, fact.object) for fact in facts]
    below = {fact.subject for fact in facts if fact.verb == "is"}
    tops = {
        (fact.object, world) for fact, world in zip(facts, worlds) if fact.verb == "is" and fact.object not in below
    }
    assert len(tops) == 4
    edges += [(top, f"world {world}") for top, world in tops] + [("root", f"world {world}") for world in set(worlds)]
    claims = [read(p, t)[0] for p, t in zip(task.probes.prompts, task.probes.targets)]
    for i, target in enumerate(task.stimuli.targets):
        stated = read("", target)[0]
        for j, claim in enumerate(claims):
            expected = walk(edges, stated.subject, claim.subject) + walk(edges, stated.object, claim.object)
            assert task.distances["path"][i, j] == expected


def test_distance_between_statements_is_a_metric_table(task):
    whole = np.flatnonzero(task.probes.coords["form"] == "statement")
    square = task.distances["path"][:, whole]
    assert np.array_equal(square, square.T)
    assert np.array_equal(square == 0, np.eye(len(square), dtype=bool))
    assert (square[:, None, :] <= square[:, :, None] + square[None, :, :]).all()


def test_every_question_is_a_taught_fact_with_one_right_candidate(task, background):
    questions = task.background.questions
    for prompt, target, candidates in zip(questions.prompts, questions.targets, task.background.candidates):
        assert f"{prompt}{target} ." in task.background.facts.targets
        right = [c for c in candidates if derivable(background, (), read(prompt, c)[0])]
        assert right == [target]
        assert len(set(candidates)) == len(candidates) >= 4


def test_documents_draw_only_what_their_facts_allow():
    for seed in range(10):
        lines = [read("", line) for line in document(np.random.default_rng(seed))]
        stated = [fact for fact, _ in lines[: next(i for i, line in enumerate(lines) if line in lines[:i])]]
        told = {fact for fact, negated in lines if not negated}
        denied = {fact for fact, negated in lines if negated}
        asserted = [fact for fact in told if not derivable(told - {fact}, RULES, fact)]
        assert all(derivable(asserted, RULES, fact) for fact in told)
        assert not any(derivable(told, RULES, fact) for fact in denied)
        assert stated


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8), st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_derivable_equals_reachability(edges, start, goal):
    facts = [Fact(str(a), "is", str(b)) for a, b in edges]
    reach = {b for a, b in edges if a == start}
    for _ in range(6):
        reach |= {b for a, b in edges if a in reach}
    assert derivable(facts, RULES, Fact(str(start), "is", str(goal))) == (goal in reach)


def test_more_worlds_than_words_are_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"dataset.worlds must be at most \d+ .*got 100000") as caught:
        Ontology(worlds=100_000).load(0)
    assert "\n" not in str(caught.value)
    most = int(re.search(r"at most (\d+)", str(caught.value))[1])
    drawn = invent(most * 15, np.random.default_rng(0), unseen=True)
    assert len(set(drawn)) == len(drawn)


def test_probes_of_a_name_keep_entailed_before_foil():
    world = World.build([f"word{i}" for i in range(14)])
    relations = [probe.relation(world, 1) for probe in probes_of(world, 1)]
    assert relations == ["direct", "direct", "entailed", "foil", "entailed", "foil", "contradicted", "converse"]
