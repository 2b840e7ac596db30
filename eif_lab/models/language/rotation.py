"""Rotations of positions that change with a text's length (LongRoPE), taken for each row by its own length.

transformers takes the long factors for a whole batch as soon as its longest row, padding included, goes beyond the
length that the model was first trained on. So one long text, or the padding up to it, would change all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn


def turning_modules(model: nn.Module) -> list[nn.Module]:
    """The modules whose rotation is another one beyond a length."""
    kinds = [(module, getattr(module, "rope_type", None)) for module in model.modules()]
    return [m for m, kind in kinds if "longrope" in (kind.values() if isinstance(kind, dict) else [kind])]


def turning_length(module: nn.Module, layer_type: str | None) -> int | None:
    """The most tokens that a rotation is the usual one for; None where it is that for any number.

    Args:
        module: One of `turning_modules`.
        layer_type: Which of its rotations, where it has several.
    """
    kind: Any = module.rope_type
    parameters: Any = module.config.rope_parameters  # type: ignore[union-attr]
    if layer_type is not None:
        kind, parameters = kind[layer_type], parameters[layer_type]
    return parameters["original_max_position_embeddings"] if kind == "longrope" else None


@contextmanager
def turned_by_row(model: nn.Module, lengths: Int[Tensor, " n"], width: int) -> Iterator[None]:
    """Within this, each row is turned as if it were alone and without padding.

    Args:
        model: A transformers model.
        lengths: Of the rows, in tokens without padding.
        width: Tokens of each row with it; what else the model puts in front of them counts for all.
    """
    modules = turning_modules(model)
    before = [dict(vars(module)) for module in modules]
    try:
        for module in modules:
            turn, buffers = by_row(module, lengths, width), {name: one.clone() for name, one in module.named_buffers()}
            vars(module).update(forward=turn, _buffers=buffers)  # it writes its frequencies into them
        yield
    finally:
        for module, attributes in zip(modules, before):  # and what it has worked out is gone: a call changes no model
            vars(module).clear()
            vars(module).update(attributes)


def by_row(module: nn.Module, lengths: Int[Tensor, " n"], width: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """The forward of a module's, with the long factors for rows that are themselves long."""
    forward = module.forward

    def turn(x: Tensor, position_ids: Tensor, layer_type: str | None = None) -> tuple[Tensor, Tensor]:
        options = {} if layer_type is None else {"layer_type": layer_type}
        limit, columns = turning_length(module, layer_type), position_ids.shape[-1]
        if limit is None or columns <= limit:
            return forward(x, position_ids, **options)
        long = (lengths + columns - width > limit)[:, None, None]
        far = forward(x, position_ids, **options)
        near = forward(x, position_ids.clamp(max=limit - 1), **options)
        cosine, sine = (torch.where(long, a, b) for a, b in zip(far, near))
        return cosine, sine

    return turn
