"""Prompting: the stimulus stands before the probe in the context, and no weight moves."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from eif_lab.data.task import Samples, Texts
from eif_lab.errors import rule_error
from eif_lab.methods.method import ContextMethod
from eif_lab.models.language.encoding import Encoder
from eif_lab.options import option
from eif_lab.readouts.classes import IGNORED

CHAT = "chat"
TEMPLATES = {
    "statement": "{stimulus} {probe}",
    "question": "{stimulus}\nQ: {probe}\nA:",
    CHAT: "{stimulus} {probe}",
}
"""The text before a probe's target; of ``chat`` it is the user's turn, and the target is the assistant's reply."""

PLACES = re.compile(r"([^{}]*)\{stimulus\}([^{}]*)\{probe\}([^{}]*)")


Encode = Callable[[Samples], tuple[Tensor, Tensor]]
"""A model's encoder: samples to (inputs, targets), row by row."""


@dataclass
class Prompt(ContextMethod):
    """The stimulus is read, not learnt: ``I[i, j] = s(theta; z_i ++ q_j) - s(theta; q_j)``.

    The same framing without the stimulus is ``s(theta; q_j)``, so that the influence is what the stimulus alone does.

    With k > 1 stimuli in context each stands behind k - 1 others, drawn from other worlds, which are there before and
    after: ``I[i, j] = s(theta; c_i ++ z_i ++ q_j) - s(theta; c_i ++ q_j)``. So the influence stays that of stimulus i.

    Attributes:
        template: ``statement``, ``question`` or ``chat`` (see `TEMPLATES`), or a text of one's own with ``{stimulus}``
            and then ``{probe}``, the place of a probe's prompt; its target follows behind. Where there is nothing to
            put into a place, the white space behind it goes too.
        stimuli_in_context: k, how many stimuli are read; the one that is measured stands last.
    """

    kinds: ClassVar[tuple[str, ...]] = (Texts.kind,)

    template: str = option("statement")
    stimuli_in_context: int = option(1, at_least=1, hint="Try 1.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not PLACES.fullmatch(self.form):
            rule = f"be {', '.join(TEMPLATES)}, or a text with {{stimulus}} and then {{probe}}"
            raise rule_error("method.template", rule, self.template, "Try '{stimulus} {probe}'.")

    @property
    def form(self) -> str:
        """The template's text."""
        return TEMPLATES.get(self.template, self.template)

    def encoder(self, encode: Encode) -> Encode:
        """The encoder of framed texts: the model's own, for ``chat`` in the tokenizer's chat form.

        Raises:
            ConfigError: The tokenizer has none.
        """
        if self.template != CHAT:
            return encode
        if not (isinstance(encode, Encoder) and encode.tokenizer.chat_template):
            raise rule_error("method.template", "be another for a tokenizer without chat form", CHAT, "Try question.")
        return replace(encode, chat_template=True)

    def frame(self, probes: Texts, context: str = "") -> Texts:
        """The probes with a context before them; without one, the same framing around nothing.

        A whole statement, which has no prompt of its own, is parted from what stands before it by a blank.

        Args:
            probes: Each target is what is scored; candidates are rows of their own by now (`spell_out`).
            context: What is read first.
        """
        places = PLACES.fullmatch(self.form)
        assert places
        start, between, end = places.groups()
        opening = start + (context + between if context else between.lstrip())
        prompts = [opening + (prompt + end if prompt else end.lstrip()) for prompt in probes.prompts]
        whole = [not before and bool(prompt.strip()) for before, prompt in zip(probes.prompts, prompts)]
        return replace(
            probes,
            prompts=tuple(prompt.rstrip() if w else prompt for w, prompt in zip(whole, prompts)),
            targets=tuple(f" {target.lstrip()}" if w else target for w, target in zip(whole, probes.targets)),
            candidates=None,
        )

    def rows(self, encode: Encode, probes: Texts, context: str = "") -> tuple[Tensor, Tensor]:
        """The framed probes as (inputs, targets).

        A tokenizer without a BOS leaves the first token of a text unscored, since nothing is there to predict it from.
        That token stays unscored behind a context, so that both readings are of the same tokens.

        Args:
            encode: The model's own encoder.
            probes: Each target is what is scored.
            context: What is read first; empty for nothing.
        """
        encode = self.encoder(encode)
        inputs, targets = encode(self.frame(probes, context))
        if context and isinstance(encode, Encoder) and encode.tokenizer.bos_token_id is None:
            unprompted = [not (prompt or encode.chat_template) for prompt in self.frame(probes).prompts]
            first = (targets != IGNORED).int().argmax(1)
            rows = torch.tensor(unprompted).nonzero().flatten()
            targets[rows, first[rows]] = IGNORED
        return inputs, targets

    def contexts(self, stimuli: Texts, seed: int) -> list[tuple[str, str]]:
        """For each stimulus the context with it, and that without it: its companions, or nothing where k is 1.

        A stimulus has the same companions wherever it stands among the others.

        Args:
            stimuli: Whole texts are read, prompt and target.
            seed: Of the companions' draw.

        Raises:
            ConfigError: There are fewer than k - 1 others.
        """
        texts = [f"{prompt}{target}".strip() for prompt, target in zip(stimuli.prompts, stimuli.targets)]
        companions = [[texts[j] for j in self._companions(stimuli, i, seed)] for i in range(len(stimuli))]
        return [(" ".join([*others, text]), " ".join(others)) for others, text in zip(companions, texts)]

    def _companions(self, stimuli: Texts, index: int, seed: int) -> list[int]:
        """Rows of other stimuli, clean ones of other worlds; the same ones for every copy of a stimulus."""
        count = self.stimuli_in_context - 1
        if not count:
            return []
        source = stimuli.coords.get("source", stimuli.ids)
        unit = stimuli.coords.get("world", source)
        marks = (np.asarray(stimuli.coords.get(name, np.zeros(len(stimuli)))) for name in ("neutral", "sigma"))
        others = np.flatnonzero((unit != unit[index]) & ~np.any([mark != 0 for mark in marks], axis=0))
        if len(others) < count:
            rule = f"be at most {len(others) + 1}, one more than the stimuli of other worlds"
            raise rule_error("method.stimuli_in_context", rule, self.stimuli_in_context, f"Try {len(others) + 1}.")
        generator = np.random.default_rng([seed, *str(source[index]).encode()])
        return generator.choice(others[np.argsort(stimuli.ids[others])], count, replace=False).tolist()
