"""ProntoQA (Saparov and He, 2023, arXiv 2210.01240): chains over invented kinds, as packaged by Logic-LLM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from eif_lab.data.sampling import draw_places
from eif_lab.data.theories.grammar import Form, Grammar, PublishedTheories
from eif_lab.data.theories.theory import ANYTHING, FALSE, TRUE, Question, Theory
from eif_lab.data.worlds.logic import Fact, Rule

NAMES = ("Alex", "Fae", "Max", "Polly", "Rex", "Sally", "Sam", "Stella", "Wren")
"""All that the set's chains are about."""


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
    question whose answer is unknown: the matched foil asks the same of a name that the theory does not mention.
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
        short = self.short([record["context"] for record in records])
        limit = f"of at most {self.longest} characters"
        chosen = [short[i] for i in draw_places("theories", self.theories, len(short), seed, limit)]
        random = np.random.default_rng(seed)
        with self.as_published():
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
    other = str(random.choice([one for one in NAMES if one != name]))
    conclusions = dict.fromkeys([*proof[1::2], record["question"].rpartition("? ")[2]])
    statements = [text for one in conclusions for text in (one, one.replace(name, other, 1))]
    meanings = [GRAMMAR.meaning(sentence) for sentence in background]
    return Theory(
        name=record["id"],
        number=number,
        background=tuple(background),
        facts=(),
        rules=tuple(meaning for meaning in meanings if isinstance(meaning, Rule)),
        stimulus=GRAMMAR.statement(fact),
        questions=tuple(
            Question(GRAMMAR.statement(text), place + 1 if place % 2 == 0 else -1)
            for place, text in enumerate(statements)
        ),
    )
