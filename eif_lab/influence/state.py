"""What a model holds, so that what a call changes is noticed, and put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Container = dict[Any, Any] | list[Any]


class State:
    """A model's parameters, buffers and attributes as they are now.

    Every attribute of every module is kept by identity, dictionaries and lists by their items. Of tensors the numbers
    are kept, too; of a model with more than ``room`` bytes of parameters only those of buffers, other tensors and
    embeddings that renormalise themselves (``max_norm``), because no copy of the rest would fit.

    Args:
        model: Any module. Of scripted ones, whose attributes are out of reach, the parameters and buffers are kept.
        room: Bytes that a copy of the parameters may take.

    Attributes:
        leaks: What a call of the model was seen to change; empty for nothing, None where it was not looked at.
    """

    def __init__(self, model: nn.Module, room: float) -> None:
        self.model = model
        self.leaks: str | None = None
        self.containers: list[tuple[str, Container, Container]] = []
        self.hooks: list[tuple[str, Container, Container]] = []
        for name, module in model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):
                for one, counts in held_by(module):
                    (self.containers if counts else self.hooks).append((name, one, one.copy()))
        few = sum(parameter.nbytes for parameter in model.parameters()) <= room
        risky = {
            id(m.weight) for m in model.modules() if getattr(m, "max_norm", None) is not None and hasattr(m, "weight")
        }
        self.tensors: dict[int, tuple[Tensor, Tensor | None]] = {}
        for tensor in self.each_tensor():
            kept = few or not isinstance(tensor, nn.Parameter) or id(tensor) in risky
            self.tensors[id(tensor)] = tensor, tensor.detach().clone() if kept else None
        self.versions: dict[int, int] = {}
        self.note()

    def each_tensor(self) -> Iterator[Tensor]:
        """All that were held: parameters, buffers and those among other attributes."""
        yield from self.model.parameters()
        yield from self.model.buffers()
        for _, _, items in self.containers:
            for one in items.values() if isinstance(items, dict) else items:
                yield from tensors_in(one)

    def keep(self, parameters: Iterable[Tensor]) -> None:
        """Keep the numbers of these, too, because they are going to be changed."""
        for one in parameters:
            if self.tensors[id(one)][1] is None:
                self.tensors[id(one)] = one, one.detach().clone()

    def note(self) -> None:
        """Take the tensors as they are now for unchanged: what was changed was meant to be, and is put back."""
        self.versions = {key: version(tensor) for key, (tensor, _) in self.tensors.items()}

    def changed(self, values: bool = False) -> str:
        """The name of something that is no longer as it was; empty where all is.

        Args:
            values: Look at the numbers themselves, too: some changes in place are not counted, such as those of
                ``tensor.data`` and of running statistics.
        """
        for name, container, items in self.containers:
            if keys := differences(container, items):
                return ".".join(part for part in (name, str(keys[0])) if part)
        for key, (tensor, kept) in self.tensors.items():
            other = values and kept is not None and not same(tensor, kept)
            if other or version(tensor) != self.versions[key]:
                return next((name for name, one in named_tensors(self.model) if one is tensor), "a tensor")
        return ""

    @torch.no_grad()
    def restore(self, every: bool = False) -> None:
        """Put all back that was changed.

        Args:
            every: Also what was changed with nothing counted.
        """
        for _, container, items in [*self.containers, *self.hooks]:
            if differences(container, items):
                container.clear()
                container.update(items) if isinstance(container, dict) else container.extend(items)
        for key, (tensor, kept) in self.tensors.items():
            if kept is not None and (version(tensor) != self.versions[key] or (every and not same(tensor, kept))):
                tensor.data.copy_(kept)
        self.note()


HOOKS = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}
"""Attributes of every module. A library may add to them at the first call, which changes nothing that is computed."""


def held_by(module: nn.Module) -> Iterator[tuple[Container, bool]]:
    """A module's attributes, and the dictionaries and lists in them; and whether a change of them counts."""
    attributes = vars(module)
    yield attributes, True
    for name, one in attributes.items():
        if name not in HOOKS or name.startswith("_forward"):
            for container in nested(one):
                yield container, name not in HOOKS


def nested(value: Any, depth: int = 0) -> Iterator[Container]:
    """The dictionaries and lists in a value, itself included."""
    if depth > DEEPEST or not isinstance(value, dict | list | tuple):
        return
    if not isinstance(value, tuple):
        yield value
    for one in value.values() if isinstance(value, dict) else value:
        yield from nested(one, depth + 1)


DEEPEST = 8
"""Levels of containers within each other, which may hold themselves."""


def tensors_in(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """The tensors in a value, but for those in dictionaries and lists within it, which are looked at by themselves."""
    if isinstance(value, Tensor) and value.layout == torch.strided:
        yield value
    elif isinstance(value, tuple) and depth <= DEEPEST:
        for one in value:
            yield from tensors_in(one, depth + 1)


def differences(container: Any, items: Any) -> list[Any]:
    """Keys, or places, at which a container holds anything else than it held."""
    if isinstance(items, dict):
        if container.keys() != items.keys():
            return [*(container.keys() ^ items.keys())]
        return [key for key, old in items.items() if container[key] is not old and other(container[key], old)]
    if len(container) != len(items):
        return [len(items)]
    pairs = enumerate(zip(container, items))
    return [place for place, (new, old) in pairs if new is not old and other(new, old)]


def other(new: Any, old: Any) -> bool:
    """Whether one object is not the same as another: numbers, truth values and texts are where they are equal."""
    return not (isinstance(new, bool | int | float | str) and type(new) is type(old) and new == old)


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def same(tensor: Tensor, kept: Tensor) -> bool:
    """Whether a tensor has the numbers that were kept; what is not a number is the same as itself."""
    if tensor.shape != kept.shape:
        return False
    return torch.equal(tensor, kept) or torch.equal(tensor.nan_to_num(), kept.nan_to_num())


def version(tensor: Tensor) -> int:
    """How often it was changed in place; 0 where torch does not count (inference mode)."""
    return 0 if tensor.is_inference() else tensor._version
