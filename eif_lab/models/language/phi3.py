"""Phi-3, the paper's model: our own small one of its architecture, `phi3-tiny`, unless a checkpoint is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eif_lab.files.build_once import REPORT
from eif_lab.models.language.pretrained import PretrainedLM

TINY, STORED = "phi3-tiny", "phi3-stored"

SHIPPED = Path(__file__).parent.parent / "phi3_tiny"
"""The weights and tokenizer of phi3-tiny in the hub's format, as `eif-lab pretrain` makes them."""

OURS = {TINY: SHIPPED, STORED: SHIPPED.with_name("phi3_stored")}
"""The models that come with the package."""


@dataclass
class Phi3(PretrainedLM):
    """phi3-tiny or phi3-stored, which come with the package, or a checkpoint, such as Microsoft's Phi-3-mini."""

    @property
    def _short_name(self) -> str:
        return TINY if self.checkpoint is None else super()._short_name

    @property
    def source(self) -> str:
        """Where its files are: a directory, or a name on the hub."""
        return str(OURS[self._short_name]) if self._is_ours else super().source

    @property
    def _is_ours(self) -> bool:
        return self.checkpoint is None or self.checkpoint in OURS

    def _made(self) -> Mapping[str, Any]:
        """What the checkpoint's own report says of a model that was made; ours has one."""
        if not self._is_ours:
            return super()._made()
        return json.loads((Path(self.source) / REPORT).read_text(encoding="utf-8"))
