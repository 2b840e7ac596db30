"""The causality domain: buttons light lamps; one is pressed, or a lamp is lit, and both are probed.

"the pressed button is P ." lights P's lamp L, and no other. "the lit lamp is L ." comes from P as likely as not: that
P was pressed is its converse, which a causal reading holds back. The matched foil is the lamp of another button.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.world import Case, World

BUTTONS = 4


@dataclass
class Causality(Domain):
    """From "the pressed button is P" follows that P's lamp is lit; the lit lamp does not say what was pressed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("button", "pressed", "?p"), Fact("?p", "lights", "?l")), Fact("lamp", "lit", "?l")),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "lights": ("pressing {subject} lights", "the button {subject} turns on", "{subject} is the button for"),
        "pressed": (
            "the pressed {subject} is{not}",
            "someone did{not} press the {subject}",
            "the {subject} used is{not}",
        ),
        "lit": (
            "the lit {subject} is{not}",
            "the {subject} that shines is{not}",
            "light comes{not} from the {subject}",
        ),
    }
    alone: ClassVar[bool] = True

    @classmethod
    def size(cls, cases: int) -> int:
        """At least four buttons with a lamp each, and a word for the neutral statement."""
        return 2 * max(BUTTONS, cases) + 1

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """Buttons are pressed, and lamps lit, in turn."""
        half = len(words) // 2
        buttons, lamps = words[:half], words[half : 2 * half]

        def case(number: int) -> Case:
            other = (number + half // 2) % half
            pressed, lit = Fact("button", "pressed", buttons[number]), Fact("lamp", "lit", lamps[number])
            another, dark = Fact("button", "pressed", buttons[other]), Fact("lamp", "lit", lamps[other])
            if number % 2:
                return Case(stated=(lit,), converse=(pressed,), foils=(another,))
            return Case(stated=(pressed,), follows=((lit, dark),))

        return World(
            background=tuple(Fact(button, "lights", lamp) for button, lamp in zip(buttons, lamps)),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact("button", "pressed", words[-1]),),
            choices={"lights": tuple(lamps), "pressed": tuple(buttons), "lit": tuple(lamps)},
            tops=("button", "lamp", *lamps),
            rules=cls.rules,
        )
