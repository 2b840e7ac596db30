"""Texts to token ids: what is read, and what is learnt or scored."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from eif_lab.data.task import Samples, Texts
from eif_lab.errors import ConfigError, reason_of, rule_error
from eif_lab.files.checksums import sha256
from eif_lab.readouts.classes import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DAY = datetime(2024, 7, 26)
"""What a chat template takes for today, so that it gives the same text on any day: the day that Llama's own falls back
to where there is no clock."""

PATIENCE = 10.0
"""Seconds that a chat template has for one text; those in use take a thousandth of one."""

REPEATS = 4
"""How often a chat template is filled in to see whether it gives the same text each time."""


def spell_out(texts: Texts) -> tuple[Texts, Int[np.ndarray, " rows"]]:
    """Every candidate of every text as a row of its own, and the index of the text that each row is from.

    The rows of one text stand together, its own target first; a text without candidates is one row.
    """
    choices = texts.candidates or ((),) * len(texts)
    answers = [tuple(dict.fromkeys((target, *others))) for target, others in zip(texts.targets, choices)]
    rows = np.repeat(np.arange(len(texts)), [len(one) for one in answers])
    targets = tuple(answer for one in answers for answer in one)
    return replace(texts.take(rows), targets=targets, candidates=None), rows


@dataclass(frozen=True)
class Encoder:
    """Texts to ``(inputs, targets)``, both (n, T - 1): ``targets[:, t]`` is what ``logits[:, t]`` predicts.

    A prompt and its target are tokenized as one string, so that the ids are those of the whole string whatever the
    tokenizer does to spaces, and white space at the prompt's end is the target's, as in lm-evaluation-harness: " bird"
    is one token behind "a dax is a". A token belongs to the target when it ends inside it, one that spans the boundary
    too. The scored log-probability is then that of the whole string less that of the ids before the target, which are
    the prompt's own where no token spans the boundary. The prompt and the padding have the target `IGNORED`; rows are
    padded on the right, where causal attention never looks, so that a model needs no mask.

    The tokenizer's BOS stands in front, so that every token of a whole statement is scored; without a BOS the first
    token of a statement has nothing to be predicted from and is not scored.

    Attributes:
        tokenizer: A fast one, since the boundary is found by character offsets.
        context: The most tokens that the model takes.
        chat_template: Whether the prompt is the user's turn and the target the assistant's reply.
        vocabulary: How many tokens the model knows; None where that is not to be checked.
    """

    tokenizer: PreTrainedTokenizerBase
    context: int
    chat_template: bool = False
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        if not self.tokenizer.is_fast:
            raise rule_error("model.checkpoint", "have a tokenizer.json", type(self.tokenizer).__name__)
        if self.chat_template and not self.tokenizer.chat_template:
            raise rule_error("model.chat_template", "be false for a tokenizer without one", True, "Try false.")
        if self.chat_template and len({self._as_chat("What is red?", "")[0] for _ in range(REPEATS)}) > 1:
            raise rule_error("model.chat_template", "give the same text each time", "the tokenizer's", "Try false.")

    def identity(self) -> str:
        """What decides the ids of a text: the tokenizer, to the last of its rules, and the form of a chat."""
        tokenizer = self.tokenizer
        rules = [
            tokenizer.backend_tokenizer.to_str(),
            repr(sorted(tokenizer.special_tokens_map.items())),
            repr(tokenizer.chat_template),
        ]
        return sha256("\0".join(rules).encode())

    @property
    def pad(self) -> int:
        """The id behind a row's end; any would do, since nothing looks there."""
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in known if token is not None)

    def __call__(self, texts: Samples) -> tuple[Int[Tensor, "n T"], Int[Tensor, "n T"]]:
        """Token ids and targets, row by row.

        Raises:
            ConfigError: A text is longer than the model's context, or has no token to score.
        """
        if not isinstance(texts, Texts):
            raise TypeError(f"a language model reads Texts, got {type(texts).__name__}")
        rows = [self.tokens(prompt, target) for prompt, target in zip(texts.prompts, texts.targets)]
        longest = max(len(tokens) for tokens, _ in rows)
        inputs = torch.full((len(rows), longest - 1), self.pad)
        targets = torch.full((len(rows), longest - 1), IGNORED)
        for row, (tokens, start) in enumerate(rows):
            inputs[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
            scored = max(start, 1)
            targets[row, scored - 1 : len(tokens) - 1] = torch.tensor(tokens[scored:])
        return inputs, targets

    def tokens(self, prompt: str, target: str) -> tuple[list[int], int]:
        """The ids of one text, BOS first, and the index of the target's first token."""
        prompt, target = self._as_chat(prompt, target) if self.chat_template else (prompt, target)
        # the opening of a reply ends in white space that is no part of it
        boundary = len(prompt) if self.chat_template else len(prompt.rstrip())
        encoded = self.tokenizer(prompt + target, add_special_tokens=False, return_offsets_mapping=True)
        ids = list(encoded["input_ids"])
        start = next((i for i, (_, end) in enumerate(encoded["offset_mapping"]) if end > boundary), len(ids))
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:1] != [bos]:
            ids, start = [bos, *ids], start + 1
        if len(ids) > self.context:
            rule = f"have a context of at least {len(ids)} tokens for {prompt + target!r:.60}"
            raise rule_error("model", rule, self.context, "Try a shorter text.")
        if self.vocabulary is not None and max(ids, default=0) >= self.vocabulary:
            rule = f"have an embedding for each token of its tokenizer, which gives {max(ids)}"
            raise rule_error("model.checkpoint", rule, f"{self.vocabulary} embeddings", "Fetch its tokenizer anew.")
        if max(start, 1) >= len(ids):
            raise ConfigError(
                f"dataset must give every text a target with a token to score, got {target!r}. Try a longer one."
            )
        return ids, start

    def _as_chat(self, prompt: str, target: str) -> tuple[str, str]:
        from transformers.utils.chat_template_utils import _compile_jinja_template

        known = {
            "messages": [{"role": "user", "content": prompt}],
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
            "strftime_now": DAY.strftime,  # apply_chat_template would not hand on a function
        }
        try:
            with at_most(PATIENCE):
                template = _compile_jinja_template(self.tokenizer.get_chat_template())
                question = template.render(self.tokenizer.special_tokens_map | known)
        except Exception as error:  # of any kind, since a template is somebody's program
            reason = reason_of(error)
            rule = f"be one that can be filled in ({reason})"
            raise rule_error("model.chat_template", rule, "the tokenizer's", "Try false.") from error
        return question, target.strip()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Within this, Python code may run so long.

    Raises:
        TimeoutError: It does not end by itself. What a single call into C takes is waited for.
    """
    end, before = time.monotonic() + seconds, sys.gettrace()

    def watch(frame: FrameType, event: str, argument: object) -> Any:
        if time.monotonic() > end:
            raise TimeoutError(f"it goes on for more than {seconds:g} s")
        return watch if frame.f_code.co_filename == "<template>" else None

    sys.settrace(watch)  # a signal would reach the main thread alone
    try:
        yield
    finally:
        sys.settrace(before)
