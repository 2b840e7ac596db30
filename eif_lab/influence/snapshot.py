"""A snapshot of a model before any update, by which changes that a call makes are found and undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Container = dict[Any, Any] | list[Any]


class Snapshot:
    """A model's parameters, buffers and attributes as they are before any update.

    Every attribute of every module is remembered by identity, dictionaries and lists by their items. Of tensors the
    numbers are copied, too; of a model with more than ``room`` bytes of parameters only those of buffers, other tensors
    and embeddings that renormalise themselves (``max_norm``), because no copy of the rest would fit.

    Args:
        model: Any module. Of scripted ones, whose attributes are out of reach, the parameters and buffers are copied.
        room: Bytes that a copy of the parameters may take.

    Attributes:
        trained: The parameters that require a gradient, by name: those that an update moves.
        leaks: What a call of the model was seen to change; empty for nothing, None where it was not looked at.
    """

    def __init__(self, model: nn.Module, room: float) -> None:
        self.model = model
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.leaks: str | None = "" if any(p.is_meta for p in model.parameters()) else None
        self.containers: list[tuple[str, Container, Container]] = []
        self.hooks: list[tuple[str, Container, Container]] = []
        for name, module in model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):
                for one, counts in containers_of(module):
                    (self.containers if counts else self.hooks).append((name, one, one.copy()))
        few = sum(parameter.nbytes for parameter in model.parameters()) <= room
        renormalised = {
            id(m.weight) for m in model.modules() if getattr(m, "max_norm", None) is not None and hasattr(m, "weight")
        }
        self.tensors: dict[int, tuple[Tensor, Tensor | None]] = {}
        for tensor in self.each_tensor():
            copied = few or not isinstance(tensor, nn.Parameter) or id(tensor) in renormalised
            self.tensors[id(tensor)] = tensor, tensor.detach().clone() if copied else None
        self.versions: dict[int, int] = {}
        self.note()

    def each_tensor(self) -> Iterator[Tensor]:
        """The parameters, the buffers and the tensors among other attributes."""
        yield from self.model.parameters()
        yield from self.model.buffers()
        for _, _, items in self.containers:
            for one in items.values() if isinstance(items, dict) else items:
                yield from tensors_in(one)

    def copy_numbers(self, parameters: Iterable[Tensor]) -> None:
        """Copy the numbers of these, too, because they are going to be changed."""
        for one in parameters:
            if self.tensors[id(one)][1] is None:
                self.tensors[id(one)] = one, one.detach().clone()

    def bytes_to_copy(self, parameters: Iterable[Tensor]) -> int:
        """What `copy_numbers` of these would still take."""
        return sum(one.nbytes for one in parameters if self.tensors[id(one)][1] is None)

    def note(self) -> None:
        """Take the tensors as they are now for unchanged: what was changed was meant to be, and is put back."""
        self.versions = {key: version(tensor) for key, (tensor, _) in self.tensors.items()}

    def note_leaks(self) -> None:
        """After a call of the model, note what the call changed, and put it back."""
        self.leaks = self.changed(values=True)
        self.restore(every=True)

    def changed(self, values: bool = False) -> str:
        """The name of something that is no longer as it was; empty where all is.

        Args:
            values: Compare the numbers themselves, too: some changes in place are not counted, such as those of
                ``tensor.data`` and of running statistics.
        """
        for name, container, items in self.containers:
            if keys := differences(container, items):
                return ".".join(part for part in (name, str(keys[0])) if part)
        for key, (tensor, copied) in self.tensors.items():
            other = values and copied is not None and not has_same_numbers(tensor, copied)
            if other or version(tensor) != self.versions[key]:
                return next((name for name, one in named_tensors(self.model) if one is tensor), "a tensor")
        return ""

    @torch.no_grad()
    def restore(self, every: bool | None = None) -> None:
        """Put back what was changed.

        Args:
            every: Also what was changed with nothing counted; by default where calls are not known to change nothing.
        """
        every = self.leaks != "" if every is None else every
        for _, container, items in [*self.containers, *self.hooks]:
            if differences(container, items):
                container.clear()
                container.update(items) if isinstance(container, dict) else container.extend(items)
        for key, (tensor, copied) in self.tensors.items():
            if copied is not None and (
                version(tensor) != self.versions[key] or (every and not has_same_numbers(tensor, copied))
            ):
                tensor.data.copy_(copied)
        self.note()


HOOKS = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}
"""Attributes of every module. A library may add to them at the first call, which changes nothing that is computed."""


def containers_of(module: nn.Module) -> Iterator[tuple[Container, bool]]:
    """A module's attributes, and the dictionaries and lists in them; and whether a change of them counts."""
    attributes = vars(module)
    yield attributes, True
    for name, one in attributes.items():
        if name not in HOOKS or name.startswith("_forward"):
            for container in nested_containers(one):
                yield container, name not in HOOKS


def nested_containers(value: Any, depth: int = 0) -> Iterator[Container]:
    """The dictionaries and lists in a value, itself included."""
    if depth > DEEPEST or not isinstance(value, dict | list | tuple):
        return
    if not isinstance(value, tuple):
        yield value
    for one in value.values() if isinstance(value, dict) else value:
        yield from nested_containers(one, depth + 1)


DEEPEST = 8
"""Levels of containers within each other, which may hold themselves."""


def tensors_in(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """The tensors in a value, but for those in dictionaries and lists within it, which are compared themselves."""
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
        return [key for key, old in items.items() if container[key] is not old and differs(container[key], old)]
    if len(container) != len(items):
        return [len(items)]
    pairs = enumerate(zip(container, items))
    return [place for place, (new, old) in pairs if new is not old and differs(new, old)]


def differs(new: Any, old: Any) -> bool:
    """Whether one object is not the same as another: numbers, truth values and texts are where they are equal."""
    return not (isinstance(new, bool | int | float | str) and type(new) is type(old) and new == old)


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def has_same_numbers(tensor: Tensor, copied: Tensor) -> bool:
    """Whether a tensor has the numbers of its copy; NaN equals NaN."""
    if tensor.shape != copied.shape:
        return False
    return torch.equal(tensor, copied) or torch.equal(tensor.nan_to_num(), copied.nan_to_num())


def version(tensor: Tensor) -> int:
    """How often it was changed in place; 0 where torch does not count (inference mode)."""
    return 0 if tensor.is_inference() else tensor._version
