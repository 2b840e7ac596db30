"""Inputs with their targets, row by row.

Inputs are one tensor, a tuple of them (``model(*inputs)``) or a dict (``model(**inputs)``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import Dataset, IterableDataset, default_collate

from eif_lab.errors import ConfigError, rule_error

WIDEST = 8
"""Bytes of the widest number that a tensor holds."""

Inputs = Any
"""A tensor, a tuple or a dict of tensors, all with as many rows; or what a model of ours takes in their place."""


@dataclass(frozen=True)
class Batch:
    """Rows of inputs with their targets; it can be taken apart into the two."""

    inputs: Inputs
    targets: Tensor

    def __iter__(self) -> Iterator[Any]:
        return iter((self.inputs, self.targets))

    def take(self, rows: Tensor | slice) -> Batch:
        """The rows, in that order; copies, because a model or a loss may change what it is given in place."""
        if isinstance(rows, Tensor):
            return self.map(lambda tensor: tensor[rows])
        return self.map(lambda tensor: tensor[rows].clone())

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """A batch with each tensor changed."""
        return Batch(tree_map(change, self.inputs), change(self.targets))

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def is_like(self, other: Batch) -> bool:
        """Whether the rows of both have the same shapes and types."""
        mine, theirs = (
            [(one.shape[1:], one.dtype) for one in tree_leaves((b.inputs, b.targets))] for b in (self, other)
        )
        return mine == theirs

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.targets.device

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.targets)


Data = tuple[Inputs, Tensor | np.ndarray] | list[Any] | Dataset | Batch


def call_model(model: Callable[..., Any], inputs: Inputs) -> Any:
    """The model's output: several inputs are given as several arguments."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def as_batch(data: Any, field: str) -> Batch:
    """A pair (inputs, targets), or a data set of such pairs, as one batch; arrays of NumPy become tensors.

    Raises:
        ConfigError: It is neither, it is empty, or inputs and targets differ in length.
    """
    if isinstance(data, Batch):
        return data
    pair = collate(data, field) if isinstance(data, Dataset) else data
    rule = "be a pair (inputs, targets) of tensors or arrays, or a data set of such pairs"
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        received = f"{type(pair).__name__} of {len(pair)}" if isinstance(pair, tuple | list) else type(pair).__name__
        raise ConfigError(f"{field} must {rule}, got {received}.")
    inputs, targets = as_inputs(pair[0]), as_tensor(pair[1])
    leaves = tree_leaves(inputs)
    kinds = [kind_of(leaf) for leaf in [*leaves, targets] if not isinstance(leaf, Tensor)]
    if kinds or not leaves:
        raise ConfigError(f"{field} must {rule}, got {kinds[0] if kinds else 'no input'} among them.")
    if any(leaf.layout != torch.strided for leaf in [*leaves, targets]):
        raise rule_error(field, "be dense tensors", "sparse ones", "Try tensor.to_dense().")
    if any(leaf.is_meta for leaf in [*leaves, targets]):
        raise rule_error(field, "hold numbers", "a tensor on the meta device", "Try one on the model's device.")
    if any(leaf.ndim == 0 for leaf in [*leaves, targets]):
        raise rule_error(field, "have a row for each sample", "a tensor of no dimension", "Try tensor[None].")
    lengths = sorted({len(leaf) for leaf in [*leaves, targets]})
    if len(lengths) > 1:
        raise rule_error(field, "have as many inputs as targets", (len(leaves[0]), len(targets)))
    if not lengths[0]:
        raise rule_error(field, "hold at least one sample", 0)
    return Batch(inputs, targets)


def as_inputs(inputs: Any) -> Inputs:
    """Tensors, in a tuple or a dict where there are several."""
    if isinstance(inputs, Mapping):
        return {name: as_tensor(one) for name, one in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(as_tensor(one) for one in inputs)
    return as_tensor(inputs)


def as_tensor(values: Any) -> Any:
    """A copy of an array of numbers as a tensor, whatever its byte order and strides; anything else as it is."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf" or values.dtype.itemsize > WIDEST:
        return values
    native = values.dtype.newbyteorder("=")
    # torch can do next to nothing with its own unsigned types of more than a byte
    kind = np.dtype(np.int64) if native.kind == "u" and native.itemsize > 1 else native
    return torch.from_numpy(np.array(values, dtype=kind, order="C"))


def kind_of(value: Any) -> str:
    """A description of a value that is no tensor: its class, and of an array the type of its numbers."""
    return f"ndarray of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def collate(data: Dataset, field: str) -> Any:
    """The rows of a data set as one batch."""
    if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
        rule = "be a data set with a length and a row for each number"
        raise rule_error(field, rule, type(data).__name__, "Try list(data), collated into tensors.")
    rows = [data[i] for i in range(len(data))]
    if not rows:
        raise rule_error(field, "hold at least one sample", 0)
    try:
        return default_collate(rows)
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:120]
        raise ConfigError(
            f"{field} must have rows of the same shape, got {type(data).__name__} ({reason}). Try padding."
        ) from None


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters."""
    return next(model.parameters()).device
