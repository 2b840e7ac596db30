"""Texts to token ids: what is read, and what is learnt or scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from jinja2 import TemplateError
from torch import Tensor

from eif_lab.data.task import Samples, Texts
from eif_lab.schema import ConfigError, rule_error

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The target of a position that is neither learnt nor scored."""


def spell_out(texts: Texts) -> tuple[Texts, Int[np.ndarray, " rows"]]:
    """Every candidate of every text as a row of its own, and the index of the text that each row is from.

    The rows of one text stand together, its own target first; a text without candidates is one row.
    """
    choices = texts.candidates or ((),) * len(texts)
    answers = [tuple(dict.fromkeys((own, *others))) for own, others in zip(texts.targets, choices)]
    rows = np.repeat(np.arange(len(texts)), [len(one) for one in answers])
    targets = tuple(answer for one in answers for answer in one)
    return replace(texts.take(rows), targets=targets, candidates=None), rows


@dataclass(frozen=True)
class Encoder:
    """Texts to ``(inputs, targets)``, both (n, T - 1): ``targets[:, t]`` is what ``logits[:, t]`` predicts.

    A prompt and its target are tokenized as one string, and a token belongs to the target when it ends inside it, so
    that the ids are those of the whole string whatever the tokenizer does to spaces. A token that spans the boundary
    therefore counts as target. The prompt and the padding have the target `IGNORED`; rows are padded on the right,
    where causal attention never looks, so that a model needs no mask.

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
        encoded = self.tokenizer(prompt + target, add_special_tokens=False, return_offsets_mapping=True)
        ids = list(encoded["input_ids"])
        start = next((i for i, (_, end) in enumerate(encoded["offset_mapping"]) if end > len(prompt)), len(ids))
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
        turns = [{"role": "user", "content": prompt}]
        try:
            asked = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise rule_error(
                "model.chat_template", f"be one that can be filled in ({error})", "the tokenizer's", "Try false."
            ) from None
        return str(asked), target.strip()
