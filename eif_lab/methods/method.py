"""What every method is, and how one is found by name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from eif_lab.schema import Options, rule_error, unknown_name, unknown_option


@dataclass
class Method(Options):
    """A channel by which a stimulus enters: the weights, or the context.

    Attributes:
        kinds: The kinds of data it is for.
        adds_modules: Whether it changes the module tree (and so works on a copy of a caller's model).
        trains: Whether weights move; otherwise update and engine have no say.
    """

    group: ClassVar[str] = "method"
    kinds: ClassVar[tuple[str, ...]] = ("image", "text")
    adds_modules: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """What plots and runs call it: its module's name."""
        return type(self).__module__.rpartition(".")[2]

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Install the method in ``model``, in place: afterwards exactly what it trains requires a gradient.

        The model's outputs are unchanged by it until it is trained.

        Args:
            model: A module.
            seed: Of the initial values that it draws.

        Returns:
            The module to call.
        """
        raise NotImplementedError


def named_method(method: str | Mapping[str, Any]) -> Method:
    """A method by name, or by a mapping with ``name`` and its options.

    The name is that of a module of this room; its one public `Method` class is the method.
    """
    options = {"name": method} if isinstance(method, str) else dict(method)
    name = str(options.pop("name", ""))
    rooms = importlib.import_module("eif_lab.methods").__path__
    known = sorted(m.name for m in pkgutil.iter_modules(rooms) if m.name != "method")
    if name not in known:
        raise unknown_name("method", name, known)
    module = importlib.import_module(f"eif_lab.methods.{name}")
    [kind] = [
        c
        for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, Method) and c.__module__ == module.__name__
    ]
    for option in options:
        if option not in kind.__dataclass_fields__:
            raise unknown_option(f"method.{option}", options[option], kind.__dataclass_fields__)
    return kind(**options)


def layers(model: nn.Module, kinds: tuple[type[nn.Module], ...], wanted: list[str] | None = None) -> list[str]:
    """Names of the model's layers of these kinds, all but a language model's output head.

    Args:
        model: The model.
        kinds: Classes of layers.
        wanted: Keep those whose name is, or ends in, one of these (PEFT's rule for ``target_modules``).

    Raises:
        ConfigError: There are none.
    """
    found = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    if wanted is None:
        chosen = [name for name in found if name.rpartition(".")[2] != "lm_head"]
    else:
        chosen = [name for name in found if any(name == w or name.endswith(f".{w}") for w in wanted)]
    if not chosen:
        names = ", ".join(kind.__name__ for kind in kinds)
        last = sorted({name.rpartition(".")[2] for name in found})
        hint = f"Try {last[:4]}." if last else ""
        raise rule_error("method.target_modules", f"name at least one {names} of the model", wanted, hint)
    return chosen


def trained_summary(model: nn.Module) -> dict[str, Any]:
    """What moves: ``count`` of ``total`` parameters, ``tensors``, and ``names`` with indices folded into ``*``."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    patterns = Counter(re.sub(r"\.\d+(?=\.|$)", ".*", name) for name, _ in trained)
    return {
        "count": sum(p.numel() for _, p in trained),
        "total": sum(p.numel() for p in model.parameters()),
        "tensors": len(trained),
        "names": [f"{name} ({times})" if times > 1 else name for name, times in patterns.items()],
    }


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from ``seed``; afterwards its global state is what it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)  # the CPU's alone: another device is not even woken
        yield
