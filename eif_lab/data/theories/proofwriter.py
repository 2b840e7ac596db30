"""ProofWriter (Tafjord et al., 2021, arXiv 2012.13048), under the open-world assumption, as packaged by Logic-LLM."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from eif_lab.data.theories.grammar import Form, Grammar, PublishedTheories
from eif_lab.data.theories.theory import (
    ANYTHING,
    FALSE,
    TRUE,
    UNKNOWN,
    Sentence,
    Theory,
    answer,
    open_foils,
    rounds,
    with_foils,
)
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.errors import rule_error
from eif_lab.options import option

log = logging.getLogger(__name__)

PEOPLE = ("anne", "bob", "charlie", "dave", "erin", "fiona", "gary", "harry")
ANIMALS = tuple(f"the {name}" for name in ("bear", "cat", "cow", "dog", "lion", "mouse", "rabbit", "squirrel", "tiger"))
ADJECTIVES = (
    "big", "blue", "cold", "furry", "green", "kind", "nice", "quiet", "red", "rough", "round", "smart", "white",
    "young",
)  # fmt: skip
"""Words for foils where a theory leaves nothing open: words of the set, in its order."""

PRONOUNS = ("something", "someone", "it", "they", "them")
LABELS = {"A": TRUE, "B": FALSE, "C": UNKNOWN}


def thing(words: str) -> str:
    """A name, or the variable that a pronoun stands for."""
    return ANYTHING if words in PRONOUNS else words


def state(match: re.Match[str]) -> Fact:
    """A clause with an adjective: "they are not blue", or what is left of one after "and": "not blue"."""
    return Fact(thing(match[1] or "it"), "is", match[3], bool(match[2]))


def action(match: re.Match[str]) -> Fact:
    """A clause with a verb: "the cow likes the lion"."""
    return Fact(thing(match[1]), match[3], thing(match[4]), bool(match[2]))


CLAUSES = Grammar(
    "ProofWriter",
    (
        Form(re.compile(r"(?:(the [a-z ]+?|\w+) (?:is|are) )?(not )?(\w+)"), state),
        Form(re.compile(r"(the [a-z ]+?|\w+) (?:(?:does|do) (not) )?(\w+?)s? (the [a-z ]+|\w+)"), action),
    ),
)


def condition(match: re.Match[str]) -> Rule:
    """A rule with its premises: "If something is red and it likes the cow then it is cold."."""
    return Rule(tuple(CLAUSES.fact(part) for part in match[1].split(" and ")), CLAUSES.fact(match[2]))


def kind_rule(match: re.Match[str]) -> Rule:
    """A rule about all of a kind: "All red, young things are not cold."."""
    premises = tuple(Fact(ANYTHING, "is", adjective) for adjective in match[1].split(", "))
    return Rule(premises, Fact(ANYTHING, "is", match[3], bool(match[2])))


GRAMMAR = Grammar(
    "ProofWriter",
    (
        Form(re.compile(r"if (.+) then (.+)"), condition),
        Form(re.compile(r"(?:all )?([\w, ]+?) (?:things|people) are (not )?(\w+)"), kind_rule),
        *CLAUSES.forms,
    ),
)


@dataclass
class ProofWriter(PublishedTheories):
    """Small theories in plain English: each is a world, one of its facts the stimulus, its questions the probes.

    A theory is used where one of its questions has an answer that it loses without one of its facts. That fact (of
    several, the one that decides most questions) is the stimulus, the theory without it the background. Which questions
    need the fact is derived with the theory's rules; the set's own labels say the same as those rules. The foils, which
    the set does not have, ask for another adjective, or another action, for another subject, and for both; all three
    stay open. They are of the theory where it has such, else of the set.

    Attributes:
        split: ``train``, ``dev`` or ``test``.
    """

    question: ClassVar[str] = "Is the following statement true, false, or unknown?"
    answers: ClassVar[tuple[str, ...]] = (TRUE, FALSE, UNKNOWN)
    fields: ClassVar[tuple[str, ...]] = ("id", "context", "question", "answer")

    split: str = option("train", one_of=["train", "dev", "test"])

    @property
    def place(self) -> str:
        """The file of the split below ``root``."""
        return f"knowledge/proofwriter/{self.split}.json"

    def draw(self, records: Sequence[Mapping[str, Any]], seed: int) -> list[Theory]:
        """The theories that ``seed`` draws among those that can be used.

        Raises:
            ConfigError: There are too few.
        """
        with self.refuse_changed_records():
            contexts = by_context(records)
        theories: list[Theory] = []
        tried = 0
        for tried, place in enumerate(  # noqa: B007
            np.random.default_rng(seed).permutation(self.select_short([context for context, _ in contexts])), 1
        ):
            with self.refuse_changed_records():
                theory = theory_of(int(place), *contexts[place])
            theories += [theory] if theory else []
            if len(theories) == self.theories:
                break
        else:
            rule = f"be at most {len(theories)} (those of at most {self.longest} characters that can be used)"
            raise rule_error("dataset.theories", rule, self.theories, "Try a larger dataset.longest.")
        log.info("%d more left out: no question that needs one fact", tried - self.theories)
        return theories


def by_context(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Each theory with its questions, in the order of the first of them."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        grouped.setdefault(record["context"], []).append(record)
    return list(grouped.items())


def theory_of(number: int, context: str, records: Sequence[Mapping[str, Any]]) -> Theory | None:
    """The theory without the fact that most of its questions need; None where it cannot be used.

    Args:
        number: The theory's place in the file.
        context: All its sentences.
        records: Its questions.
    """
    sentences = context.rstrip(".").split(". ")
    meanings = [GRAMMAR.meaning(sentence) for sentence in sentences]
    facts = [meaning for meaning in meanings if isinstance(meaning, Fact)]
    rules = tuple(meaning for meaning in meanings if isinstance(meaning, Rule))
    labels = {statement(record): LABELS[record["answer"]] for record in records}
    decided = [one.meaning for one, label in labels.items() if label != UNKNOWN]

    def questions_needing(fact: Fact) -> int:
        rest = rounds([other for other in facts if other != fact], rules)
        return sum(claim not in (fact, fact.denied()) and answer(claim, rest) == UNKNOWN for claim in decided)

    needed = [questions_needing(fact) for fact in facts]
    if not any(needed):
        return None
    stimulus = facts[int(np.argmax(needed))]
    place = meanings.index(stimulus)
    stated = Sentence(f"{sentences[place]}.", stimulus)
    questions = {one.meaning: one for one in (stated, *labels)}.values()
    before, known = rounds([fact for fact in facts if fact != stimulus], rules), rounds(facts, rules)
    claims = [*facts, *(claim for rule in rules for claim in (*rule.premises, rule.conclusion))]
    subjects = [name for name in dict.fromkeys(claim.subject for claim in claims) if name != ANYTHING]
    subjects += ANIMALS if subjects[0].startswith("the ") else PEOPLE
    predicates = [(one.relation, one.object) for one in claims if one.object != ANYTHING]

    def foils(fact: Fact) -> tuple[Fact, ...]:
        if answer(fact, known) == UNKNOWN or answer(fact, before) != UNKNOWN:
            return ()
        further = ADJECTIVES if fact.relation == "is" else ANIMALS
        alike = [pair for pair in predicates if pair[0] == fact.relation]
        return open_foils(fact, subjects, [*alike, *((fact.relation, one) for one in further)], known)

    return Theory(
        name=records[0]["id"].rpartition("_")[0],
        number=number,
        background=tuple(f"{sentence}." for k, sentence in enumerate(sentences) if k != place),
        facts=tuple(fact for fact in facts if fact != stimulus),
        rules=rules,
        stimulus=stated,
        questions=with_foils(list(questions), foils, sentence),
    )


def sentence(fact: Fact) -> str:
    """A fact in the set's words: "The cow does not like Anne."."""
    subject, *objects = (name if name.startswith("the ") else name.capitalize() for name in (fact.subject, fact.object))
    subject = subject[0].upper() + subject[1:]
    if fact.relation == "is":
        return f"{subject} is {'not ' * fact.negated}{fact.object}."
    verb = f"does not {fact.relation}" if fact.negated else f"{fact.relation}s"
    return f"{subject} {verb} {objects[0]}."


def statement(record: Mapping[str, Any]) -> Sentence:
    """The statement that a record's question asks for."""
    return GRAMMAR.statement(record["question"].rpartition("? ")[2])
