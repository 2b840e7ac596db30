"""The knowledge domains: every label proved by another prover, from the texts alone; foils, distances, words."""

import dataclasses
import itertools
import pydoc_data.topics
import re
from collections import Counter, deque
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from eif_lab.data.task import FOILS, RELATIONS
from eif_lab.data.worlds.distances import path_lengths, word_overlap
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.data.worlds.logic import Fact, Rule, closure
from eif_lab.data.worlds.names import ONSETS, OPENINGS, invent, words
from eif_lab.data.worlds.world import Case, Contrast, World
from eif_lab.errors import ConfigError
from eif_lab.options import choice

NAMES = [domain.__module__.rpartition(".")[2] for domain in DOMAINS]
CASES = 4


@pytest.fixture(scope="module", params=DOMAINS, ids=NAMES)
def domain(request):
    return request.param


@pytest.fixture(scope="module")
def task(domain):
    return domain(worlds=3, stimuli_per_world=CASES).load(0)


def read(domain, text, wording=0):
    """Every fact that the text may state, from its words alone."""
    found = []
    for relation, ways in domain.wordings.items():
        pattern = (
            re.escape(ways[wording]).replace(re.escape("{subject}"), r"(\w+)").replace(re.escape("{not}"), "( not)?")
        )
        match = re.fullmatch(rf"{pattern} (\w+(?: \w+)?)(?: \.)?", text)
        if match:
            denied = "{not}" in ways[wording] and bool(match[re.compile(pattern).groups])
            objects = match[match.lastindex]
            subject = match[1] if "{subject}" in ways[wording].split("{not}")[0] or not denied else match[2]
            if (relation == "both") == (" " in objects):
                found.append(Fact(subject, relation, objects, denied))
    return found


def said(domain, text):
    """The facts of a text of one or several sentences."""
    sentences = [f"{one} ." for one in text.strip().removesuffix(" .").split(" . ")]
    return [fact for sentence in sentences for [fact] in [read(domain, sentence)]]


@cache
def everything(domain, facts):
    """All that follows, by putting every word into every place of every rule until nothing new comes."""
    known = set(facts)
    vocabulary = sorted({word for fact in known for word in (fact.subject, fact.object)})
    while True:
        new = set()
        for rule in domain.rules:
            marks = sorted({m for p in rule.premises for m in (p.subject, p.object) if m.startswith("?")})
            for drawn in itertools.product(vocabulary, repeat=len(marks)):
                put = dict(zip(marks, drawn)).get
                if all(
                    (put(p.subject, p.subject), p.relation, put(p.object, p.object), p.negated) in known
                    for p in rule.premises
                ):
                    end = rule.conclusion
                    objects = " ".join(put(word, word) for word in end.object.split())
                    new.add(Fact(put(end.subject, end.subject), end.relation, objects, end.negated))
        if new <= known:
            return known
        known |= new


@cache
def follows(domain, facts):
    """All that follows, by the project's own prover, which `everything` holds to account."""
    return closure(facts, domain.rules)


def derivable(domain, facts, goal):
    """Whether a fact follows from others."""
    return goal in everything(domain, frozenset(facts))


def test_every_label_is_proved_from_the_texts(domain):
    task = domain(worlds=1, stimuli_per_world=CASES).load(1)
    background = [] if task.background is None else [f for t in task.background.facts.targets for f in said(domain, t)]
    clozes = [j for j, prompt in enumerate(task.probes.prompts) if prompt]
    claims = {j: read(domain, task.probes.prompts[j] + task.probes.targets[j])[0] for j in clozes}
    proved = Counter()
    for i, text in enumerate(task.stimuli.targets):
        stated = said(domain, text)
        for j, claim in claims.items():
            relation = task.relation[i, j]
            proven = derivable(domain, [*background, *stated], claim)
            against = derivable(domain, [*background, *stated], claim.denied())
            if relation == "direct":
                assert claim in stated
            elif relation == "entailed":
                assert proven and not derivable(domain, background, claim) and claim not in stated
            elif relation == "contradicted":
                assert against and not derivable(domain, background, claim.denied())
            elif relation in ("foil", "converse"):
                assert not proven and not against
            else:
                assert not proven or derivable(domain, background, claim)
            proved[relation] += 1
    assert proved["entailed"] >= 1 and proved["contradicted"] >= 1 and proved["foil"] >= CASES


