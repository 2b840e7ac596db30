"""ProntoQA (Saparov and He, 2023, arXiv 2210.01240): chains over invented kinds, as packaged by Logic-LLM."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eif_lab.data.dataset import Dataset
from eif_lab.data.sampling import drawn
from eif_lab.data.task import Task
from eif_lab.data.texts.records import as_published, read_records
from eif_lab.data.theories.theory import ANYTHING, FALSE, TRUE, Question, Sentence, Theory, theory_task
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option

log = logging.getLogger(__name__)

PLACE = "knowledge/prontoqa/dev.json"
QUESTION = "Is the following statement true or false?"
NAMES = ("Alex", "Fae", "Max", "Polly", "Rex", "Sally", "Sam", "Stella", "Wren")
"""All that the set's chains are about."""

KINDS = re.compile(r"(?:(?:each|every) (\w+) is|(\w+)es are) (not )?(?:an? )?(\w+)")
SINGLE = re.compile(r"(\w+) is (not )?(?:an? )?(\w+)")


@dataclass
class ProntoQA(Dataset):
    """Rules about kinds, one name, and what follows step by step: each chain is a world.

    The background is the rules, the stimulus the one fact ("Max is a yumpus."), and the probes ask for each conclusion
    of the set's proof, and for the set's question, which is the last conclusion or its negation. The set has no
    question whose answer is unknown: the matched foil asks the same of a name that the theory does not mention.

    Attributes:
        theories: How many are drawn.
        longest: Theories of more characters are left out.
        background: Whether the rules stand in each probe's ``context`` or are ``taught`` to the base model.
        root: The folder that holds ``knowledge/prontoqa``.
    """

    kind: ClassVar[str] = "text"
    incidental: ClassVar[tuple[str, ...]] = ("root",)

    theories: int = option(20, at_least=1, hint="Try 20.")
    longest: int = option(500, at_least=1, hint="Try 500.")
    background: str = option("context", one_of=["context", "taught"])
    root: str = "data"

    def identity(self) -> list[list[str]]:
        """The contents of the file."""
        return fingerprint([Path(self.root) / PLACE])

    def load(self, seed: int) -> Task:
        """The theories that ``seed`` draws, and the names that their foils are about.

        Raises:
            ConfigError: The file is not there, or holds too few theories.
        """
        records = read_records(self.root, PLACE, ("id", "context", "question", "answer", "explanation"))
        with as_published(self.root, PLACE):
            short = [number for number, record in enumerate(records) if len(record["context"]) <= self.longest]
        log.info(
            "%d of %d theories left out: longer than %d characters (dataset.longest)",
            len(records) - len(short), len(records), self.longest,
        )  # fmt: skip
        chosen = drawn("theories", self.theories, len(short), seed, f"of at most {self.longest} characters")
        generator = np.random.default_rng(seed)
        with as_published(self.root, PLACE):
            theories = [theory_of(short[i], records[short[i]], generator) for i in chosen]
        return theory_task(theories, QUESTION, (TRUE, FALSE), self.background)


def theory_of(number: int, record: Mapping[str, Any], generator: np.random.Generator) -> Theory:
    """A chain without its fact; each of its conclusions is asked, and asked of another name."""
    stated, *proof = record["explanation"]
    background = [f"{sentence}." for sentence in record["context"].rstrip(".").split(". ")]
    background.remove(stated)
    name = stated.partition(" ")[0]
    other = str(generator.choice([one for one in NAMES if one != name]))
    asked = dict.fromkeys([*proof[1::2], record["question"].rpartition("? ")[2]])
    statements = [text for one in asked for text in (one, one.replace(name, other, 1))]
    rules = [meaning(sentence) for sentence in background]
    return Theory(
        name=record["id"],
        number=number,
        background=tuple(background),
        facts=(),
        rules=tuple(rule for rule in rules if isinstance(rule, Rule)),
        stimulus=sentence_of(stated),
        questions=tuple(
            Question(sentence_of(text), place + 1 if place % 2 == 0 else -1) for place, text in enumerate(statements)
        ),
    )


def sentence_of(text: str) -> Sentence:
    """A statement about a name, with what it says."""
    said = meaning(text)
    assert isinstance(said, Fact)
    return Sentence(text, said)


def meaning(sentence: str) -> Fact | Rule:
    """What a sentence of the set's grammar says: "Each yumpus is a dumpus.", "Jompuses are not shy.", "Max is sour."

    Raises:
        ValueError: It is not of that grammar.
    """
    text = sentence.lower().rstrip(".")
    if found := KINDS.fullmatch(text):
        return Rule(
            (Fact(ANYTHING, "is", found[1] or found[2]),), Fact(ANYTHING, "is", _singular(found[4]), bool(found[3]))
        )
    if found := SINGLE.fullmatch(text):
        return Fact(found[1], "is", found[3], bool(found[2]))
    raise ValueError(f"ProntoQA has no such sentence: {sentence!r}")


def _singular(word: str) -> str:
    return word.removesuffix("es") if word.endswith("puses") else word
