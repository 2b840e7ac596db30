"""Causal language models and their tokenizers in the hub's format: from a directory, the local cache, or the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eif_lab.models.hub import Family, config_of, load_model, load_shape, opened

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CAUSAL = Family(
    "a causal language model",
    "AutoModelForCausalLM",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "Try microsoft/Phi-3-mini-4k-instruct.",
)


def load_checkpoint(
    checkpoint: str, *, dtype: str = "float32", attention: str = "sdpa"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model in eval mode, and its tokenizer; nothing that the checkpoint ships is executed.

    Args:
        checkpoint: A directory in the hub's format, or a name on the hub.
        dtype: Of the weights, as torch names it.
        attention: As transformers' ``attn_implementation``.

    Raises:
        ConfigError: It cannot be had, is no causal language model, lacks weights, or has some that are no numbers.
    """
    from transformers import AutoTokenizer

    with opened(checkpoint) as (place, options):
        config = config_of(place, CAUSAL, options)
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        return load_model(place, CAUSAL, config, options, dtype=dtype, attn_implementation=attention), tokenizer


def load_outline(
    checkpoint: str, *, dtype: str = "float32", attention: str = "sdpa"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model on the meta device, its weights shapes without numbers, and its tokenizer.

    Args:
        checkpoint: A directory in the hub's format, or a name on the hub; its weights are not read.
        dtype: Of the weights, as torch names it.
        attention: As transformers' ``attn_implementation``.

    Raises:
        ConfigError: Its configuration or tokenizer cannot be had, or it is no causal language model.
    """
    from transformers import AutoTokenizer

    with opened(checkpoint) as (place, options):
        config = config_of(place, CAUSAL, options)
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        return load_shape(CAUSAL, config, dtype=dtype, attn_implementation=attention), tokenizer
