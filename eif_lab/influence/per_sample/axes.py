"""Which axis of a module's input or output is the stimuli's.

It is found by running the model on the rows of one stimulus, and on the same rows twice: the axis is the one that is
then twice as long. A tensor without such an axis is the same for all stimuli: a mask, a table, a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Shape = tuple[int, ...] | None
"""Of a tensor; None of anything else."""


class Disagreement(RuntimeError):
    """Stimuli that go through the model together are not as each would be alone.

    Attributes:
        of_probes: It is the probes that are read otherwise among others.
    """

    of_probes = False


class ReadingDisagreement(Disagreement):
    """Probes are read otherwise among others than in a batch of their own."""

    of_probes = True


@dataclass(frozen=True)
class Call:
    """One call of a module in a pass over one stimulus's rows.

    Attributes:
        inputs: Shapes of its inputs, leaf by leaf.
        outputs: Shapes of its outputs.
        input_axes, output_axes: For each of them the stimuli's axis; None where there is none.
    """

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    input_axes: tuple[int | None, ...] = ()
    output_axes: tuple[int | None, ...] = ()

    def fits(self, shapes: Sequence[Shape], count: int) -> bool:
        """Whether its inputs have these shapes with ``count`` stimuli."""
        grown = (shape_for_count(shape, axis, count) for shape, axis in zip(self.inputs, self.input_axes))
        return len(shapes) == len(self.inputs) and all(a == b for a, b in zip(shapes, grown))


def shape_for_count(shape: Shape, axis: int | None, count: int) -> Shape:
    """The shape for ``count`` stimuli, from that for one."""
    if shape is None or axis is None:
        return shape
    return (*shape[:axis], shape[axis] * count, *shape[axis + 1 :])


class Calls:
    """The calls of one module in a pass over several stimuli, in their order.

    A call beyond the known ones, as checkpoints make when they compute something again, is the known one that it fits.
    """

    def __init__(self, known: Sequence[Call], count: int) -> None:
        self.known, self.count, self.made = known, count, 0

    def next(self, leaves: Sequence[Any]) -> Call:
        """The recorded call that comes next, by its inputs.

        Raises:
            Disagreement: Such a call was never made for one stimulus.
        """
        shapes, place = shapes_of(leaves), self.made
        self.made += 1
        if place < len(self.known) and self.known[place].fits(shapes, self.count):
            return self.known[place]
        fitting = {(one.input_axes, one.output_axes): one for one in self.known if one.fits(shapes, self.count)}
        if len(fitting) != 1:
            raise Disagreement(f"a layer is given {shapes} for {self.count} stimuli, as it never is for one")
        return next(iter(fitting.values()))


def shapes_of(leaves: Sequence[Any]) -> tuple[Shape, ...]:
    """Shapes of tensors, None for anything else."""
    return tuple(tuple(one.shape) if isinstance(one, Tensor) else None for one in leaves)


def calls_of(modules: Sequence[nn.Module], run: Callable[[int], Any]) -> list[list[Call]]:
    """The calls of each module in a pass over one stimulus's rows.

    Args:
        modules: Whose calls are looked at.
        run: Runs the model on the rows of one stimulus, so many times over.

    Raises:
        Disagreement: With the rows twice, a module is called otherwise than with the rows once.
    """
    once, twice = ([list(calls) for calls in record_shapes(modules, run, count)] for count in (1, 2))
    if [len(calls) for calls in once] != [len(calls) for calls in twice]:
        raise Disagreement("a layer is called more often for two stimuli than for one")
    return [[with_axes(a, b) for a, b in zip(*both)] for both in zip(once, twice)]


def with_axes(once: Call, twice: Call) -> Call:
    """A call with the axes that are twice as long in the other one."""
    if len(once.inputs) != len(twice.inputs) or len(once.outputs) != len(twice.outputs):
        raise Disagreement("a layer is given more for two stimuli than for one")
    inputs = tuple(axis_of(a, b) for a, b in zip(once.inputs, twice.inputs))
    return Call(once.inputs, once.outputs, inputs, tuple(axis_of(a, b) for a, b in zip(once.outputs, twice.outputs)))


def axis_of(once: Shape, twice: Shape) -> int | None:
    """The one axis that is twice as long; None where the shapes are the same."""
    if once == twice or once is None or twice is None:
        return None
    longer = [axis for axis, (a, b) in enumerate(zip(once, twice)) if a != b]
    if len(once) != len(twice) or len(longer) != 1 or twice[longer[0]] != 2 * once[longer[0]]:
        raise Disagreement(f"a layer is given {twice} for two stimuli, and {once} for one")
    return longer[0]


@torch.no_grad()
def record_shapes(modules: Sequence[nn.Module], run: Callable[[int], Any], count: int) -> list[list[Call]]:
    """The calls of each module in a pass, with shapes and no axes."""
    calls: list[list[Call]] = [[] for _ in modules]
    with note_calls(modules, lambda place, inputs, outputs: calls[place].append(Call(inputs, outputs))):
        run(count)
    return calls


Note = Callable[[int, tuple[Shape, ...], tuple[Shape, ...]], None]


@contextmanager
def note_calls(modules: Sequence[nn.Module], note: Note) -> Iterator[None]:
    """Within this, each call of a module is noted: which module, and the shapes of its inputs and outputs."""
    before = [vars(module).get("forward") for module in modules]

    def watch(place: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            inputs = shapes_of(tree_leaves((args, kwargs)))
            result = forward(*args, **kwargs)
            note(place, inputs, shapes_of(tree_leaves(result)))
            return result

        return call

    try:
        for place, module in enumerate(modules):
            vars(module)["forward"] = watch(place, module.forward)
        yield
    finally:
        for module, forward in zip(modules, before):
            if forward is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = forward


def split(tensor: Tensor, axis: int, count: int) -> Tensor:
    """Each stimulus's part of a tensor: (stimuli, *its shape for one)."""
    return tensor.unflatten(axis, (count, -1)).movedim(axis, 0)


def join(parts: Tensor, axis: int) -> Tensor:
    """The inverse of `split`."""
    return parts.movedim(0, axis).flatten(axis, axis + 1)


def spread(parts: Tensor, size: int) -> Tensor:
    """A tensor that was the same for all stimuli and no longer is, so that it still broadcasts over their rows.

    Args:
        parts: (stimuli, *its shape when it was the same for all).
        size: Rows of each stimulus.

    Returns:
        (stimuli * size, ...): in place of a first axis of length 1, else before the first.
    """
    flat = parts.flatten(0, 1) if parts.ndim > 2 and parts.shape[1] == 1 else parts
    return flat if size == 1 else flat.repeat_interleave(size, 0)
