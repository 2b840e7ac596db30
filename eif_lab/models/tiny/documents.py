"""Documents for pre-training: they state facts and rules of an invented world, and then say what follows.

Each is about words of its own, so that a model can only do well by reading it. They come from the very worlds and
wordings of the knowledge domains, with words that no dataset uses (`names`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.logic import Fact, closure, consequences
from eif_lab.data.worlds.names import invent

CASES = 4
"""Of a world that a document is drawn from."""

EASIER = 0.5
"""The share of documents that leave out some of their world. Where all do at first, a model learns to do without
reading: with one king there is no need to ask whose realm it is."""

WHOLE = 0.1
"""The share of documents in which every word is learnt, not only what the document itself answers."""

DEFAULT_WORDING = 0.85
"""The share of documents that word every fact as datasets do by default."""

MOST_FOLLOWING, MOST_RECALLED = 8, 8
"""Facts that a document answers."""


class Piece(NamedTuple):
    """A part of a document, and whether it is learnt."""

    text: str
    learnt: bool


def document(domains: Sequence[type[Domain]], random: np.random.Generator) -> list[Piece]:
    """One document.

    Args:
        domains: One of these is drawn.
        random: What everything is drawn with.
    """
    domain = domains[int(random.integers(len(domains)))]
    whole = bool(random.random() < WHOLE)
    facts, questions = facts_and_questions(domain, random, random.random() if random.random() < EASIER else 1.0)
    wordings = 1 if random.random() < DEFAULT_WORDING else 3
    pieces = []
    for fact in shuffle_facts(facts, random):
        pieces.append(Piece(f" {domain.sentence(fact, int(random.integers(wordings)))}", whole))
    for fact in shuffle_facts(questions, random):
        pieces += [
            Piece(f" {domain.prompt(fact, int(random.integers(wordings)))}", whole),
            Piece(f" {fact.object} .", True),
        ]
    return [pieces[0]._replace(text=pieces[0].text[1:]), *pieces[1:]]


def facts_and_questions(
    domain: type[Domain], random: np.random.Generator, share: float
) -> tuple[list[Fact], list[Fact]]:
    """The facts of a document, and its questions: on facts that follow, on stated ones, and on some false ones.

    Args:
        domain: Of the document's world.
        random: What it is drawn with.
        share: From 0, one case with the facts that it needs, to 1, up to all cases and the whole background.
    """
    world = domain.world(invent(domain.size(CASES), random, unseen=False), CASES)
    most = 1 + round(share * (CASES - 1))
    cases = [world.cases[c] for c in random.permutation(CASES)[: random.integers(1, most + 1)]]
    stated = [fact for case in cases for fact in case.facts]
    shown = (contrast.fact for case in cases for contrast in (*case.stated, *case.follows))
    needed = {word for fact in shown for word in words(fact)}
    facts = stated + [f for f in world.background if needed & words(f) or random.random() < share]
    known = closure(facts, world.rules)
    follows = sorted(known.difference(facts))
    denied = sorted(
        foil.denied()
        for case in cases
        for foil in (contrast.foils["same_subject"] for contrast in case.follows)
        if domain.closed and foil not in known and not foil.negated
    )
    return facts, [
        *shuffle_facts(follows, random)[:MOST_FOLLOWING],
        *shuffle_facts(facts, random)[:MOST_RECALLED],
        *denied[: random.integers(0, 2)],
    ]


def words(fact: Fact) -> set[str]:
    """The words of a fact."""
    return {fact.subject, *fact.object.split()}


def shuffle_facts(facts: Sequence[Fact], random: np.random.Generator) -> list[Fact]:
    """The facts in a random order."""
    return [facts[i] for i in random.permutation(len(facts))]


def examination(
    domain: type[Domain], random: np.random.Generator, *, unseen: bool = True
) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Questions about one whole world: (``stated`` or ``follows``, context with the prompt, answer, candidates).

    The context is the background and every stimulus, in a random order.

    Args:
        domain: Of the world.
        random: What it is drawn with.
        unseen: Whether its words are those that pre-training never shows.
    """
    world = domain.world(invent(domain.size(CASES), random, unseen=unseen), CASES)
    facts = shuffle_facts([*world.background, *(fact for case in world.cases for fact in case.facts)], random)
    known = closure(facts, world.rules)
    context = domain.text(facts)
    near = consequences(facts, world.rules)
    follows = [contrast.fact for case in world.cases for contrast in case.follows if contrast.fact in near]
    for kind, questions in (("stated", facts), ("follows", follows)):
        for fact in questions:
            candidates = world.candidates(fact, known)
            yield kind, f"{context} {domain.prompt(fact)}", f" {fact.object}", tuple(f" {one}" for one in candidates)
