"""The base of the published sets of theories: a grammar of sentences, and options that draw theories."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from eif_lab.data.elsewhere import OfWorlds
from eif_lab.data.task import Task, Texts
from eif_lab.data.texts.records import read_records, refuse_changed_records
from eif_lab.data.theories.theory import Sentence, Theory, theory_task
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option

log = logging.getLogger(__name__)


class Form(NamedTuple):
    """A form of sentences: a pattern of the whole sentence in lower case, and what a match of it says."""

    pattern: re.Pattern[str]
    meaning: Callable[[re.Match[str]], Fact | Rule]


@dataclass(frozen=True)
class Grammar:
    """The sentences of a set.

    Attributes:
        name: The set's name, for errors.
        forms: The forms of its sentences; the first one that matches is taken.
    """

    name: str
    forms: tuple[Form, ...]

    def meaning(self, sentence: str) -> Fact | Rule:
        """The meaning of a sentence; a name that may be any is the variable ``?x``.

        Raises:
            ValueError: The sentence is not of this grammar.
        """
        text = sentence.lower().rstrip(".")
        for pattern, meaning in self.forms:
            if match := pattern.fullmatch(text):
                return meaning(match)
        raise ValueError(f"{self.name} has no such sentence: {sentence!r}")

    def fact(self, text: str) -> Fact:
        """The fact that a sentence states.

        Raises:
            ValueError: The sentence is not of this grammar.
            TypeError: It states a rule.
        """
        meaning = self.meaning(text)
        if not isinstance(meaning, Fact):
            raise TypeError(f"a fact was expected, got a rule: {text!r}")
        return meaning

    def statement(self, text: str) -> Sentence:
        """A sentence that states a fact, with what it says; see `fact` for errors."""
        return Sentence(text, self.fact(text))


@dataclass
class PublishedTheories(OfWorlds):
    """A published set of theories, each of which is a world: a subclass states its file and how a record is read.

    Attributes:
        theories: How many are drawn.
        longest: Theories of more characters are left out.
        background: Whether a theory stands in each probe's ``context`` or is ``taught`` to the base model.
        root: The folder that holds the file.
        question: What stands before each statement that is asked for.
        answers: The candidates of each question, as they follow it.
        fields: What each record of the file has to have.
    """

    kind: ClassVar[str] = Texts.kind
    incidental: ClassVar[tuple[str, ...]] = ("root",)
    question: ClassVar[str]
    answers: ClassVar[tuple[str, ...]]
    fields: ClassVar[tuple[str, ...]]

    theories: int = option(20, at_least=1, hint="Try 20.")
    longest: int = option(500, at_least=1, hint="Try 500.")
    background: str = option("context", one_of=["context", "taught"])
    root: str = "data"

    @property
    def place(self) -> str:
        """The set's file below ``root``."""
        raise NotImplementedError

    def draw(self, records: Sequence[Mapping[str, Any]], seed: int) -> list[Theory]:
        """The theories that ``seed`` draws from the file's records.

        Raises:
            ConfigError: There are too few.
        """
        raise NotImplementedError

    def identity(self) -> list[list[str]]:
        """The contents of the file."""
        return fingerprint([Path(self.root) / self.place])

    def load(self, seed: int) -> Task:
        """The theories that ``seed`` draws, with their questions.

        Raises:
            ConfigError: The file is not there, is not as it was published, or holds too few theories.
        """
        records = read_records(self.root, self.place, self.fields)
        task = theory_task(self.draw(records, seed), self.question, self.answers, self.background)
        return self.with_elsewhere(task, seed)

    def select_short(self, contexts: Sequence[Any]) -> list[int]:
        """The places of the theories of at most ``longest`` characters; the log says how many are left out."""
        with self.refuse_changed_records():
            places = [place for place, context in enumerate(contexts) if len(context) <= self.longest]
        log.info(
            "%d of %d theories left out: longer than %d characters (dataset.longest)",
            len(contexts) - len(places), len(contexts), self.longest,
        )  # fmt: skip
        return places

    @contextmanager
    def refuse_changed_records(self) -> Iterator[None]:
        """Within this, what breaks on a record that was changed is a ConfigError of one line."""
        with refuse_changed_records(self.root, self.place):
            yield