def test_all_that_is_probed_has_three_foils_among_the_probes_that_cross_subject_and_object(domain, task):
    clozes = task.probes.coords["form"] == "cloze"
    related = np.isin(task.relation, ["direct", "entailed", "contradicted", "converse"]) & clozes
    assert tuple(task.foils) == FOILS
    for places in task.foils.values():
        assert ((places >= 0) == related).all()
    for i, j in np.argwhere(related):
        crossed = [j, *(places[i, j] for places in task.foils.values())]
        assert {task.probes.coords["world"][k] for k in crossed} == {task.stimuli.coords["world"][i]}
        assert [task.relation[i, k] for k in crossed[1:]] == ["foil"] * 3
        texts = [task.probes.prompts[k] + task.probes.targets[k] for k in crossed]
        probe, subject, words, neither = (fact for text in texts for fact in said(domain, text))
        assert subject == probe._replace(object=subject.object) != probe
        assert words == probe._replace(subject=words.subject) != probe
        assert neither == words._replace(object=subject.object)


def world_of(domain, cases):
    """A world with so many cases."""
    return domain.world(invent(domain.size(cases), np.random.default_rng(cases), unseen=True), cases)


def contrasts(world):
    """All that its cases probe, with the foils."""
    return [contrast for case in world.cases for contrast in case.contrasts]


@pytest.mark.parametrize("cases", range(1, 7))
def test_no_foil_follows_or_is_denied_with_any_number_of_cases_even_if_all_are_stated(domain, cases):
    world = world_of(domain, cases)
    known = everything(domain, frozenset((*world.background, *(fact for case in world.cases for fact in case.facts))))
    for contrast in contrasts(world):
        assert len(set(contrast.facts)) == 4
        for foil in contrast.foils.values():
            assert foil not in known and foil.denied() not in known


@pytest.mark.parametrize("cases", range(1, 7))
def test_what_is_probed_is_nearer_than_its_foils(domain, cases):
    world = world_of(domain, cases)
    for case in world.cases:
        for contrast in case.contrasts:
            [[own, *foils]] = path_lengths([world], [(0, case.facts)], [(0, (fact,)) for fact in contrast.facts])
            assert own < min(foils)


def slots(fact):
    """Each word of a fact, with the place where it stands."""
    words = enumerate((fact.subject, *fact.object.split()))
    return [(word, (fact.relation, number)) for number, word in words]


def types(domain):
    """A name for the type of every place in a fact: places that a rule fills with the same thing are of one type."""
    facts = [(*rule.premises, rule.conclusion) for rule in domain.rules]
    one_type = {place: place for rule in facts for fact in rule for _, place in slots(fact)}
    for rule in facts:
        first = {}
        for word, place in (slot for fact in rule for slot in slots(fact)):
            old, new = one_type[place], one_type[first.setdefault(word, place)]
            one_type = {key: new if value == old else value for key, value in one_type.items()}
    return one_type


def test_no_word_of_a_world_stands_in_places_of_two_types(domain):
    world, type_of = world_of(domain, CASES), types(domain)
    every = [fact for contrast in contrasts(world) for fact in contrast.facts]
    if domain.__name__ == "Reversal":  # that a realm is the king of its king can only be said of a realm
        converse = {fact for case in world.cases for contrast in case.converse for fact in contrast.facts}
        every = [fact for fact in every if fact not in converse]
    found = {}
    for word, place in (slot for fact in (*world.background, *every) for slot in slots(fact)):
        found.setdefault(word, set()).add(type_of[place])
    assert all(len(of_word) == 1 for of_word in found.values())


