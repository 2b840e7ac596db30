"""Whether a language model reads a token from those before it alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eif_lab.errors import rule_error, short_of_memory

LENGTH = 12
"""Tokens of the text that a model is tried with."""

NOTHING = 1e-6
"""What a later token may move, as a share of what earlier ones do (the median: an embedding of zeros moves without
bounds). A model that looks ahead and takes it back, as by a Fourier transform, would leave rounding; of an untrained
BERT later tokens move thousandths, in bfloat16, too."""


def must_not_see_ahead(model: nn.Module) -> None:
    """Refuse a model whose logits at a token depend on later ones: it would read the answer before it gives it.

    Only models of transformers are looked at, and only those that have numbers.

    Raises:
        ConfigError: It does.
    """
    from transformers import PreTrainedModel

    if isinstance(model, PreTrainedModel) and model.device.type != "meta" and sees_ahead(model):
        rule = "read each token from those before it alone"
        hint = "Try a decoder; one of BERT's family is one with is_decoder in its config.json."
        raise rule_error("model.checkpoint", rule, f"{type(model).__name__}, which sees later ones", hint)


def sees_ahead(model: Any) -> bool:
    """Whether logits at a token have a gradient by the embeddings of later ones; False where there are no gradients.

    What a mask hides has a gradient of zero to the last bit, in any precision and whatever rounding or routing does to
    the logits themselves. Two neighbouring tokens are looked at, since one may be the last of a chunk of attention.
    """
    try:
        rows = attention_of(model)
    except (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        if short_of_memory(error):
            raise
        return False  # it cannot be called so, or not be trained at all, which measuring says in its own words
    return any(bool(moves[place + 1 :].max() > NOTHING * moves[: place + 1].median()) for place, moves in rows)


def attention_of(model: Any) -> list[tuple[int, Tensor]]:
    """Two places in a text, and how much the embedding of each token moves the logits there."""
    embeddings: Any = model.get_input_embeddings()
    most = getattr(model.config, "max_position_embeddings", None) or -1  # of some any number, which they write as -1
    length = min(LENGTH, most) if most > 0 else LENGTH
    device = embeddings.weight.device
    ids = (7 * torch.arange(length, device=device) + 3) % len(embeddings.weight)
    embedded: list[Tensor] = []

    def embed_as_leaf(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1].clone()  # which a model may write into

    handle = embeddings.register_forward_hook(embed_as_leaf)
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            logits = model(input_ids=ids[None], use_cache=False).logits[0]
            weights = torch.linspace(-1, 1, logits.shape[-1], device=device, dtype=logits.dtype)
            places = [length // 2 - 1, length // 2]
            sums = [(logits[place] * weights).sum() for place in places]
            gradients = [torch.autograd.grad(one, embedded[0], retain_graph=True) for one in sums]
    finally:
        handle.remove()
    return [(place, gradient.abs().amax(-1).flatten()) for place, (gradient,) in zip(places, gradients)]
