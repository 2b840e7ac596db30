"""The knowledge domains in English: grammar, names, labels that hold beside other worlds; invented words as ever."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import sha256
from itertools import combinations, islice

import numpy as np
import pytest
from test_knowledge import Friendship

from eif_lab.data.worlds import lexicon
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.data.worlds.logic import Fact, closure
from eif_lab.data.worlds.names import CLOSINGS, CLUSTERS, NAME_OPENINGS, PROPER, QUALITY, THING, new_names
from eif_lab.errors import ConfigError
from eif_lab.perturbations.template import Template

WORLDS = 40
PLACES = {
    "subject": r"(?P<s>\w+)",
    "a": r"an? (?P<s>\w+)",
    "not": r"(?P<n> not)?",
    "can": "can(?P<n>not)?",
    "lies": "(?:(?P<n>does not lie)|lies)",
}


@pytest.fixture(scope="module", params=DOMAINS, ids=lambda domain: domain.__name__)
def domain(request):
    return request.param


@pytest.fixture(scope="module")
def worlds(domain):
    return domain(worlds=WORLDS, language="english").draw_worlds(1)


def whole(texts):
    """Each text with its target, as it is read."""
    return [prompt + target for prompt, target in zip(texts.prompts, texts.targets)]


def mistakes(text, is_whole):
    """What is not as English is written; the last sentence of a cloze has no full stop."""
    *before, last = re.split(r"(?<=\.) ", text)
    ends = [r"\."] * len(before) + [r"\." if is_whole else ""]
    wrong = [
        sentence
        for sentence, end in zip((*before, last), ends)
        if not re.fullmatch(r"[A-Z][A-Za-z]*(?:,? [A-Za-z]+)+" + end, sentence)
    ]
    wrong += [
        f"{article} {word}"
        for article, word in re.findall(r"\b(an?) (\w+)", text, re.IGNORECASE)
        if (article.lower() == "an") != (word[0] in "aeiou")
    ]
    return wrong + [f"{one} twice" for one in re.findall(r"\b(\w+) \1\b", text, re.IGNORECASE)]


@pytest.mark.parametrize("wording", range(3))
def test_every_sentence_of_forty_worlds_is_written_as_english_is(domain, worlds, wording):
    facts = {fact for world in worlds for fact in facts_of(world)}
    facts |= {fact.denied() for world in worlds for fact in world.neutral}
    texts = [domain.sentence(fact, wording, "english") for fact in facts]
    assert {text: mistakes(text, is_whole=True) for text in texts if mistakes(text, is_whole=True)} == {}


@pytest.mark.parametrize("background", ["taught", "context", "known"])
def test_every_text_of_a_task_is_written_as_english_is(domain, background):
    task = domain(worlds=2, language="english", background=background).load(0)
    groups = [task.stimuli, task.probes]
    groups += [] if task.background is None else [task.background.facts, task.background.questions]
    for texts in groups:
        forms = texts.coords.get("form", ["statement" if not prompt else "cloze" for prompt in texts.prompts])
        wrong = {text: mistakes(text, form == "statement") for text, form in zip(whole(texts), forms)}
        assert {text: found for text, found in wrong.items() if found} == {}


def test_a_mistake_is_seen():
    for text in (
        "a dax is a bird.",
        "A dax is a owl.",
        "A dax  is a bird.",
        "A dax is a bird",
        "A dax is a bird .",
        "A a.",
    ):
        assert mistakes(text, is_whole=True)


def test_fifty_sentences_can_be_looked_through(domain):
    """`pytest -s` shows them: stimuli in three wordings, each with every probe that it has to do with."""
    task = domain(worlds=1, stimuli_per_world=4, language="english").load(1)
    shown = [f"\n{domain.__name__}"]
    for i in range(4):
        ways = (task.stimuli.targets[i], *(task.stimuli.coords[f"wording_{n}"][i] for n in (1, 2)))
        shown += [f"{'stimulus':14}{' / '.join(map(str, ways))}"]
        shown += [
            f"{task.relation[i, j]:14}{task.probes.prompts[j]} |{task.probes.targets[j]}"
            for j in np.flatnonzero(task.relation[i] != "unrelated")
        ]
    print("\n".join(shown))
    assert len(shown) >= 50


def is_name(word):
    """Whether a word is of the grammar of names."""
    stem, rest = word[:4].lower(), word[4:]
    return stem[:2] in NAME_OPENINGS and stem[2:] in CLUSTERS and rest in (*CLOSINGS, "ish")


def facts_of(world):
    """Every fact that a world says or asks for."""
    probed = [fact for case in world.cases for contrast in case.contrasts for fact in contrast.facts]
    return [*world.background, *world.neutral, *probed]


def words_of(world):
    return {word for fact in facts_of(world) for word in (fact.subject, *fact.object.split())}


def test_no_name_is_in_two_worlds_or_inside_another_word(worlds):
    names = [{word for word in words_of(world) if is_name(word)} for world in worlds]
    every = [name for of_world in names for name in of_world]
    assert len({name[:4].lower() for name in every}) == len(every) >= WORLDS * 4
    known = {word for world in worlds for word in words_of(world) if not is_name(word)}
    english = {word for world in worlds for way in world.choices for word in (way,)} | known
    assert not [(one, other) for one in every for other in (*every, *english) if one != other and one in other]


def test_what_is_known_beforehand_is_said_in_words_of_the_lexicon_alone(worlds):
    names = {word for world in worlds for fact in world.background for word in (fact.subject, *fact.object.split())}
    assert not [word for word in names if is_name(word)]


def test_names_of_all_sorts_are_told_apart_by_how_they_begin():
    names = new_names([THING, PROPER, QUALITY] * 8, np.random.default_rng(0))
    assert len({name[:2].lower() for name in names}) == len(names)
    assert [name[0].isupper() for name in names[:3]] == [False, True, False] and names[2].endswith("ish")
    with pytest.raises(IndexError):
        new_names([THING] * (len(NAME_OPENINGS) + 1), np.random.default_rng(0))


def read(domain, world, text, wording=0):
    """The fact that a text states, from its words alone; only the first letter's case is made up for."""
    names, found = {word.lower(): word for word in words_of(world)}, []
    for relation, ways in domain.english.items():
        pattern = re.sub(r"\\\{(\w+)\\\}", lambda place: PLACES[place[1]], re.escape(ways[wording]))
        match = re.fullmatch(rf"(?i:{pattern}) (?P<o>\w+(?: \w+)?)\.?", text)
        if match and (relation == "both") == (" " in match["o"]):
            subject = names.get(match["s"].lower(), match["s"])
            found.append(Fact(subject, relation, match["o"], bool(match.groupdict().get("n"))))
    return found