def test_in_causality_two_buttons_light_each_lamp_and_a_lit_lamp_is_no_sign_of_either():
    world = world_of(DOMAINS[NAMES.index("causality")], CASES)
    causes = Counter(fact.object for fact in world.background)
    assert set(causes.values()) == {2}
    for case in (case for case in world.cases if case.converse):
        [lamp] = {fact.object for fact in case.facts}
        asked = {contrast.fact.object for contrast in case.converse}
        assert asked == {fact.subject for fact in world.background if fact.object == lamp}
        others = {contrast.other_object for contrast in case.converse}
        assert len(others) == 2 and lamp not in {fact.object for fact in world.background if fact.subject in others}


def test_in_transitivity_two_may_be_as_tall_so_that_the_converse_is_not_denied():
    domain = DOMAINS[NAMES.index("transitivity")]
    level = [Fact("zlake", "reaches", "vruto"), Fact("vruto", "reaches", "zlake")]
    assert not any(fact.negated for fact in everything(domain, frozenset(level)))


def test_in_inheritance_the_converse_is_upwards_and_its_foils_are_of_another_superkind():
    world = world_of(DOMAINS[NAMES.index("inheritance")], CASES)
    above = {fact.subject: fact.object for fact in world.background}
    for case in world.cases:
        [stated], [converse] = case.stated, case.converse
        assert converse.fact == stated.fact._replace(subject=above[stated.fact.subject])
        assert sum(kind == converse.fact.subject for kind in above.values()) == 2  # another kind that is not so
        assert converse.other_subject == above[stated.other_subject] != converse.fact.subject
        [follows] = case.follows
        assert above[follows.fact.subject] == stated.fact.subject
        assert above[follows.other_subject] == stated.other_subject


def test_in_compositionality_foils_exchange_the_property_and_the_shape_in_turn():
    exchanged = Counter()
    for case in world_of(DOMAINS[NAMES.index("compositionality")], CASES).cases:
        [follows] = case.follows
        one, other = follows.fact.object.split(), follows.other_object.split()
        exchanged[tuple(a == b for a, b in zip(one, other))] += 1
    assert exchanged == {(True, False): CASES / 2, (False, True): CASES / 2}


def test_there_are_words_for_forty_worlds(domain):
    for seed in range(3):
        assert len(domain(worlds=40).draw_worlds(seed)) == 40


def test_word_overlap_is_that_of_the_foils_that_exchange_one_part(task):
    shares = []
    for i, j in np.argwhere(task.relation == "entailed"):
        for name in ("same_subject", "same_words"):
            pair = (j, task.foils[name][i, j])
            one, other = (Counter((task.probes.prompts[x] + task.probes.targets[x]).split()) for x in pair)
            shares.append((one & other).total() / (one | other).total())
    assert word_overlap(task) == pytest.approx(np.mean(shares))
    assert word_overlap(task) >= 0.5


def test_every_stimulus_has_its_own_direct_probe_and_a_world_one_neutral_statement(domain, task):
    neutral = task.stimuli.coords["neutral"]
    assert neutral.sum() == 3
    assert set(task.relation[neutral].ravel()) == {"unrelated"}
    told = " ".join((*task.probes.prompts, *task.probes.targets)).split()
    for text in np.array(task.stimuli.targets)[neutral]:
        assert {word for word in text.split() if word.startswith(ONSETS)}.isdisjoint(told)
    whole = task.probes.coords["form"] == "statement"
    assert list(task.probes.ids[whole]) == list(task.stimuli.ids[~neutral])
    assert len(set(task.probes.ids)) == len(task.probes)
    assert set(task.relation.ravel()) <= set(RELATIONS)
    assert ((task.relation[~neutral] == "direct").sum(axis=1) >= 2).all()


def test_other_wordings_say_the_same_and_the_negation_the_opposite(domain, task):
    for i, text in enumerate(task.stimuli.targets):
        stated = said(domain, text)
        assert said(domain, str(task.stimuli.coords["negation"][i])) == [fact.denied() for fact in stated]
        for n in (1, 2):
            other = str(task.stimuli.coords[f"wording_{n}"][i])
            assert other == " ".join(domain.sentence(fact, n) for fact in stated)
            assert other != text
    assert (
        domain(worlds=1, wording=2).load(0).stimuli.targets[0]
        == domain(worlds=1).load(0).stimuli.coords["wording_2"][0]
    )


