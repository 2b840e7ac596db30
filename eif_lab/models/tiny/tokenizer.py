"""The tokenizer of phi3-tiny: byte-level BPE in which every invented word is one token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from eif_lab.data.worlds.names import words
from eif_lab.errors import rule_error

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

from eif_lab.data.worlds.domains import DOMAINS

UNKNOWN, BOS, EOS, PAD = "<unk>", "<s>", "<|endoftext|>", "<|pad|>"


TURNS = ("<|user|>", "<|assistant|>", "<|end|>")


CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def make_tokenizer(vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (Radford et al., 2019) with Phi-3's special tokens and chat form.

    It is trained on the words of the domains' wordings and on the invented words, each standing alone: these are one
    token each, and anything else is spelled out. A text's first word is encoded as any other, with a space before it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[UNKNOWN, BOS, EOS, PAD, *TURNS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(single_tokens()), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(TURNS),
        chat_template=CHAT_TEMPLATE,
    )


def single_tokens() -> set[str]:
    """Words that ought to be one token, with a space in front: invented ones and those of the domains' sentences."""
    parts = {word for domain in DOMAINS for ways in domain.wordings.values() for way in ways for word in way.split()}
    fixed = {word.removesuffix("{not}") for word in parts if word not in ("{subject}", "{subject}{not}")}
    return {f" {word}" for word in (*invented_words(), *fixed, "not", ".")}


def invented_words() -> list[str]:
    """All invented words, those that pre-training shows and those that it doesn't."""
    return [*words(unseen=True), *words(unseen=False)]


def names_in(tokenizer: PreTrainedTokenizerFast) -> Int[Tensor, " names"]:
    """The ids of the invented words.

    Raises:
        ConfigError: The vocabulary is too small to hold each as a token.
    """
    ids = tokenizer(invented_words(), add_special_tokens=False)["input_ids"]
    if any(len(tokens) > 1 for tokens in ids):
        rule = f"be large enough for {len(ids)} invented words"
        raise rule_error("pretraining.vocabulary_size", rule, len(tokenizer), "Try 2048.")
    return torch.tensor(ids).flatten()
