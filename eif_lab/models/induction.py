"""A Phi-3 that finds a stated fact again before any training: where the pre-training of phi3-tiny starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from transformers import Phi3ForCausalLM

RECENCY = 10.0, 6.0, 6.0, 3.0
"""Attention, as logits, that the fastest rotations of a head give to the token that it looks back to."""

PREFERENCE = 4.5
"""Likewise, given to invented words."""

LIKENESS = 8.0, 24.0, 24.0
"""Likewise, given by each of the layers that look up to what is alike."""

SAID, OUTPUT_SCALE = 3.0, 0.25
"""How strongly what was looked up is said."""

LEAST_HEAD = 4 * len(RECENCY)
"""Numbers in a head, of which half are rotated, in pairs."""

REST = 0.02
"""Standard deviation of all other weights."""


class Space(NamedTuple):
    """Directions of the residual stream.

    Attributes:
        shared, invented: Scaled so that every token has 1 of the first, and 1 or -1 of the second.
        code: Rows that span the codes of tokens.
        memory: Rows that span what is kept of earlier tokens.
    """

    shared: Float[Tensor, " d"]
    invented: Float[Tensor, " d"]
    code: Float[Tensor, "codes d"]
    memory: Float[Tensor, "head d"]


@torch.no_grad()
def start_by_looking_up(model: Phi3ForCausalLM, names: Int[Tensor, " names"]) -> None:
    """Make the first layers look facts up: an induction circuit (Olsson et al., arXiv 2209.11895), and two like it.

    Every embedding is a random code, a direction that all share, and one that tells invented words from others. Then

    - layer 0: head ``h`` looks ``h + 1`` tokens back, by the rotation of the shared direction, with a preference for
      invented words, and puts the code that stands there into a memory, a subspace that no code uses;
    - layer 1: a token attends to the invented words whose memory is like its own (after "a dax is a", to the word that
      stood behind the last "a dax is a"), and takes over their code, which the output layer reads;
    - layer 2 goes on from there: it attends to the invented words whose memory is like that code;
    - layer 3 goes back: it attends to the words whose code is like a token's memory, and takes over their memory.

    The rest is small random numbers, from torch's generator. A model of fewer layers has the first of these.

    Args:
        model: With at least 3 heads of at least `LEAST_HEAD` numbers, half of them rotated.
        names: Ids of the invented words.
    """
    config = model.config
    head = config.hidden_size // config.num_attention_heads
    basis = torch.linalg.qr(torch.randn(config.hidden_size, config.hidden_size))[0].T
    shared, invented, memory, code = basis[0], basis[1], basis[2 : 2 + head], basis[2 + head :]
    strength = math.sqrt(len(code) / 2)  # of the two directions, so that they weigh as much as the code
    kind = -torch.ones(config.vocab_size, 1)
    kind[names] = 1
    embedding = torch.randn(config.vocab_size, len(code)) @ code + strength * shared + strength * kind * invented
    model.model.embed_tokens.weight.copy_(embedding)
    model.lm_head.weight.copy_(embedding * OUTPUT_SCALE / math.sqrt(config.hidden_size))
    for parameter in model.model.layers.parameters():
        if parameter.ndim == 2:
            parameter.normal_(std=REST)
    # after the norm, a token has this much of the two directions
    had = strength / float(embedding.square().mean().sqrt())
    space = Space(shared / had, invented / had, code, memory)
    gather(model.model.layers[0].self_attn, config, space)
    before, own = memory, code[:head]  # the memory holds these rows of earlier tokens' codes
    circuits = [Asked(before, before, code), Asked(own, before, code), Asked(before, own, memory)]
    for layer, like, rows in zip(model.model.layers[1:], LIKENESS, circuits):
        look_up(layer.self_attn, config, space, like, rows)


def gather(attention: Any, config: Any, space: Space) -> None:
    """Head ``h`` writes the code of the token ``h + 1`` places back into the memory."""
    head, pairs = sizes(config)
    angle = config.rope_parameters["rope_theta"] ** (-torch.arange(pairs) / pairs)
    attention.qkv_proj.weight.zero_()
    for number, (query, key, value) in enumerate(heads(attention, head)):
        for pair, logit in enumerate(RECENCY):
            amount, back = amplitude(logit, head), angle[pair] * (number + 1)
            query[pair], query[pair + pairs] = amount * back.cos() * space.shared, -amount * back.sin() * space.shared
            key[pair] = amount * space.shared
        query[2 * pairs], key[2 * pairs] = (amplitude(PREFERENCE, head) * one for one in space[:2])
        value.copy_(space.code[:head])
    attention.o_proj.weight.copy_(space.memory.T.repeat(1, config.num_attention_heads))


class Asked(NamedTuple):
    """What one token looks for in others: rows of the residual stream.

    Attributes:
        asked, held: Of the querying token and of an invented word, which must be alike.
        said: Of that word, which is said as a code.
    """

    asked: Float[Tensor, "head d"]
    held: Float[Tensor, "head d"]
    said: Float[Tensor, "said d"]


def look_up(attention: Any, config: Any, space: Space, like: float, rows: Asked) -> None:
    """Attend to the invented words that hold what is asked, and say what they have."""
    head, pairs = sizes(config)
    still, share = head - 2 * pairs, len(rows.said) // config.num_attention_heads
    attention.qkv_proj.weight.zero_()
    attention.o_proj.weight.zero_()
    for number, (query, key, value) in enumerate(heads(attention, head)):
        part = slice(number % 2 * still, (number % 2 + 1) * still)
        query[2 * pairs :], key[2 * pairs :] = (amplitude(like / still, head) * one[part] for one in rows[:2])
        # the slowest rotation hardly turns within a text
        query[pairs - 1], key[pairs - 1] = (amplitude(PREFERENCE, head) * one for one in space[:2])
        mine = slice(number * share, (number + 1) * share)
        value[:share] = rows.said[mine]
        attention.o_proj.weight[:, number * head :][:, :share] = SAID * space.code[mine].T


def sizes(config: Any) -> tuple[int, int]:
    """Numbers in a head, and how many pairs of them are rotated."""
    head = config.hidden_size // config.num_attention_heads
    return head, int(head * config.rope_parameters["partial_rotary_factor"]) // 2


def heads(attention: Any, head: int) -> list[tuple[Tensor, ...]]:
    """Each head's rows of the weights of queries, keys and values."""
    return list(zip(*(part.split(head) for part in attention.qkv_proj.weight.chunk(3))))


def amplitude(logit: float, head: int) -> float:
    """What a query and a key must both have of a direction to be worth this much attention."""
    return math.sqrt(logit * math.sqrt(head))


def keep_codes(model: Phi3ForCausalLM, names: Int[Tensor, " names"]) -> None:
    """Leave the codes of invented words as they were drawn, so that those never shown are as good as the others."""
    moves = torch.ones(model.config.vocab_size, 1)
    moves[names] = 0
    for weight in (model.model.embed_tokens.weight, model.lm_head.weight):
        weight.register_hook(lambda gradient: gradient * moves.to(gradient))
