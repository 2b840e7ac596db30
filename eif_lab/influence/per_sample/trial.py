"""The trial of a layout: two stimuli together have the gradients that each has alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from eif_lab.influence.per_sample.alone import BaseGradients, Gradient, disagreement, first_line, norm
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.per_sample.backward import Gradients, backward
from eif_lab.influence.per_sample.layout import Layout, inseparable, worth_factoring
from eif_lab.influence.per_sample.sites import find_sites, one_site
from eif_lab.influence.problem import Problem
from eif_lab.influence.resources.memory import out_of_memory, peak_bytes

MOST_TRIED = 16
"""Stimuli that are tried for two whose gradients are finite and not zero."""

FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""Exceptions of a model through which stimuli cannot go together."""

BY_LAYER, WHOLE = "layers", "whole"
"""Each layer computes with each stimulus's parameters, or the model is vectorised as a whole."""


class Layouts:
    """The layouts under which each stimulus's gradient is right, each tried once.

    Attributes:
        problem: What is measured; the layouts hold at any learning rate.
        channels_last: Whether images go through the model so.
        gradients: Those that stimuli have alone at the base.
    """

    def __init__(self, problem: Problem, channels_last: bool) -> None:
        self.problem, self.channels_last = problem, channels_last
        self.gradients = BaseGradients(problem)
        self.untried: dict[str, Layout] = {}
        self.results: dict[tuple[Any, ...], Layout | str] = {}

    def of_other_stimuli(self, problem: Problem) -> Layouts:
        """The layouts of stimuli of the same shapes: a trial of some holds for the others."""
        layouts = Layouts(problem, self.channels_last)
        layouts.untried, layouts.results = self.untried, self.results
        return layouts

    def find(self, factored: bool) -> Layout:
        """The layout, by layers where that is right, else of the model as a whole.

        Args:
            factored: Hold weights as factors where those are smaller than a copy.

        Raises:
            Disagreement: Stimuli cannot go through the model together, and why.
        """
        if reason := inseparable(self.problem):
            raise Disagreement(reason)
        for kind in (BY_LAYER, WHOLE):
            result = self.attempt(kind, factored)
            if isinstance(result, Layout):
                return result
        raise Disagreement(result)

    def plan(self, factored: bool) -> Layout | None:
        """The layout by layers, before any trial; None where there is none."""
        if inseparable(self.problem):
            return None
        try:
            return self.untried_layout(BY_LAYER, factored)
        except FAILURES as error:
            if out_of_memory(error):
                raise
            return None
        finally:
            self.problem.base.restore()

    def attempt(self, kind: str, factored: bool) -> Layout | str:
        """The layout of a kind if it holds on trial; else why it does not."""
        key: tuple[Any, ...] = (kind, ())
        try:
            layout = self.untried_layout(kind, factored)
            key = kind, layout.factored
            if key not in self.results:
                self.results[key] = self.on_trial(layout)
        except FAILURES as error:
            if out_of_memory(error):
                raise
            line = first_line(error)
            known = isinstance(error, Disagreement)
            self.results[key] = line if known else f"torch.func cannot vectorise this model ({line})"
        finally:
            self.problem.base.restore()  # such as tensors of a vmap that did not come to its end
        return self.results[key]

    def untried_layout(self, kind: str, factored: bool) -> Layout:
        """A layout with the sites of this kind, which have one memory of calls for all engines."""
        model, trained = self.problem.model, self.problem.trained
        if kind not in self.untried:
            by_layer = kind == BY_LAYER
            self.untried[kind] = Layout(
                find_sites(model, trained, self.channels_last) if by_layer else one_site(model, trained)
            )
        layout = self.untried[kind]
        weights = worth_factoring(self.problem, layout) if factored else ()
        return replace(layout, factored=weights, copied=tuple(name for name in trained if name not in weights))

    def on_trial(self, layout: Layout) -> Layout:
        """The layout with the memory that a stimulus takes, where the gradient of two is what each has alone.

        Raises:
            Disagreement: It is not.
        """
        problem = self.problem
        rows, alone = zip(*two_stimuli(problem, self.gradients))
        members = torch.stack(rows)
        results: list[Gradients] = []

        def together() -> None:
            base = layout.base_parameters(problem, len(members))
            results.append(backward(problem, layout, base, problem.samples.take(members)))

        work = peak_bytes(together, members.device)
        gradients = results.pop()
        check = GradientCheck(problem.update.moves_without_gradient)
        for index, gradient in enumerate(alone):
            if gradient:
                check.agrees(gradients.of(index), gradient)
        return replace(layout, work=work // len(members), factor_bytes=gradients.factor_bytes // len(members))


class GradientCheck:
    """Whether gradients among others are those alone; a single one may be off as far as a kink explains.

    Args:
        strict: A gradient of zero is another thing than none.
    """

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.off = 0

    def agrees(self, among: Mapping[str, Tensor], alone: Gradient) -> bool:
        """Whether one stimulus's gradients are the same.

        Raises:
            Disagreement: They are further apart than may be.
        """
        reason = disagreement(among, alone, strict=self.strict)
        self.off += bool(reason)
        if reason and (self.off > 1 or disagreement(among, alone, strict=self.strict, kinked=True)):
            raise Disagreement(reason)
        return not reason


def two_stimuli(problem: Problem, gradients: BaseGradients) -> list[tuple[Tensor, Gradient]]:
    """The rows of two stimuli with the gradients that they have alone, of the first few that tell right from wrong."""
    if problem.members.is_meta:
        return [(rows, {}) for rows in problem.first_rows[:2]]
    telling, others = list[tuple[Tensor, Gradient]](), list[tuple[Tensor, Gradient]]()
    for rows in problem.first_rows[:: math.ceil(len(problem.members) / MOST_TRIED)]:
        gradient = gradients.of(rows)
        (telling if is_telling(gradient) else others).append((rows, gradient))
        if len(telling) == 2:
            break
        del others[2:]
    return (telling + others)[:2]


def is_telling(gradient: Gradient) -> bool:
    """Whether a gradient is finite, and not zero: any other looks right whatever is done."""
    norms = [float(norm(one)) for one in gradient.values() if one is not None]
    return any(norms) and all(map(math.isfinite, norms))