@pytest.mark.parametrize("wording", range(3))
def test_each_text_states_the_fact_that_it_was_made_of(domain, worlds, wording):
    for world in worlds[:5]:
        for fact in facts_of(world):
            text = domain.sentence(fact, wording, "english")
            if fact.negated and domain.sentence(fact.denied(), wording, "english") == text:
                continue  # background is never denied
            assert fact in read(domain, world, text, wording)


def test_labels_hold_whatever_is_known_in_other_worlds(domain):
    """Kinds and places are of several worlds: what is said in one world must entail nothing in another."""
    worlds = domain(worlds=12, language="english").draw_worlds(2)
    everywhere = {fact for world in worlds for fact in world.background}
    known = closure(everywhere, domain.rules)
    for w, world in enumerate(worlds):
        for c, case in enumerate(world.cases):
            learnt = closure(everywhere | set(case.facts), domain.rules)
            for v, other in enumerate(worlds):
                for fact in {f for one in other.cases for contrast in one.contrasts for f in contrast.facts}:
                    relation = world.relation(c, fact) if v == w else "unrelated"
                    proven, against = fact in learnt - known, fact.denied() in learnt - known
                    assert proven == (relation in ("direct", "entailed"))
                    assert against == (relation == "contradicted")


def test_statements_that_several_worlds_know_are_one_sample(domain):
    task = domain(worlds=6, language="english", view="statements").load(0)
    assert len(set(task.stimuli.ids)) == len(task.stimuli.ids)
    assert (np.diagonal(task.relation) == "direct").all() and (task.relation == "direct").sum() == len(task.stimuli)
    assert (task.relation == "contradicted").any()
    worlds = task.stimuli.coords["world"]
    assert (task.relation[worlds[:, None] != worlds[None, :]] == "unrelated").all()
    assert not [text for text in task.stimuli.targets if mistakes(text, is_whole=True)]


def test_other_wordings_are_stimuli_of_their_own(domain):
    task = domain(worlds=2, language="english").load(0)
    reworded = Template().apply(task, 0)
    assert len(reworded.stimuli) == 3 * len(task.stimuli)
    assert not [text for text in reworded.stimuli.targets if mistakes(text, is_whole=True)]