def test_negated_probes_name_what_they_negate(domain, task):
    linked = 0
    for j, name in enumerate(task.probes.coords["negates"]):
        if not task.probes.prompts[j]:
            assert name == ""
            continue
        [claim] = read(domain, task.probes.prompts[j] + task.probes.targets[j])
        assert bool(name) == claim.negated
        if name:
            assert read(domain, str(name).replace(" |", "")) == [claim.denied()]
            linked += name in task.probes.ids
    assert linked


def test_candidates_hold_the_answer_and_nothing_else_that_is_true(domain, task):
    known = [] if task.background is None else [f for t in task.background.facts.targets for f in said(domain, t)]
    for j, (prompt, target, candidates) in enumerate(
        zip(task.probes.prompts, task.probes.targets, task.probes.candidates)
    ):
        if not prompt:
            assert candidates == ()
            continue
        assert candidates[0] == target and len(set(candidates)) == len(candidates) >= 2
        for own in np.flatnonzero(task.relation[:, j] == "entailed"):
            true = follows(domain, (*known, *said(domain, task.stimuli.targets[own])))
            assert [c for c in candidates if read(domain, prompt + c)[0] in true] == [target]
    for prompt, target, candidates in (
        []
        if task.background is None
        else zip(
            task.background.questions.prompts, task.background.questions.targets, task.background.questions.candidates
        )
    ):
        assert f"{prompt}{target} ." in task.background.facts.targets
        assert [c for c in candidates if read(domain, prompt + c)[0] in follows(domain, tuple(known))] == [target]


def walk(edges, start, goal):
    """Edges on the shortest way, by breadth-first search; None where there is none."""
    near = {}
    for a, b in edges:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    steps, queue = {start: 0}, deque([start])
    while queue:
        here = queue.popleft()
        for there in near.get(here, set()) - steps.keys():
            steps[there] = steps[here] + 1
            queue.append(there)
    return steps.get(goal)


@pytest.mark.parametrize("name", ["ontology", "transitivity"])
def test_distance_is_the_walk_in_the_graph_of_facts_below_one_root(name):
    domain = DOMAINS[NAMES.index(name)]
    task = domain(worlds=2, stimuli_per_world=3).load(2)
    real = ~task.stimuli.coords["neutral"]
    facts = [said(domain, t)[0] for t in (*task.background.facts.targets, *np.array(task.stimuli.targets)[real])]
    places = [*task.background.facts.coords["world"], *task.stimuli.coords["world"][real]]
    edges = [(fact.subject, fact.object) for fact in facts]
    relation = {"ontology": "is", "transitivity": "reaches"}[name]
    below = {fact.subject for fact in facts if fact.relation == relation}
    tops = {(f.object, world) for f, world in zip(facts, places) if f.relation == relation and f.object not in below}
    edges += [(top, f"world {w}") for top, w in tops] + [("root", f"world {w}") for w in set(places)]
    claims = [said(domain, p + t)[0] for p, t in zip(task.probes.prompts, task.probes.targets)]
    joined = {word for edge in edges for word in edge}
    asked = {(word, w) for fact, w in zip(claims, task.probes.coords["world"]) for word in (fact.subject, fact.object)}
    edges += [(word, f"world {w}") for word, w in asked if word not in joined]
    for i in np.flatnonzero(real):
        [stated] = said(domain, task.stimuli.targets[i])
        for j, claim in enumerate(claims):
            expected = walk(edges, stated.subject, claim.subject) + walk(edges, stated.object, claim.object)
            assert task.distances["path"][i, j] == expected


