"""The caller's model, made ready to be fine-tuned, and given back as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from eif_lab.errors import rule_error
from eif_lab.influence.per_sample.alone import first_line
from eif_lab.influence.reading.compiling import is_compiled
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.soundness import must_hold_numbers
from eif_lab.methods import Method, named_method
from eif_lab.methods.method import WEIGHTS


@contextmanager
def prepared_for_training(
    model: Any, method: str | Method | Mapping[str, Any] | None, seed: int
) -> Iterator[nn.Module]:
    """The caller's model in eval mode with the method's parameters marked; afterwards it is as it was.

    Anything but a module with numbers is refused. A method that adds modules works on a copy. What
    ``torch.compile`` made of the model is left aside: within this it computes as it is written.

    Raises:
        ConfigError: The model has no numbers, cannot be copied or cannot be put into eval mode.
    """
    must_hold_numbers(model)
    started = Snapshot(model, room=math.inf) if any(map(overrides_modes, model.modules())) else None
    chosen = named_method(method) if isinstance(method, str | Mapping) else method
    if chosen is not None and chosen.channel != WEIGHTS:
        hint = "Try eif_lab.measure_context(), which reads probes with stimuli before them."
        raise rule_error("method", "be one that moves weights here", chosen.name, hint)
    ready = getattr(model, "_orig_mod", model)
    if chosen is not None and chosen.adds_modules:
        ready = copy_model(ready)
    modes = [(module, module.training) for module in ready.modules()]
    flags = [(p, p.requires_grad, p.grad) for p in ready.parameters()]
    eager = torch.compiler.set_stance("force_eager") if is_compiled(model) else nullcontext()
    try:
        if chosen is not None:
            ready = chosen.apply(ready, seed)
        try:
            ready.eval()
        except NotImplementedError:
            hint = "Try the module that it was exported from."
            raise rule_error("model", "be a module that has an eval mode", type(model).__name__, hint) from None
        for parameter in ready.parameters():
            parameter.grad = None
        with eager, no_cached_weights():
            yield ready
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag, gradient in flags:
            parameter.requires_grad_(flag)
            parameter.grad = gradient
        if started is not None:
            started.restore(every=True)


def overrides_modes(module: nn.Module) -> bool:
    """Whether going into eval mode may do more than set a flag, such as merging weights.

    The modes of a transformers model change its kernels where it uses those of its hub, and otherwise nothing.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return False
    own = {type(module).train, type(module).eval} - {nn.Module.train, nn.Module.eval}
    return any(one.__module__ != "transformers.modeling_utils" for one in own) or (
        bool(own) and getattr(module, "use_kernels", False)
    )


@contextmanager
def no_cached_weights() -> Iterator[None]:
    """Within this, an autocast around the call keeps no weights in low precision: they would be the base's."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    torch.clear_autocast_cache()
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def copy_model(model: nn.Module) -> nn.Module:
    """A copy to put modules into.

    Raises:
        ConfigError: There is no way to copy it.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        reason = first_line(error)
        hint = "Try method=full, which needs no copy."
        raise rule_error(
            "model", f"be one that copy.deepcopy can copy ({reason})", type(model).__name__, hint
        ) from error
