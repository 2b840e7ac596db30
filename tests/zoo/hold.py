"""Hold a case to the loop, and the caller's model and data to what they were."""

from __future__ import annotations

import copy
import functools
import inspect
import re
import warnings
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from eif_lab import measure_influence
from eif_lab.errors import ConfigError

from .case import Case
from .loop import influence_by_hand

ENGINES = ("auto", "factored", "stacked", "loop")
MUST_EQUAL = ("auto", "loop")
LEAST = 1e-4
"""The largest cell of a case that can tell right from wrong."""

LONGEST_MESSAGE = 300


class Wrong(AssertionError):
    """What the library gave, or left behind, is not right."""


UNSEEN = ("_compiled_call_impl", "_forward_hooks_always_called")
"""Attributes of modules that are torch's own affair."""


@functools.lru_cache(maxsize=2)
def expected(case: Case) -> np.ndarray:
    """The loop's array."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = influence_by_hand(*case.make(case.stimuli, case.probes), **case.options, classes_at=case.classes_at)
    largest = np.abs(array[np.isfinite(array)]).max(initial=0.0)
    if case.zeros:
        assert largest == 0, f"the loop's largest cell is {largest:.1g}, not zero"
    else:
        assert largest > LEAST, f"the loop's largest cell is {largest:.1g}: it says nothing"
    return array


def must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


def hold(case: Case, engine: str) -> str:
    """``equal`` or ``refused``, where it is rightly one of them.

    Raises:
        Wrong: It is not.
    """
    right = None if case.refused else expected(case)
    made = case.make(case.stimuli, case.probes)
    before, could_copy = snapshot(made), copyable(made[0])
    message = array = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # what is wrong on purpose is for the function to find, not for the types that tests check
            measure = inspect.unwrap(measure_influence) if case.refused else measure_influence
            array = measure(*made, **case.options, engine=engine)
    except ConfigError as error:
        message = str(error)
    changed = difference(before, snapshot(made))
    must(not changed, f"the caller's own {changed} is not what it was")
    must(copyable(made[0]) or not could_copy, "the caller's model cannot be copied any more")
    if message is not None:
        must("\n" not in message and len(message) <= LONGEST_MESSAGE, f"not one short line: {message}")
        if case.refused is not None:
            must(re.search(case.refused, message), f"{message!r} does not match {case.refused!r}")
        else:
            must(case.may_refuse or engine not in MUST_EQUAL, f"refused: {message}")
        return "refused"
    found = np.asarray(array)
    must(right is not None, f"not refused: {found.shape} {found.ravel()[:6]}")
    must(found.shape == right.shape, f"shape {found.shape}, not {right.shape}")
    must(np.array_equal(np.isfinite(found), np.isfinite(right)), "what is not finite is elsewhere")
    scale = np.abs(right[np.isfinite(right)]).max(initial=0.0)
    error = np.abs(found - right)[np.isfinite(right)].max(initial=0.0)
    must(error <= case.tolerance * scale, f"off by {error:.2g}, {error / (scale or 1):.1g} of the largest cell")
    return "equal"


def copyable(model: Any) -> bool:
    try:
        copy.deepcopy(model)
    except Exception:
        return False
    return True


def snapshot(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """All that a caller can see of it, in a form that compares with ``==``."""
    seen = {} if seen is None else seen
    if isinstance(value, Tensor):
        return ("tensor", id(value), bits(value), value.requires_grad, snapshot_of_gradient(value))
    if isinstance(value, np.ndarray):
        return ("array", id(value), value.tobytes())
    if isinstance(value, nn.Module):
        if id(value) in seen:
            return ("seen", id(value))
        seen[id(value)] = value
        # a scripted module keeps its methods once they were asked for
        unseen = (*UNSEEN, "forward") if isinstance(value, torch.jit.ScriptModule) else UNSEEN
        own = {name: snapshot(v, seen) for name, v in vars(value).items() if name not in unseen}
        return ("module", id(value), own)
    if isinstance(value, dict):
        return {str(key): snapshot(v, seen) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(v, seen) for v in value]
    if isinstance(value, int | float | str | bool | None):
        return repr(value)
    if isinstance(value, weakref.ref):
        return ("ref", id(value()))
    if isinstance(value, Dataset):
        return snapshot(vars(value), seen)
    return ("other", id(value))


def bits(tensor: Tensor) -> Any:
    """What it holds, byte for byte; of a lazy or a meta tensor its kind."""
    if nn.parameter.is_lazy(tensor) or tensor.is_meta:
        return str(type(tensor))
    plain = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    return (tuple(plain.shape), str(plain.dtype), plain.contiguous().view(-1).view(torch.uint8).numpy().tobytes())


def snapshot_of_gradient(tensor: Tensor) -> Any:
    gradient = tensor.grad if tensor.is_leaf else None
    return None if gradient is None else (id(gradient), bits(gradient))


def difference(before: Any, after: Any, place: str = "") -> str:
    """Where two snapshots differ; empty where they do not."""
    if before == after:
        return ""
    if isinstance(before, dict) and isinstance(after, dict):
        if before.keys() != after.keys():
            return f"{place} ({', '.join(sorted(before.keys() ^ after.keys()))})"
        return next(d for k in before if (d := difference(before[k], after[k], f"{place}.{k}")))
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        if before[0] != after[0] or before[0] != "tensor":
            return next(d for k, pair in enumerate(zip(before, after)) if (d := difference(*pair, f"{place}[{k}]")))
        kinds = ("", "identity", "value", "requires_grad", "grad")
        return f"{place}: {', '.join(k for k, a, b in zip(kinds, before, after) if a != b)}"
    return place or "model"