def test_the_square_view_has_each_statement_and_each_denied_consequence_on_both_sides(domain):
    task = domain(worlds=2, stimuli_per_world=CASES, view="statements").load(0)
    assert list(task.stimuli.ids) == list(task.probes.ids)
    assert (np.diagonal(task.relation) == "direct").all() and (task.relation == "direct").sum() == len(task.stimuli)
    assert np.array_equal(task.distances["path"], task.distances["path"].T)
    worlds = task.stimuli.coords["world"]
    assert (task.relation[worlds[:, None] != worlds[None, :]] == "unrelated").all()
    background = [] if task.background is None else [f for t in task.background.facts.targets for f in said(domain, t)]
    claims = [said(domain, text)[0] for text in task.stimuli.targets]
    mine = [f for f, w in zip(background, task.background.facts.coords["world"]) if w == 0] if background else []
    first = np.flatnonzero(worlds == 0)
    for i, j in itertools.product(first, first):
        rest = [fact for fact in mine if fact != claims[i]]
        proven = derivable(domain, [*mine, claims[i]], claims[j]) and not derivable(domain, rest, claims[j])
        assert (task.relation[i, j] in ("entailed", "direct")) == proven
    assert (task.relation == "contradicted").any()
    assert (task.relation == "entailed").any() or domain.__name__ == "Compositionality"  # there it takes two to entail


def test_the_view_of_retention_asks_what_is_known_beside_the_probes(domain, task):
    retention = domain(worlds=3, stimuli_per_world=CASES, view="retention")
    if task.background is None:
        with pytest.raises(ConfigError, match=r"dataset\.view must be probes or statements where nothing is known"):
            retention.load(0)
        return
    seen, first = retention.load(0), len(task.probes)
    assert list(seen.probes.ids[:first]) == list(task.probes.ids)
    assert np.array_equal(seen.relation[:, :first], task.relation)
    assert all(np.array_equal(seen.foils[name][:, :first], places) for name, places in task.foils.items())
    asked, questions = seen.probes.take(range(first, len(seen.probes))), task.background.questions
    assert list(zip(asked.prompts, asked.targets)) == list(dict.fromkeys(zip(questions.prompts, questions.targets)))
    assert all(target in candidates for target, candidates in zip(asked.targets, asked.candidates))
    assert set(asked.coords["form"]) == {"background"} and set(seen.relation[:, first:].flat) == {"unrelated"}


def test_background_in_context_is_read_before_every_probe(domain, task):
    spoken = domain(worlds=3, stimuli_per_world=CASES, background="context").load(0)
    assert spoken.background is None
    for j, prompt in enumerate(spoken.probes.prompts):
        world = spoken.probes.coords["world"][j]
        facts = (
            []
            if task.background is None
            else [t for t, w in zip(task.background.facts.targets, task.background.facts.coords["world"]) if w == world]
        )
        before = " ".join(facts)
        assert (prompt + spoken.probes.targets[j]).strip() == (
            f"{before} {task.probes.prompts[j]}{task.probes.targets[j]}".strip()
        )


def test_seeds_draw_other_words_and_repeat_themselves(domain):
    one, again, other = (domain(worlds=2).load(seed) for seed in (3, 3, 4))
    assert one.probes.targets == again.probes.targets
    assert np.array_equal(one.relation, again.relation)
    assert not set(one.stimuli.targets) & set(other.stimuli.targets)


def test_config_file_holds_the_defaults(domain):
    name = domain.__module__.rpartition(".")[2]
    given = yaml.safe_load((Path(__file__).parents[2] / "conf" / "dataset" / f"{name}.yaml").read_text())
    assert given.pop("_target_") == f"{domain.__module__}.{domain.__name__}"
    assert given == dataclasses.asdict(domain())


def test_no_english_word_begins_like_an_invented_one():
    english = set(re.findall(r"(?<![\w.`:_])[a-z]{3,}(?![\w.`_])", " ".join(pydoc_data.topics.topics.values())))
    assert len(english) > 2000
    assert not [word for word in english if word.startswith(ONSETS)]
    assert not english.intersection(words(unseen=True) + words(unseen=False))
    assert not set(words(unseen=True)) & set(words(unseen=False))