def test_forty_worlds_differ_and_a_seed_draws_others(domain, worlds):
    other = domain(worlds=WORLDS, language="english").draw_worlds(2)
    backgrounds = [frozenset(world.background) for world in worlds if world.background]
    assert len(set(backgrounds)) == len(backgrounds) in (0, WORLDS)
    assert [world.neutral for world in worlds] != [world.neutral for world in other]
    few = domain(worlds=2, language="english").draw_worlds(1)
    assert [facts_of(world) for world in few] == [facts_of(world) for world in worlds[:2]]


def test_more_worlds_than_the_lexicon_makes_are_refused_in_one_line(domain):
    with pytest.raises(ConfigError, match=r"dataset.worlds must be at most \d+ with 3 .*got 5000") as caught:
        domain(worlds=5000, language="english").load(0)
    assert "\n" not in str(caught.value)
    assert int(re.search(r"at most (\d+)", str(caught.value))[1]) >= WORLDS
    with pytest.raises(ConfigError, match=r"dataset.stimuli_per_world must leave a world enough words, got 100"):
        domain(stimuli_per_world=100, language="english").load(0)


def test_a_domain_without_english_says_so():
    with pytest.raises(ConfigError, match=r"dataset.language must be one that Friendship has wordings in, got 'en"):
        Friendship(language="english")


def test_words_come_about_equally_often():
    chosen = list(islice(lexicon.balanced(combinations("abcdefghij", 3), np.random.default_rng(0)), 20))
    uses = Counter(word for words in chosen for word in words)
    assert len(set(chosen)) == 20 and max(uses.values()) - min(uses.values()) <= 1


def test_what_a_kind_can_do_is_said_of_no_other_kind_that_can_too():
    for _, _, *words in lexicon.kinds_with_abilities():
        able = dict(zip(words[:4], words[4:]))
        for kind, ability in able.items():
            assert not set(lexicon.ALSO_ABLE.get(kind, ())) & (set(able.values()) - {ability})


def test_effects_of_a_world_have_no_cause_in_common():
    for effects in lexicon.effects(3):
        causes = [cause for effect in effects for cause in lexicon.SUBSTANCES[effect]]
        assert len(set(causes)) == len(causes)
        assert all(len(one & set(effects)) < 2 for one in lexicon.OVERLAPPING_EFFECTS)


def test_chains_of_places_are_in_different_parts_of_the_world():
    for city, land, part, *other in lexicon.chains_of_places():
        assert len({city, land, part, *other}) == 6


INVENTED = {
    "Ontology": "232dca51118664914cc7880f3ef2a85e4b24343fa0bad16a653479efffe5a45e",
    "Inheritance": "dab20cdeb1beb66a196509b9d3e140b40afaca6da6b7460971f5deec8b3af57e",
    "Transitivity": "87cafcfa2faa89bc65320dc14c3746bff93b3ebbde6a272d2202545df7bfa140",
    "Causality": "befc8881fd3852272795a355835f31fdf7f990135bbebe70db07ab869dde7dff",
    "Compositionality": "c8734c86f8ad7b6ba045ff451dffa22b787538cba3efbe1fea299dd50529a671",
    "Implication": "9d9c114bca74286c69dfa576abef199dfe6614b307e82f0bc1d800ba21ccbb28",
    "Reversal": "1e844480dd750ca26095d3c30d0a0fd3c960bc1bae6dc3e97f59687048840a94",
    "Negation": "56d7e9e9ad8e2a09b3ff26dd9a164138f7b02b92fad0ba6683048a766651b76e",
}
"""Digests of the tasks of invented words, as they were before there was another language."""


def digest(domain):
    """Of all that a task holds: in both views, with each kind of background, in all wordings."""
    found = sha256()
    options = [{"view": view, "background": way} for view in ("probes", "statements") for way in ("taught", "context")]
    for chosen in (*options, {"background": "known"}, {"wording": 1}, {"wording": 2}):
        task = domain(worlds=2, **chosen).load(7)
        texts = [task.stimuli, task.probes]
        if task.background is not None:
            texts += [task.background.facts, task.background.questions]
        arrays = [*task.distances.values(), *task.foils.values(), task.relation]
        parts = [(t.prompts, t.targets, t.candidates, *(v.tolist() for v in t.describe().values())) for t in texts]
        found.update(repr((parts, [values.tolist() for values in arrays])).encode())
    return found.hexdigest()


def test_tasks_of_invented_words_are_what_they_were_before_there_was_english(domain):
    assert digest(domain) == INVENTED[domain.__name__]
