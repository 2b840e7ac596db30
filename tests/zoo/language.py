"""Every causal language model of transformers that can be made small, by every method: ``python -m tests.zoo``.

A model is made from its own configuration with the sizes of `SMALL`; what that leaves inconsistent is put right in
`OWN`. Norms, rotations and routers of many compute in float32 whatever the weights are in, so that a cell is held to
`TOLERANCE` of the largest one, not to float64's own. Nothing is dropped out, nothing cached, and rows have one length:
`CausalLM` calls a model on token ids alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from eif_lab.models.hub import quiet_transformers
from eif_lab.models.language.causal_lm import CausalLM, token_loss

from .case import Case, Made

WORDS = 41
TOLERANCE = 1e-5
ROUGH = 2e-3
"""Of those that compute in float32 alone."""

METHODS: dict[str, Any] = {
    "full": "full",
    "lora": {"name": "lora", "rank": 2},
    "adapter": {"name": "adapter", "bottleneck": 3},
    "ia3": "ia3",
    "lokr": {"name": "peft", "tuner": "LOKR", "options": {"r": 2}},
}

SMALL: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), WORDS),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "emb_dim", "embed_dim", "attention_hidden_size"), 16),
    **dict.fromkeys(("embedding_size", "input_embedding_size", "output_embedding_size", "word_embed_proj_dim"), 16),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "dff"), 24),
    **dict.fromkeys(("ffn_hidden_size", "mlp_hidden_size", "feed_forward_size", "d_inner"), 24),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"), 12),
    "moe_shared_expert_intermediate_size": 12,
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks"), 2),
    **dict.fromkeys(("decoder_layers", "num_decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("encoder_attention_heads", "num_decoder_attention_heads"), 2),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 1),
    **dict.fromkeys(("head_dim", "d_kv", "v_head_dim", "qk_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length"), 64),
    **dict.fromkeys(("context_length", "original_max_position_embeddings"), 64),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("n_shared_experts", "n_group", "topk_group"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "hidden_size_per_layer_input"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim"), 4),
    **{"index_n_heads": 2, "index_topk": 64},
    **dict.fromkeys(("state_size", "mamba_d_state", "mamba_dt_rank", "time_step_rank"), 4),
    **{"mamba_n_heads": 2, "mamba_d_head": 16, "lru_width": 16},
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "sliding_window": 32},
    **{"initializer_range": 0.2, "init_std": 0.2, "layer_types": None, "is_decoder": True, "use_cache": False},
}
"""Sizes, by all the names that configurations have for them; the BERTs see no later token as decoders alone."""

DROPOUTS = ("dropout", "pdrop", "layerdrop", "dropout_prob", "dropout_rate")
"""How the names of what is set to zero end."""

TWO_HEADS = {"num_key_value_heads": 2}
OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v3", "deepseek_v32", "diffllama", "dots3_note_text"), TWO_HEADS),
    **dict.fromkeys(("glm_moe_dsa", "youtu"), TWO_HEADS),
    "codegen": {"n_embd": 32, "n_head": 4},
    "falcon_h1": {"mamba_d_ssm": 32},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 4, "head_dim": 8, "n_groups": 1},
    "xlm": {"causal": True},
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}
"""What a configuration needs besides `SMALL`."""

LEFT_OUT = {
    **dict.fromkeys(
        ("blt", "emu3", "fuyu", "gemma3", "gemma3n", "gemma4", "gemma4_unified", "git"), "of more than text"
    ),
    **dict.fromkeys(("got_ocr2", "llama4", "mllama", "moss_transcribe_diarize", "musicgen"), "of more than text"),
    **dict.fromkeys(("musicgen_melody", "phi4_multimodal", "qwen3_5", "qwen3_5_moe", "qwen4_exp"), "of more than text"),
    **dict.fromkeys(("dots3_note", "moshi"), "of more than text"),
    **dict.fromkeys(("gemma3n_text", "gemma4_assistant", "gemma4_unified_assistant"), "shares another model's cache"),
    **dict.fromkeys(("cohere_compass_text", "dbrx", "zamba", "zamba2"), "cannot be made from its configuration alone"),
    **dict.fromkeys(("kimi_linear", "roc_bert", "cpmant", "inkling_text", "inkling2_text"), "does not become small"),
    **dict.fromkeys(("gpt-sw3", "internlm3", "iquestcoder"), "another's class"),
    "longcat_flash": "needs other sizes",
    "reformer": "computes gradients in train mode alone, at random",
    "xlnet": "sees later tokens",
}
"""Those of the mapping that are not here, and why."""

FLOAT32 = ("xglm",)
"""Those that do not compute in float64."""

WITHOUT_LINEAR = ("gpt2", "openai-gpt")
"""Those of whose layers all are transposed, which LOKR does not take."""

KINDS = [kind for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind not in LEFT_OUT and kind in CONFIG_MAPPING]
CORE = ("phi3", "gpt2", "gpt_neox", "opt", "bloom", "mixtral", "bert", "mamba")


def small_config(kind: str) -> PretrainedConfig:
    """A configuration of this ``model_type``."""
    configuration = CONFIG_MAPPING[kind]
    known, aliases = configuration().to_dict(), configuration.attribute_map
    chosen = {name: value for name, value in SMALL.items() if name in known and name not in aliases}
    chosen = {name: value for name, value in chosen.items() if not isinstance(known[name], dict)}
    if "qk_rope_head_dim" in known:
        chosen.pop("head_dim", None)  # is made from it
    dropped = {name: 0.0 for name, value in known.items() if name.endswith(DROPOUTS) and isinstance(value, float)}
    return configuration(**{**chosen, **dropped, **OWN.get(kind, {})})


def small_model(kind: str) -> CausalLM:
    """A seeded model of this ``model_type``."""
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind])(small_config(kind)).eval()
        model.set_experts_implementation("eager")  # the others compute in float32 at most
    return CausalLM(model.float() if kind in FLOAT32 else model.double())


def texts(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of seven tokens, of which the last four are scored."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, WORDS, (count, 8), generator=generator)
    targets = ids[:, 1:].clone()
    targets[:, :3] = -100
    return ids[:, :-1], targets


def maker(kind: str) -> Callable[[int, int], Made]:
    def make(stimuli: int, probes: int) -> Made:
        return small_model(kind), token_loss, texts(stimuli, 1), texts(probes, 2)

    return make


def case(kind: str, method: str) -> Case:
    """One architecture by one method."""
    refused = (
        "LOKR does not fit this model .*Conv1D.* Try method=lora"
        if method == "lokr" and kind in WITHOUT_LINEAR
        else None
    )
    rate = {"full": 0.1, "ia3": 5.0 if kind == "openai-gpt" else 0.5}.get(method, 0.5)
    return Case(
        name=f"{kind} by {method}",
        kind="language",
        make=maker(kind),
        options={"method": METHODS[method], "update": {"learning_rate": rate}},
        tolerance=ROUGH if kind in FLOAT32 else TOLERANCE,
        refused=refused,
        slow=True,
        stimuli=3,
        probes=4,
    )


CASES = [case(kind, method) for kind in KINDS for method in METHODS]
"""All of them slow: the core is also in `test_language`."""
