"""A background that the base model knows from its pre-training: words that are always the same, and nothing taught."""

import numpy as np
import pytest

from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.data.worlds.names import known_words, opening_of, words
from eif_lab.data.worlds.ontology import Ontology

WITH_BACKGROUND = [domain for domain in DOMAINS if domain().draw_worlds(0)[0].background]


def background_words(world):
    return {word for fact in world.background for word in (*fact.subject.split(), *fact.object.split())}


def all_words(world):
    facts = [*world.background, *world.neutral, *(f for case in world.cases for c in case.contrasts for f in c.facts)]
    return {word for fact in facts for word in (*fact.subject.split(), *fact.object.split())}


@pytest.mark.parametrize("domain", WITH_BACKGROUND)
def test_a_seed_draws_other_names_for_the_same_background(domain):
    one, other = (domain(worlds=3, background="known").draw_worlds(seed) for seed in (0, 1))
    shown = set(words(unseen=False))
    for world, again in zip(one, other):
        assert world.background == again.background
        settled = background_words(world)
        assert settled <= shown and not (all_words(world) - settled) & shown
        assert world.neutral != again.neutral


def test_a_world_keeps_its_background_whatever_the_number_of_worlds_and_stimuli():
    few = Ontology(worlds=2, stimuli_per_world=1, background="known").draw_worlds(0)
    many = Ontology(worlds=20, stimuli_per_world=4, background="known").draw_worlds(5)
    assert [world.background for world in few] == [world.background for world in many[:2]]


def test_no_word_is_in_two_worlds_and_within_a_world_each_opens_differently():
    worlds = [all_words(world) for world in Ontology(background="known").draw_worlds(3)]
    assert len(set().union(*worlds)) == sum(map(len, worlds))
    assert all(len({opening_of(word) for word in world}) == len(world) for world in worlds)


def test_what_is_known_is_asked_and_what_stands_in_the_context_is_not():
    known, taught, context = (Ontology(worlds=2, background=b).load(0) for b in ("known", "taught", "context"))
    assert known.background.known and not taught.background.known and context.background is None
    assert len(known.background.questions) == len(taught.background.questions)


def test_worlds_whose_words_may_be_known_do_not_run_out_below_the_default_number():
    for domain in WITH_BACKGROUND:
        count = sum(domain.settled(3))
        drawn = [words for words, _ in zip(known_words(count), range(domain().worlds))]
        assert len(set(np.ravel(drawn))) == count * domain().worlds
