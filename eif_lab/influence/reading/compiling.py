"""Passes over probes through ``torch.compile``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from eif_lab.influence.resources.memory import out_of_memory

log = logging.getLogger(__name__)

Kernels = Callable[[dict[str, Tensor], Tensor], Tensor]
"""(parameters, inputs) to the output."""


def is_compiled(model: nn.Module) -> bool:
    """Whether a model, or a module in it, goes through ``torch.compile`` already."""
    return any(
        hasattr(module, "_torchdynamo_orig_callable") or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


def compiled_kernels(model: nn.Module) -> Kernels:
    """The model through ``torch.compile``; where it cannot be compiled, as it is, which is logged once."""

    def call(parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return functional_call(model, parameters, (inputs,))

    # inductor goes by the CPU's flags, and need not build and run a program for each set of vector instructions before
    fast = torch.compile(call, dynamic=False, options={"cpp.vec_isa_ok": True})
    works = True

    def either(*args: Any) -> Tensor:
        nonlocal works
        if works:
            try:
                return fast(*args)
            except Exception as error:
                if out_of_memory(error):
                    raise
                works = False
                log.warning("torch.compile cannot do this model: going on without (%s)", str(error).splitlines()[0])
        return call(*args)

    return either
