"""All cases."""

from __future__ import annotations

import importlib
import pkgutil

from .case import Case

CASES: list[Case] = [
    case
    for found in sorted(pkgutil.iter_modules(__import__(__package__, fromlist=["_"]).__path__), key=lambda m: m.name)
    if not found.name.startswith(("test_", "__")) and found.name not in ("table", "hold", "loop", "case", "data")
    for case in getattr(importlib.import_module(f"{__package__}.{found.name}"), "CASES", [])
]
