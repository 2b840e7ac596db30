"""ProofWriter (Tafjord et al., 2021, arXiv 2012.13048), under the open-world assumption, as packaged by Logic-LLM."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eif_lab.data.dataset import Dataset
from eif_lab.data.task import Task
from eif_lab.data.texts.records import as_published, read_records
from eif_lab.data.theories.theory import (
    ANYTHING,
    FALSE,
    TRUE,
    UNKNOWN,
    Question,
    Sentence,
    Theory,
    answer,
    overlap,
    rounds,
    theory_task,
)
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.errors import rule_error
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option

log = logging.getLogger(__name__)

QUESTION = "Is the following statement true, false, or unknown?"
PRONOUNS = ("something", "someone", "it", "they", "them")
STATE = re.compile(r"(?:(the [a-z ]+?|\w+) (?:is|are) )?(not )?(\w+)")
ACTION = re.compile(r"(the [a-z ]+?|\w+) (?:(?:does|do) (not) )?(\w+?)s? (the [a-z ]+|\w+)")
KINDS = re.compile(r"(?:all )?([\w, ]+?) (?:things|people) are (not )?(\w+)")
CONDITION = re.compile(r"if (.+) then (.+)")
LABELS = {"A": TRUE, "B": FALSE, "C": UNKNOWN}


@dataclass
class ProofWriter(Dataset):
    """Small theories in plain English: each is a world, one of its facts the stimulus, its questions the probes.

    A theory is used where one of its questions has an answer that it loses without one of its facts, and another
    question is unknown. That fact is the stimulus (of several, the one that decides most questions), the theory without
    it the background. Which questions need the fact is derived with the theory's rules; the set's own labels say the
    same as those rules. The matched foil is the unknown question that shares most words.

    Attributes:
        theories: How many are drawn.
        longest: Theories of more characters are left out.
        split: ``train``, ``dev`` or ``test``.
        background: Whether a theory stands in each probe's ``context`` or is ``taught`` to the base model.
        root: The folder that holds ``knowledge/proofwriter``.
    """

    kind: ClassVar[str] = "text"
    incidental: ClassVar[tuple[str, ...]] = ("root",)

    theories: int = option(20, at_least=1, hint="Try 20.")
    longest: int = option(500, at_least=1, hint="Try 500.")
    split: str = option("train", one_of=["train", "dev", "test"])
    background: str = option("context", one_of=["context", "taught"])
    root: str = "data"

    @property
    def _place(self) -> str:
        return f"knowledge/proofwriter/{self.split}.json"

    def identity(self) -> list[list[str]]:
        """The contents of the file."""
        return fingerprint([Path(self.root) / self._place])

    def load(self, seed: int) -> Task:
        """The theories that ``seed`` draws.

        Raises:
            ConfigError: The file is not there, or holds too few theories that can be used.
        """
        records = read_records(self.root, self._place, ("id", "context", "question", "answer"))
        with as_published(self.root, self._place):
            contexts = by_context(records)
            short = [number for number, (context, _) in enumerate(contexts) if len(context) <= self.longest]
        log.info(
            "%d of %d theories left out: longer than %d characters (dataset.longest)",
            len(contexts) - len(short), len(contexts), self.longest,
        )  # fmt: skip
        found: list[Theory] = []
        looked_at = 0
        for looked_at, place in enumerate(np.random.default_rng(seed).permutation(short), 1):  # noqa: B007
            with as_published(self.root, self._place):
                theory = theory_of(int(place), *contexts[place])
            found += [theory] if theory else []
            if len(found) == self.theories:
                break
        else:
            rule = f"be at most {len(found)} (those of at most {self.longest} characters that can be used)"
            raise rule_error("dataset.theories", rule, self.theories, "Try a larger dataset.longest.")
        log.info(
            "%d more left out: no question that needs one fact, or none that is unknown", looked_at - self.theories
        )
        return theory_task(found, QUESTION, (TRUE, FALSE, UNKNOWN), self.background)


def by_context(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Each theory with its questions, in the order of the first of them."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        grouped.setdefault(record["context"], []).append(record)
    return list(grouped.items())


def theory_of(number: int, context: str, asked: Sequence[Mapping[str, Any]]) -> Theory | None:
    """The theory without the fact that most of its questions need; None where it cannot be used."""
    sentences = context.rstrip(".").split(". ")
    meanings = [meaning(sentence) for sentence in sentences]
    facts = [one for one in meanings if isinstance(one, Fact)]
    rules = tuple(one for one in meanings if isinstance(one, Rule))
    labels = {statement(record): LABELS[record["answer"]] for record in asked}
    decided = [one.meaning for one, label in labels.items() if label != UNKNOWN]
    unknown = [one for one, label in labels.items() if label == UNKNOWN]

    def needing(fact: Fact) -> int:
        without = rounds([other for other in facts if other != fact], rules)
        return sum(asked not in (fact, fact.denied()) and answer(asked, without) == UNKNOWN for asked in decided)

    needed = [needing(fact) for fact in facts]
    if not unknown or not any(needed):
        return None
    stated = facts[int(np.argmax(needed))]
    place = meanings.index(stated)
    questions = [one for one in labels if one.meaning != stated]

    def foil(one: Sentence) -> int:
        return questions.index(max(unknown, key=lambda other: overlap(one.text, other.text)))

    return Theory(
        name=asked[0]["id"].rpartition("_")[0],
        number=number,
        background=tuple(f"{sentence}." for k, sentence in enumerate(sentences) if k != place),
        facts=tuple(fact for fact in facts if fact != stated),
        rules=rules,
        stimulus=Sentence(f"{sentences[place]}.", stated),
        questions=tuple(Question(one, -1 if one in unknown else foil(one)) for one in questions),
    )


def statement(record: Mapping[str, Any]) -> Sentence:
    """What a question asks for."""
    text = record["question"].rpartition("? ")[2]
    said = meaning(text)
    assert isinstance(said, Fact)
    return Sentence(text, said)


def meaning(sentence: str) -> Fact | Rule:
    """What a sentence of the set's grammar says; a pronoun is the variable ``?x``.

    Raises:
        ValueError: It is not of that grammar.
    """
    text = sentence.lower().rstrip(".")
    if found := CONDITION.fullmatch(text):
        return Rule(tuple(literal(part) for part in found[1].split(" and ")), literal(found[2]))
    if found := KINDS.fullmatch(text):
        premises = tuple(Fact(ANYTHING, "is", adjective) for adjective in found[1].split(", "))
        return Rule(premises, Fact(ANYTHING, "is", found[3], bool(found[2])))
    return literal(text)


def literal(text: str) -> Fact:
    """A clause: "the cow likes the lion", "they are not blue", or what is left of one after "and": "not blue"."""
    if found := STATE.fullmatch(text):
        return Fact(_thing(found[1] or "it"), "is", found[3], bool(found[2]))
    if found := ACTION.fullmatch(text):
        return Fact(_thing(found[1]), found[3], _thing(found[4]), bool(found[2]))
    raise ValueError(f"ProofWriter has no such sentence: {text!r}")


def _thing(words: str) -> str:
    return ANYTHING if words in PRONOUNS else words
