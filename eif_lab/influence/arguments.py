"""Checks of the public functions' arguments: a value of another type is refused in one line before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from eif_lab.errors import must_be, rule_error, unknown_name
from eif_lab.influence.engines import Engine, named_engine
from eif_lab.influence.measurement import PERTURBATIONS
from eif_lab.influence.soundness import must_be_callable, must_hold_numbers
from eif_lab.influence.update import Update
from eif_lab.methods import Method
from eif_lab.options import build


def must_be_able_to_learn(model: Any, loss: Any, *, method: Any, update: Any, engine: Any) -> None:
    """Refuse a model, a loss or a way to learn that is of another type than it should be."""
    must_be_outside_inference_mode()
    must_hold_numbers(model)
    must_be_callable(loss)
    must_be_recipe(method, update, engine)


def must_be_outside_inference_mode() -> None:
    """Refuse a call within ``torch.inference_mode()``, where no gradient can be had."""
    if torch.is_inference_mode_enabled():
        raise rule_error("influence", "be measured outside torch.inference_mode()", "a call within it")


def must_be_recipe(method: Any, update: Any, engine: Any) -> None:
    """Refuse a method, an update or an engine of another type, or an engine that does not exist."""
    must_be(
        "method", method, str | Method | Mapping | None, "a name, a mapping with a name, a Method or None", "Try full."
    )
    must_be("update", update, Update | Mapping | None, "a mapping or an Update", "Try dict(learning_rate=0.01).")
    must_be("engine", engine, str | Engine, "a name or an Engine", "Try auto.")
    if isinstance(engine, str):
        named_engine(engine)


def must_be_settings(perturbation: Any, trajectory: Any, on_chunk: Any, rows: Any, candidates: Any) -> None:
    """Refuse other options of a measurement that are of another type."""
    rows_of_probes = "one whole number for each row of probes"
    must_be("candidates", candidates, Tensor | np.ndarray | list | tuple | None, rows_of_probes)
    if perturbation not in PERTURBATIONS:
        raise unknown_name("perturbation", perturbation, PERTURBATIONS)
    must_be("trajectory", trajectory, bool | np.bool_, "True or False")
    must_be_callback(on_chunk)
    if rows is None:
        return
    bounds = (rows.start, rows.stop, rows.step) if isinstance(rows, slice) else ("",)
    whole = all(one is None or isinstance(one, int | np.integer) for one in bounds)
    if not whole or (rows.step is not None and rows.step <= 0):
        raise rule_error("rows", "be a slice forwards", rows, "Try slice(32, 64).")


def must_name_some(rows: slice, count: int, what: str) -> None:
    """Refuse a slice of ``count`` stimuli, or sets, that holds none of them."""
    if not range(count)[rows]:
        raise rule_error("rows", f"name at least one of the {count} {what}", rows, "Try None for all.")


def must_be_earlier_parts(measured: Any) -> None:
    """Refuse parts of an earlier measurement that cannot be gone through."""
    must_be("measured", measured, Iterable, "parts of an earlier measurement, in a list or the like")


def must_be_callback(on_chunk: Any) -> None:
    """Refuse an ``on_chunk`` that cannot be called with a part."""
    if on_chunk is not None and not callable(on_chunk):
        raise rule_error("on_chunk", "be a function", type(on_chunk).__name__)


def seeds_of(seed: Any) -> list[int]:
    """One seed or several, as a list.

    Raises:
        ConfigError: One is no whole number from 0 on, or there is none.
    """
    several = list(np.atleast_1d(seed)) if isinstance(seed, np.ndarray) else seed
    several = several if isinstance(several, list | tuple | range) else [several]
    for one in several:
        if not isinstance(one, int | np.integer) or not 0 <= int(one) < 2**63:
            raise rule_error("seed", "be a whole number from 0 on, or several", one, "Try 0.")
    if not several:
        raise rule_error("seed", "name at least one seed", seed, "Try 0.")
    return [int(one) for one in several]


def update_at_a_rate(update: Update | Mapping[str, Any] | None) -> Update:
    """The recipe of a measurement, whose learning rate must be known."""
    recipe = update if isinstance(update, Update) else named_update(update)
    if recipe.learning_rate is None:
        raise rule_error("update.learning_rate", "be given", None, "Try 0.01, or find one with eif_lab.calibrate().")
    return recipe


def named_update(update: Mapping[str, Any] | None) -> Update:
    """An `Update` from a mapping; a name that it does not have is an error."""
    return cast(Update, build(Update, {"learning_rate": 0.01, **(update or {})}, "update"))