def test_no_two_concepts_share_a_word_and_within_a_world_no_two_share_a_first_syllable(domain):
    task = domain(worlds=6).load(0)
    worlds: dict[int, set[str]] = {}
    for texts in (task.probes, task.stimuli, *([task.background.facts] if task.background else [])):
        for prompt, target, world in zip(texts.prompts, texts.targets, texts.coords["world"]):
            worlds.setdefault(world, set()).update(w for w in (prompt + target).split() if w.startswith(ONSETS))
    for drawn in worlds.values():
        assert drawn <= set(words(unseen=True))
        assert len({next(o for o in OPENINGS if word.startswith(o)) for word in drawn}) == len(drawn)
    assert sum(map(len, worlds.values())) == len(set.union(*worlds.values()))


def test_more_worlds_than_words_are_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"dataset.worlds must be at most \d+ .*got 100000") as caught:
        DOMAINS[0](worlds=100_000).load(0)
    assert "\n" not in str(caught.value)
    most = int(re.search(r"at most (\d+)", str(caught.value))[1])
    assert len(words(unseen=True)) / 2 < most * DOMAINS[0].size(3) <= len(words(unseen=True))
    with pytest.raises(ConfigError, match=r"dataset.stimuli_per_world must leave a world enough words, got 1000"):
        DOMAINS[0](stimuli_per_world=1000).load(0)


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_invented_words_differ_in_their_first_syllables_and_avoid_what_is_taken(count, seed):
    taken = set(words(unseen=True)[::3])
    drawn = invent(count, np.random.default_rng(seed), unseen=True, used=taken)
    assert len({next(o for o in OPENINGS if word.startswith(o)) for word in drawn}) == count == len(drawn)
    assert not taken.intersection(drawn)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8), st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_chaining_equals_reachability(edges, start, goal):
    chain = Rule((Fact("?x", "is", "?y"), Fact("?y", "is", "?z")), Fact("?x", "is", "?z"))
    reach = {b for a, b in edges if a == start}
    for _ in range(6):
        reach |= {b for a, b in edges if a in reach}
    facts = [Fact(str(a), "is", str(b)) for a, b in edges]
    assert (Fact(str(start), "is", str(goal)) in closure(facts, [chain])) == (goal in reach)


@dataclasses.dataclass
class Friendship(DOMAINS[0]):
    """A domain that the package does not list."""

    rules: ClassVar = (Rule((Fact("?x", "likes", "?y"),), Fact("?y", "likes", "?x")),)
    wordings: ClassVar = {
        "likes": ("{subject} does{not} like", "{subject} is{not} fond of", "{subject} has{not} a liking for")
    }

    @classmethod
    def size(cls, cases):
        return 2 * cases + 2

    @classmethod
    def world(cls, words, cases):
        *names, first, second = words
        ones, others = names[::2], names[1::2]
        stated = [Fact(one, "likes", other) for one, other in zip(ones, others)]
        follows = [Fact(other, "likes", one) for one, other in zip(ones, others)]
        return World(
            background=(),
            cases=tuple(
                Case((Contrast(fact, first, second),), (Contrast(end, first, second),))
                for fact, end in zip(stated, follows)
            ),
            neutral=(Fact(first, "likes", second),),
            choices={"likes": tuple(names)},
            tops=tuple(names),
            rules=cls.rules,
        )


@pytest.mark.parametrize("view", ["probes", "statements"])
def test_a_domain_from_outside_is_a_dataset_without_an_edit(view):
    domain = choice("dataset", {"_target_": f"{__name__}.Friendship", "worlds": 2, "view": view})
    task = domain.load(0)
    assert type(domain) not in DOMAINS
    assert domain.kind == type(task.stimuli).kind == "text"
    for places in task.foils.values():
        assert set(task.relation[places >= 0].flat) <= {"direct", "entailed", "contradicted"}
    assert (task.relation == "entailed").any()


def test_a_task_of_texts_is_none_of_images(task):
    assert task.texts == (task.stimuli, task.probes)
    with pytest.raises(TypeError, match="a task of images was expected, got Texts"):
        _ = task.images
