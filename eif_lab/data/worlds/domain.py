"""What the knowledge domains have in common: their options, their wordings, and the draw of their worlds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from eif_lab.data.elsewhere import OfWorlds
from eif_lab.data.task import Task, Texts, background_in_context
from eif_lab.data.worlds.language import LANGUAGES, NEW
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.views import VIEWS, Wording
from eif_lab.data.worlds.world import World
from eif_lab.errors import rule_error
from eif_lab.options import option


@dataclass
class Domain(OfWorlds):
    """A knowledge domain: a subclass states its rules and wordings, and makes a world out of words.

    Attributes:
        worlds: How many worlds, each with new words of its own.
        stimuli_per_world: Cases in each, beside one neutral statement.
        wording: Which of the domain's wordings is used, from 0; the `template` perturbation uses the others.
        view: ``probes`` for clozes of what follows and what does not; ``retention`` for these and the questions of the
            background; ``statements`` for the square array in which each
            statement of a world, and the negation of each consequence, is both stimulus and probe.
        background: Whether background facts are ``taught`` to the base model, stand in each probe's ``context``, or are
            ``known`` to the base model from its pre-training, so that nothing is taught.
        language: ``invented``, all words being new, or ``english``, only names being new; see `LANGUAGES`.
        rules: What follows from what.
        wordings: For each relation three ways to say it up to the object; ``{not}`` is where it is denied.
        english: The same in English, as `eif_lab.data.worlds.language.English` reads them; empty where the domain has
            no English.
        closed: Whether, in a document for pre-training, what does not follow may be denied.
    """

    kind: ClassVar[str] = Texts.kind
    rules: ClassVar[tuple[Rule, ...]] = ()
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    english: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    closed: ClassVar[bool] = True

    worlds: int = option(20, at_least=1)
    stimuli_per_world: int = option(3, at_least=1)
    wording: int = option(0, at_least=0, at_most=2)
    view: str = option("probes", one_of=VIEWS)
    background: str = option("taught", one_of=["taught", "context", "known"])
    language: str = option("invented", one_of=LANGUAGES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(LANGUAGES[self.language].wordings(type(self))) != set(self.wordings):
            rule = f"be one that {type(self).__name__} has wordings in"
            raise rule_error("dataset.language", rule, self.language, "Try invented.")

    @classmethod
    def size(cls, cases: int) -> int:
        """How many words a world with so many cases needs."""
        raise NotImplementedError

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """A world over ``words``, as many as `size` says."""
        raise NotImplementedError

    @classmethod
    def vocabularies(cls, cases: int, random: np.random.Generator) -> Iterator[Sequence[str]]:
        """The English words of one world after another, in the order of `world`; where a name is new, its sort."""
        raise NotImplementedError

    @classmethod
    def prompt(cls, fact: Fact, wording: int = 0, language: str = "invented") -> str:
        """The sentence up to its object: "a dax is a"."""
        spoken = LANGUAGES[language]
        return spoken.prompt(spoken.wordings(cls)[fact.relation][wording], fact)

    @classmethod
    def sentence(cls, fact: Fact, wording: int = 0, language: str = "invented") -> str:
        """The whole sentence: "a dax is a blick ."."""
        return f"{cls.prompt(fact, wording, language)} {fact.object}{LANGUAGES[language].full_stop}"

    @classmethod
    def text(cls, facts: Iterable[Fact], wording: int = 0, language: str = "invented") -> str:
        """Several sentences as one text."""
        return " ".join(cls.sentence(fact, wording, language) for fact in facts)

    def load(self, seed: int) -> Task:
        """The task that ``seed`` draws: other words for every seed.

        Raises:
            ConfigError: There are not enough words for so many worlds, or so large ones.
        """
        used, *others = (
            Wording(*(partial(say, wording=number, language=self.language) for say in (self.prompt, self.text)))
            for number in sorted(range(3), key=lambda number: number != self.wording)
        )
        task = self.with_elsewhere(VIEWS[self.view](self.draw_worlds(seed), used, others), seed)
        if self.background == "context":
            return background_in_context(task)
        if self.background == "known" and task.background is not None:
            return replace(task, background=replace(task.background, known=True))
        return task

    @classmethod
    def settled(cls, cases: int) -> list[bool]:
        """Of each word of a world with so many cases, whether its background is about it."""
        places = [str(place) for place in range(cls.size(cases))]
        told = {
            word
            for fact in cls.world(places, cases).background
            for word in (*fact.subject.split(), *fact.object.split())
        }
        return [place in told for place in places]

    def draw_worlds(self, seed: int) -> list[World]:
        """The worlds of a seed; no new word is in two of them.

        Raises:
            ConfigError: There are not enough words for so many worlds, or so large ones.
        """
        cases, random, language = self.stimuli_per_world, np.random.default_rng(seed), LANGUAGES[self.language]
        vocabularies = language.vocabularies(type(self), cases, self.background == "known", random)
        worlds: list[World] = []
        used: set[str] = set()
        for number in range(self.worlds):
            try:
                words = next(vocabularies)
                sorts, beside = ([word for word in words if word.startswith(NEW) == new] for new in (True, False))
                names = language.names(sorts, random, used, beside)
            except IndexError:
                if number:
                    rule = f"be at most {number} with {cases} stimuli each"
                    raise rule_error("dataset.worlds", rule, self.worlds, f"Try {number}.") from None
                field, rule = "dataset.stimuli_per_world", "leave a world enough words"
                raise rule_error(field, rule, cases) from None
            used |= set(names)
            left = iter(names)
            worlds.append(self.world([next(left) if word.startswith(NEW) else word for word in words], cases))
        return worlds
