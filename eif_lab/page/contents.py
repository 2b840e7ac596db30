"""Limits of the page, and its large parts: arrays, tables and pictures, compressed inside the HTML."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup


@dataclass(frozen=True)
class Budget:
    """Limits of the page; whatever exceeds one is reduced, and the page says so.

    Attributes:
        cells: Of all arrays together.
        arrays: How many jobs have theirs on the page, the first of a sweep.
        pictures: Of each set of images.
        characters: Of each text.
    """

    cells: int
    arrays: int
    pictures: int
    characters: int


BUDGETS = (
    Budget(1_200_000, 200, 4000, 600),
    Budget(600_000, 100, 2000, 300),
    Budget(200_000, 50, 500, 120),
    Budget(40_000, 20, 100, 60),
)
"""Tried in turn, until the page is small enough."""


class Contents:
    """The page's binary contents, each stored once, under a name made from its contents."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, str]] = {}

    def add(self, value: Any) -> str:
        """Store an array (float32, int32 or uint8), or anything that JSON holds, compressed; return its name."""
        if isinstance(value, np.ndarray):
            return self._store(value.dtype.name, gzip.compress(np.ascontiguousarray(value).tobytes(), 6, mtime=0))
        return self._store("json", gzip.compress(json.dumps(value, ensure_ascii=False).encode(), 6, mtime=0))

    def add_picture(self, content: bytes) -> str:
        """Store a picture in the WebP format; return its name."""
        return self._store("webp", content)

    def _store(self, kind: str, content: bytes) -> str:
        name = hashlib.sha256(kind.encode() + content).hexdigest()[:12]
        self.items[name] = {"kind": kind, "content": base64.b64encode(content).decode()}
        return name


def script_json(value: Any) -> Markup:
    """JSON for a script element: no text in it can end the element."""
    return Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c"))
