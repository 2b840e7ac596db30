"""The base of all layers' rules, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from eif_lab.influence.per_sample.axes import Call, Calls, join, split, spread
from eif_lab.influence.per_sample.factors import Factors


@dataclass(frozen=True)
class FactoredWeight:
    """A matrix of each stimulus, as ``scale`` times the base's plus a change; it is never formed."""

    scale: float = 1.0
    factors: Sequence[Factors] = ()

    def only(self, index: int) -> FactoredWeight:
        """The change of one stimulus."""
        return FactoredWeight(self.scale, [one.only(index) for one in self.factors])

    @property
    def rank(self) -> int:
        """How many outer products it is a sum of."""
        return sum(one.right.shape[1] for one in self.factors)


Parameter = Tensor | FactoredWeight
"""A parameter of each of several stimuli: (stimuli, *shape), or factors of its change."""

Parameters = Mapping[str, Parameter]
"""By name."""

Record = Callable[[str, Tensor, Tensor], Tensor]
"""Given each pass through a layer whose weight is a `FactoredWeight`: its weight's name, (stimuli, rows, in) or
(stimuli, ids), and the output, which it hands back."""

Forward = Callable[..., Any]
"""Of a module."""


@dataclass(frozen=True)
class Stack:
    """How stimuli go through one module together.

    Attributes:
        count: How many there are.
        size: Rows of each.
        calls: What is known of the module's calls.
        record: Called with each pass through a layer whose weight is a `FactoredWeight`.
    """

    count: int
    size: int
    calls: Calls
    record: Record | None = None

    def next_call(self, *leaves: Any) -> Call | None:
        """The axes of the next call, by its inputs; None where there is only one stimulus."""
        return None if self.count == 1 else self.calls.next(leaves)

    def parts(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """A layer's input by stimulus, and how its outputs are put together again.

        Returns:
            (stimuli, *the shape for one), and a function of such a tensor whose axes are the same but for the last.
        """
        if self.count == 1:
            return x[None], lambda y: y[0]
        call = self.next_call(x)
        assert call is not None
        [axis] = call.input_axes
        if axis is None:
            return x.expand(self.count, *x.shape), lambda y: spread(y, self.size)
        return split(x, axis, self.count), lambda y: join(y, axis)


@dataclass(frozen=True)
class LayerRule:
    """How one kind of layer computes with a parameter per stimulus.

    Attributes:
        applies: Whether a module is of this kind.
        forward: (site, parameters by their name in the module, stack) to the forward that computes with them.
        factored: Whether ``weight`` may be a `FactoredWeight`, so that its gradient need not be formed.
    """

    applies: Callable[[nn.Module], bool]
    forward: Callable[[Site, Parameters, Stack], Forward]
    factored: bool = False


RULES: list[LayerRule] = []
"""The rules of all kinds of layers; any other module is vectorised (`any`)."""


def register(rule: LayerRule) -> LayerRule:
    """Add a rule; it goes before those that are there."""
    RULES.insert(0, rule)
    return rule


def rule_of(module: nn.Module) -> LayerRule | None:
    """The rule for a module; None where there is none, or where its forward was replaced."""
    if "forward" in vars(module):
        return None
    return next((rule for rule in RULES if rule.applies(module)), None)


def computes_like(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module computes by the forward of this kind, with a weight and a bias at most."""
    names = {name for name, _ in module.named_parameters()}
    return isinstance(module, kind) and type(module).forward is kind.forward and names <= {"weight", "bias"}


@dataclass(frozen=True)
class Site:
    """A module that computes with trained parameters.

    Attributes:
        module: The module.
        names: Its trained parameters: name in the module to name in the model.
        rule: How it computes with one of each stimulus.
        channels_last: Whether images may come out with the channels last.
    """

    module: Any
    names: Mapping[str, str]
    rule: LayerRule
    channels_last: bool = False

    @property
    def weight(self) -> str | None:
        """The model's name of the matrix that may be a `FactoredWeight`; None where there is none."""
        return self.names.get("weight") if self.rule.factored else None


def tensors(parameters: Parameters) -> dict[str, Tensor]:
    """The parameters of which each stimulus has a copy."""
    return {name: one for name, one in parameters.items() if isinstance(one, Tensor)}


def scaled(y: Tensor, scale: float) -> Tensor:
    """``scale * y``, without a pass over it where that is nothing."""
    return y if scale == 1 else y * scale
