"""The causality domain: two buttons light each lamp; a button is pressed, or a lamp is lit, and both are probed.

"at dax someone did press P ." lights P's lamp L there, and no other. "at dax light comes from L ." may as well be the
work of L's other button: that P was pressed is its converse, which does not follow. The foils are about another lamp,
its buttons, and another place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from numpy.random import Generator

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.lexicon import OTHER_SUBSTANCES, SUBSTANCES, balanced, effects, in_turn
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.names import THING
from eif_lab.data.worlds.world import Case, Contrast, World

LAMPS, CAUSES = 3, 2


@dataclass
class Causality(Domain):
    """From "at dax someone did press P" follows that P's lamp is lit; a lit lamp does not say what was pressed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "pressed", "?p"), Fact("?p", "lights", "?l")), Fact("?x", "lit", "?l")),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "lights": ("pressing {subject} lights", "the button {subject} turns on", "{subject} is the button for"),
        "pressed": (
            "at {subject} someone did{not} press",
            "at {subject} the pressed button is{not}",
            "the button used at {subject} is{not}",
        ),
        "lit": (
            "at {subject} light comes{not} from",
            "at {subject} the lit lamp is{not}",
            "the lamp that shines at {subject} is{not}",
        ),
    }

    english: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "lights": (
            "if something is covered in {subject}, it is",
            "whatever is covered in {subject} becomes",
            "things covered in {subject} are",
        ),
        "pressed": (
            "the {subject} was{not} covered in",
            "what covered the {subject} was{not}",
            "it is{not} true that the {subject} was covered in",
        ),
        "lit": (
            "the {subject} is{not}",
            "the {subject} has{not} become",
            "it is{not} true that the {subject} is",
        ),
    }

    @classmethod
    def vocabularies(cls, cases: int, random: Generator) -> Iterator[Sequence[str]]:
        """What things become, and two substances that make them so; the things are new."""
        for number, chosen in enumerate(balanced(effects(LAMPS), random)):
            causes = [cause for together in zip(*(SUBSTANCES[effect] for effect in chosen)) for cause in together]
            yield (*chosen, *causes, *[THING] * (cases + 2), in_turn(OTHER_SUBSTANCES, number))

    @classmethod
    def size(cls, cases: int) -> int:
        """Three lamps of two buttons, a place for each case and for the foils, two words for the neutral statement."""
        return LAMPS * (1 + CAUSES) + cases + 1 + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """Buttons are pressed, and lamps lit, in turn."""
        lamps, buttons = words[:LAMPS], words[LAMPS : LAMPS * (1 + CAUSES)]
        *places, elsewhere = words[LAMPS * (1 + CAUSES) : -2]

        def case(number: int) -> Case:
            place, lamp, other = places[number], number % LAMPS, (number + 1) % LAMPS
            lit = Contrast(Fact(place, "lit", lamps[lamp]), lamps[other], elsewhere)
            pressed = [
                Contrast(Fact(place, "pressed", cause), another, elsewhere)
                for cause, another in zip(buttons[lamp::LAMPS], buttons[other::LAMPS])
            ]
            if number % 2:
                return Case(stated=(lit,), converse=tuple(pressed))
            return Case(stated=(pressed[number // 2 % CAUSES],), follows=(lit,))

        return World(
            background=tuple(Fact(button, "lights", lamps[b % LAMPS]) for b, button in enumerate(buttons)),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "pressed", words[-1]),),
            choices={"lights": tuple(lamps), "pressed": tuple(buttons), "lit": tuple(lamps)},
            tops=tuple(lamps),
            rules=cls.rules,
        )
