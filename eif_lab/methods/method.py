"""The base class of methods, and how a method is found by name."""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from eif_lab.data.task import KINDS, Samples, Texts
from eif_lab.errors import must_be, one_line, unknown_name
from eif_lab.options import Options, build

log = logging.getLogger(__name__)

WEIGHTS, CONTEXT = "weights", "context"
"""The channels by which a stimulus enters."""


@dataclass
class Method(Options):
    """How a stimulus enters a model.

    Attributes:
        kinds: The kinds of data it is for.
        channel: ``weights`` where the stimulus is learnt, ``context`` where it is read before the probe.
        adds_modules: Whether it changes the module tree (and so works on a copy of a caller's model).
    """

    group: ClassVar[str] = "method"
    kinds: ClassVar[tuple[str, ...]] = KINDS
    channel: ClassVar[str] = WEIGHTS
    adds_modules: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name in plots and runs: that of its module."""
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


@dataclass
class ContextMethod(Method):
    """A method whose stimuli are read before the probes, and move no weight."""

    channel: ClassVar[str] = CONTEXT
    adds_modules: ClassVar[bool] = False

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Freeze every parameter: nothing is trained.

        Args:
            model: A module.
            seed: Nothing is drawn from it.

        Returns:
            The same module.
        """
        return model.requires_grad_(False)

    def contexts(self, stimuli: Texts, seed: int) -> list[tuple[str, str]]:
        """For each stimulus the text that is read with it, and the text that is read without it (empty for none).

        Args:
            stimuli: Whole texts are read, prompt and target.
            seed: Of what is drawn.
        """
        raise NotImplementedError

    def rows(
        self, encode: Callable[[Samples], tuple[Tensor, Tensor]], probes: Texts, context: str = ""
    ) -> tuple[Tensor, Tensor]:
        """The probes behind a context as (inputs, targets), each (probes, tokens).

        Args:
            encode: The model's own encoder.
            probes: Each target is what is scored.
            context: What is read first; empty for nothing.
        """
        raise NotImplementedError


def named_method(method: str | Mapping[str, Any]) -> Method:
    """A method by name, or by a mapping with ``name`` and its options.

    Raises:
        ConfigError: There is no such method, or it has no such option, or one of another type.
    """
    options = {"name": method} if isinstance(method, str) else dict(method)
    name = str(options.pop("name", ""))
    kinds = method_classes()
    if name not in kinds:
        raise unknown_name("method", name, kinds)
    # another library's options may be of types that no config file has
    free = {one: value for one, value in options.items() if one in free_options(kinds[name])}
    for option, value in free.items():
        must_be(f"method.{option}", value, Mapping, "a mapping from names to values", "Try dict(r=4).")
    typed = {one: value for one, value in options.items() if one not in free}
    return replace(cast(Method, build(kinds[name], typed, "method")), **free)


def free_options(kind: type[Method]) -> set[str]:
    """The fields of a method that hold options of another library, by any name."""
    return {field.name for field in fields(kind) if str(field.type).startswith("dict")}


def method_classes() -> dict[str, type[Method]]:
    """The `Method` class of each module of this room that defines one, by the module's name."""
    room = importlib.import_module("eif_lab.methods")
    names = [module.name for module in pkgutil.iter_modules(room.__path__) if module.name != "method"]
    modules = {name: importlib.import_module(f"{room.__name__}.{name}") for name in names}
    return {
        name: kind
        for name, module in modules.items()
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Method) and kind.__module__ == module.__name__
    }


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """The model's linear layers and convolutions by name, all but output heads.

    Nor the last layer of torch's own attention, which reads its weight and never calls it.
    """
    heads = {id(head) for head in output_heads(model)}
    return {
        name: module
        for name, module in model.named_modules()
        if is_layer(module) and id(module) not in heads and name.rpartition(".")[2] != "lm_head"
    }


def is_layer(module: nn.Module) -> bool:
    """Whether it is a linear layer, GPT-2's transposed one among them, or a convolution, and is called as one."""
    from transformers.pytorch_utils import Conv1D

    inlined = isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear)
    return isinstance(module, nn.Linear | Conv1D | _ConvNd) and not inlined


def output_heads(model: nn.Module) -> list[nn.Module]:
    """The output heads of the transformers models that the module is or holds: they make logits of hidden states."""
    from transformers import PreTrainedModel

    transformers = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    return [head for one in transformers if (head := one.get_output_embeddings()) is not None]


def matching(names: Iterable[str], endings: Iterable[str]) -> list[str]:
    """The ``names`` that are, or end in, one of the endings (PEFT's rule for ``target_modules``)."""
    ends = [re.escape(one) for one in endings]
    pattern = re.compile(rf"(.*\.)?({'|'.join(ends)})")
    return [name for name in names if pattern.fullmatch(name)] if ends else []


def list_names(names: Iterable[str], most: int = 3) -> str:
    """Names for a line: as patterns, with indices folded into ``*``, and no more than ``most`` of them."""
    patterns = list(dict.fromkeys(re.sub(r"(?<![^.])\d+(?=\.)", "*", name) for name in names))
    return ", ".join(patterns[:most]) + (f" and {len(patterns) - most} more" if len(patterns) > most else "")


def truncate(text: object, most: int = 160) -> str:
    """A text as one line, of ``most`` characters at most."""
    line = one_line(text)
    return line if len(line) <= most else line[: most - 3].rstrip() + "..."


@cache
def warn_once(message: str) -> None:
    """Log a warning the first time that it is given in this process."""
    log.warning(message)


def trained_summary(model: nn.Module) -> dict[str, Any]:
    """The trained parameters: ``count`` of ``total``, ``tensors``, and ``names`` with indices folded into ``*``."""
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
