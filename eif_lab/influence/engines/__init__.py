"""Engines: how influence is computed. Each is a file, and a line here that imports it."""

from __future__ import annotations

from eif_lab.errors import rule_error, unknown_name
from eif_lab.influence.engines import auto, factored, first_order, loop, reference, stacked
from eif_lab.influence.engines.engine import ENGINES, Engine

__all__ = [
    "ENGINES", "Engine", "auto", "exact_engines", "factored", "first_order", "loop", "named_engine", "predictions",
    "reference", "stacked",
]  # fmt: skip

RENAMED = {"lowrank": "factored"}
"""Former names."""


def named_engine(name: str) -> Engine:
    """The engine of this name, with its default options.

    Raises:
        ConfigError: There is none.
    """
    if name in RENAMED:
        rule = f"be one of {', '.join(sorted(ENGINES))}"
        raise rule_error("engine", rule, name, f"It is called {RENAMED[name]} now.")
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    return ENGINES[name]()


def exact_engines() -> list[type[Engine]]:
    """The engines that run the update, ``auto`` among them."""
    return [kind for kind in ENGINES.values() if kind.exact]


def predictions() -> list[type[Engine]]:
    """The engines whose influence is a prediction."""
    return [kind for kind in ENGINES.values() if not kind.exact]
