"""A model of Llama's form in Phi-3's: the same numbers, with q, k and v in one matrix, and gate and up in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eif_lab.errors import rule_error
from eif_lab.models.hub import FIELD, quiet_transformers

if TYPE_CHECKING:
    from transformers import LlamaConfig, Phi3Config, Phi3ForCausalLM, PreTrainedModel

JOINED = {
    "self_attn.qkv_proj.weight": [f"self_attn.{part}_proj.weight" for part in "qkv"],
    "mlp.gate_up_proj.weight": [f"mlp.{part}_proj.weight" for part in ("gate", "up")],
}
"""Phi-3's matrices, and those of Llama whose rows they hold, in this order."""

SAME = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
"""What both configurations call by one name."""


def join(model: PreTrainedModel) -> Phi3ForCausalLM:
    """A model of Llama's form as one of Phi-3's with the same logits; the two share the weights that stay as they are.

    Args:
        model: A ``LlamaForCausalLM`` without biases, scaled positions or heads of a size of their own.

    Raises:
        ConfigError: It is none, or has something that Phi-3's form has no place for.
    """
    from transformers import Phi3ForCausalLM

    config = joined_config(model)
    weights: dict[str, Tensor] = dict(model.state_dict())
    for layer in range(config.num_hidden_layers):
        place = f"model.layers.{layer}."
        for joined, parts in JOINED.items():
            weights[place + joined] = torch.cat([weights.pop(place + part) for part in parts])
    with quiet_transformers():
        made: Any = Phi3ForCausalLM.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=model.dtype,
            attn_implementation=model.config._attn_implementation,
        )
    return made.to(model.device).eval()


def joined_config(model: PreTrainedModel) -> Phi3Config:
    """The configuration of what `join` makes.

    Raises:
        ConfigError: As of `join`.
    """
    from transformers import LlamaForCausalLM, Phi3Config

    if not isinstance(model, LlamaForCausalLM):
        hint = "Give it to model.checkpoint as it is."
        raise rule_error(FIELD, "be of Llama's form to be joined into Phi-3's", type(model).__name__, hint)
    config: LlamaConfig = model.config
    rotation: Any = config.rope_parameters  # which transformers always fills in
    for name, value, possible in (
        ("attention_bias", config.attention_bias, False),
        ("mlp_bias", config.mlp_bias, False),
        ("head_dim", config.head_dim, config.hidden_size // config.num_attention_heads),
        ("rope_type", rotation.get("rope_type", "default"), "default"),
    ):
        if value != possible:
            rule = f"have {name} {possible} in its config.json, since Phi-3's form has nothing else"
            raise rule_error(FIELD, rule, value, "Give it to model.checkpoint as it is.")
    return Phi3Config(
        **{name: getattr(config, name) for name in SAME},
        attention_dropout=config.attention_dropout or 0.0,
        original_max_position_embeddings=config.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": rotation["rope_theta"]},
    )
