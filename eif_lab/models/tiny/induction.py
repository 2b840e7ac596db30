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
"""Attention, as a logit, that a head gives to every invented word."""

STATED, FURTHER = 8.0, 24.0
"""Attention logits between equal codes: of memories to memories, and where more codes must be distinguished."""

ANSWERED, OUTPUT_SCALE = 3.0, 0.5
"""The factor of what was looked up, and the scale of the output layer, at which the loss begins lowest."""

LEAST_HEAD = 4 * len(RECENCY)
"""Numbers in a head, of which half are rotated, in pairs."""

REST = 0.02
"""Standard deviation of all other weights."""


class Space(NamedTuple):
    """Directions of the residual stream.

    Attributes:
        shared, invented: Scaled so that every token has 1 of the first, and 1 or -1 of the second.
        memory: Rows that span what is kept of earlier tokens.
        code, answer: Rows that span the codes of tokens: what a token is, and what was looked up for it.
    """

    shared: Float[Tensor, " d"]
    invented: Float[Tensor, " d"]
    memory: Float[Tensor, "head d"]
    code: Float[Tensor, "codes d"]
    answer: Float[Tensor, "codes d"]


class Lookup(NamedTuple):
    """The query of one token to others: rows of the residual stream.

    Attributes:
        query, key: Of the querying token and of an invented word, which must be alike.
        value: Of that word, which becomes the answer.
        likeness: Attention, as a logit, given to what is alike.
    """

    query: Float[Tensor, "head d"]
    key: Float[Tensor, "head d"]
    value: Float[Tensor, "values d"]
    likeness: float


@torch.no_grad()
def start_by_looking_up(model: Phi3ForCausalLM, names: Int[Tensor, " names"]) -> None:
    """Make the first layers look facts up: an induction circuit (Olsson et al., arXiv 2209.11895), and three like it.

    Every embedding is a random code, a direction that all share, and one that tells invented words from others. Then

    - layer 0: head ``h`` looks ``h + 1`` tokens back, by the rotation of the shared direction, with a preference for
      invented words, and puts the code that stands there into a memory;
    - layer 1, half of its heads, goes on: a token attends to the invented words whose memory is like its own (after "a
      dax is a", to the word that stood behind the last "a dax is a"), and their code becomes its answer;
    - the other half goes back: a token attends to the invented words whose code is like its memory (after "the king of
      zug is", to "zug"), and their memory becomes its answer;
    - layer 2 does both once more, from that answer in place of the memory.

    Codes, memory and answers are subspaces that share no direction, and the output layer reads answers. The rest is
    small random numbers, from torch's generator. A model of fewer layers has the first of these.

    Args:
        model: With at least 3 heads of at least `LEAST_HEAD` numbers, half of them rotated.
        names: Ids of the invented words.
    """
    config = model.config
    head = config.hidden_size // config.num_attention_heads
    width = (config.hidden_size - head - 2) // 2
    basis = torch.linalg.qr(torch.randn(config.hidden_size, config.hidden_size))[0].T
    (shared, invented), memory, code, answer = basis.split((2, head, width, width))
    strength = math.sqrt(width / 2)  # of the two directions, so that they weigh as much as the code
    kind = -torch.ones(config.vocab_size, 1)
    kind[names] = 1
    drawn = torch.randn(config.vocab_size, width)
    embedding = drawn @ code + strength * shared + strength * kind * invented
    model.model.embed_tokens.weight.copy_(embedding)
    model.lm_head.weight.copy_(drawn @ answer * OUTPUT_SCALE / math.sqrt(width))
    for parameter in model.model.layers.parameters():
        if parameter.ndim == 2:
            parameter.normal_(std=REST)
    # after the norm, a token has this much of the two directions
    amount = strength / float(embedding.square().mean().sqrt())
    space = Space(shared / amount, invented / amount, memory, code, answer)
    gather(model.model.layers[0].self_attn, config, space)
    remembered = code[:head]  # the memory holds these rows of earlier tokens' codes
    for layer, query, likeness in zip(model.model.layers[1:], (memory, answer[:head]), (STATED, FURTHER)):
        on, back = Lookup(query, memory, code, likeness), Lookup(query, remembered, memory, FURTHER)
        look_up(layer.self_attn, config, space, on, back)


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


def look_up(attention: Any, config: Any, space: Space, on: Lookup, back: Lookup) -> None:
    """Half of the heads do the one lookup, the others the other."""
    head, pairs = sizes(config)
    still = head - 2 * pairs
    attention.qkv_proj.weight.zero_()
    attention.o_proj.weight.zero_()
    half = config.num_attention_heads // 2
    every = list(zip(heads(attention, head), attention.o_proj.weight.split(head, dim=1)))
    for lookup, some in ((on, every[:half]), (back, every[half:])):
        values = lookup.value.tensor_split(len(some))
        places = space.answer[: len(lookup.value)].tensor_split(len(some))
        for number, ((query, key, value), output) in enumerate(some):
            part = slice(number % 2 * still, (number % 2 + 1) * still)
            strength = amplitude(lookup.likeness / still, head)
            query[2 * pairs :], key[2 * pairs :] = strength * lookup.query[part], strength * lookup.key[part]
            # the slowest rotation hardly turns within a text
            query[pairs - 1], key[pairs - 1] = (amplitude(PREFERENCE, head) * one for one in space[:2])
            value[: len(values[number])] = values[number]
            output[:, : len(values[number])] = ANSWERED * places[number].T


def sizes(config: Any) -> tuple[int, int]:
    """Numbers in a head, and how many pairs of them are rotated."""
    head = config.hidden_size // config.num_attention_heads
    return head, int(head * config.rope_parameters["partial_rotary_factor"]) // 2


def heads(attention: Any, head: int) -> list[tuple[Tensor, ...]]:
    """Each head's rows of the weights of queries, keys and values."""
    return list(zip(*(part.split(head) for part in attention.qkv_proj.weight.chunk(3))))


def amplitude(logit: float, head: int) -> float:
    """The size that a direction must have in both query and key for this attention logit."""
    return math.sqrt(logit * math.sqrt(head))


def keep_codes(model: Phi3ForCausalLM, names: Int[Tensor, " names"]) -> None:
    """Leave the codes of invented words as they were drawn, so that those never shown are as good as the others."""
    moves = torch.ones(model.config.vocab_size, 1)
    moves[names] = 0
    for weight in (model.model.embed_tokens.weight, model.lm_head.weight):
        weight.register_hook(lambda gradient: gradient * moves.to(gradient))
