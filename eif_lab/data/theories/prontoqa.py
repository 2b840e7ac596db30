"""ProntoQA (Saparov and He, 2023, arXiv 2210.01240): chains over invented kinds, as packaged by Logic-LLM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from eif_lab.data.sampling import draw_places
from eif_lab.data.theories.grammar import Form, Grammar, PublishedTheories
from eif_lab.data.theories.theory import ANYTHING, FALSE, TRUE, Theory, open_foils, rounds, with_foils
from eif_lab.data.worlds.logic import Fact, Rule

KINDS = tuple(f"{stem}pus" for stem in ("dum", "im", "jom", "num", "rom", "tum", "vum", "wum", "yum", "zum"))
PROPERTIES = (
    "aggressive", "amenable", "angry", "bitter", "blue", "bright", "brown", "cold", "dull", "earthy", "feisty",
    "floral", "fruity", "happy", "hot", "kind", "large", "liquid", "luminous", "mean", "metallic", "nervous", "opaque",
    "orange", "red", "shy", "small", "sour", "spicy", "sweet", "temperate", "transparent", "wooden",
)  # fmt: skip
"""Words of the set."""

NAMES = ("Alex", "Fae", "Max", "Polly", "Rex", "Sally", "Sam", "Stella", "Wren")
"""The names that the set's chains are about."""


def singular(word: str) -> str:
    """A kind's name in the singular; adjectives stay as they are."""
    return word.removesuffix("es") if word.endswith("puses") else word


def kind_rule(match: re.Match[str]) -> Rule:
    """A sentence about all of a kind: "Each yumpus is a dumpus.", "Jompuses are not shy."."""
    kind, conclusion = match[1] or match[2], Fact(ANYTHING, "is", singular(match[4]), bool(match[3]))
    return Rule((Fact(ANYTHING, "is", kind),), conclusion)


GRAMMAR = Grammar(
    "ProntoQA",
    (
        Form(re.compile(r"(?:(?:each|every) (\w+) is|(\w+)es are) (not )?(?:an? )?(\w+)"), kind_rule),
        Form(re.compile(r"(\w+) is (not )?(?:an? )?(\w+)"), lambda m: Fact(m[1], "is", m[3], bool(m[2]))),
    ),
)


@dataclass
class ProntoQA(PublishedTheories):
    """Rules about kinds, one name, and what follows step by step: each chain is a world.

    The background is the rules, the stimulus the one fact ("Max is a yumpus."), and the probes ask for each conclusion
    of the set's proof, and for the set's question, which is the last conclusion or its negation. The set has no
    question whose answer is unknown: the foils ask for a kind, or a property, of which the rules say nothing, for a
    name that the theory does not mention, and for both.
    """

    question: ClassVar[str] = "Is the following statement true or false?"
    answers: ClassVar[tuple[str, ...]] = (TRUE, FALSE)
    fields: ClassVar[tuple[str, ...]] = ("id", "context", "question", "answer", "explanation")

    @property
    def place(self) -> str:
        """The set's file below ``root``."""
        return "knowledge/prontoqa/dev.json"

    def draw(self, records: Sequence[Mapping[str, Any]], seed: int) -> list[Theory]:
        """The theories that ``seed`` draws, and the names that their foils are about.

        Raises:
            ConfigError: There are too few.
        """
        short = self.select_short([record["context"] for record in records])
        limit = f"of at most {self.longest} characters"
        chosen = [short[i] for i in draw_places("theories", self.theories, len(short), seed, limit)]
        random = np.random.default_rng(seed)
        with self.refuse_changed_records():
            return [theory_of(place, records[place], random) for place in chosen]


def theory_of(number: int, record: Mapping[str, Any], random: np.random.Generator) -> Theory:
    """A chain without its fact; each of its conclusions is asked, and asked of another name.

    Args:
        number: The record's place in the file.
        record: One theory.
        random: What the other name is drawn with.
    """
    fact, *proof = record["explanation"]
    background = [f"{sentence}." for sentence in record["context"].rstrip(".").split(". ")]
    background.remove(fact)
    name = fact.partition(" ")[0]
    other = str(random.choice([one for one in NAMES if one != name])).lower()
    asked = dict.fromkeys([fact, *proof[1::2], record["question"].rpartition("? ")[2]])
    meanings = [GRAMMAR.meaning(sentence) for sentence in background]
    rules = tuple(meaning for meaning in meanings if isinstance(meaning, Rule))
    stimulus = GRAMMAR.statement(fact)
    known = rounds([stimulus.meaning], rules)
    own = dict.fromkeys(claim.object for rule in rules for claim in (*rule.premises, rule.conclusion))
    words = [*own, *(str(word) for word in random.permutation([*KINDS, *PROPERTIES]))]
    # a kind from which the stimulus follows comes last: it would be its converse
    words.sort(key=lambda word: stimulus.meaning in rounds([stimulus.meaning._replace(object=word)], rules))

    def foils(claim: Fact) -> tuple[Fact, ...]:
        alike = [("is", word) for word in words if (word in KINDS) == (claim.object in KINDS)]
        return open_foils(claim, [other], alike, known)

    return Theory(
        name=record["id"],
        number=number,
        background=tuple(background),
        facts=(),
        rules=rules,
        stimulus=stimulus,
        questions=with_foils([GRAMMAR.statement(one) for one in asked], foils, sentence),
    )


def sentence(fact: Fact) -> str:
    """A fact in the set's words: "Max is not an impus."."""
    article = ("an " if fact.object[0] in "aeiou" else "a ") if fact.object in KINDS else ""
    return f"{fact.subject.capitalize()} is {'not ' * fact.negated}{article}{fact.object}."
