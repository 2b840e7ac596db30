"""Your own texts: one JSON object a line, in the format of docs/data.md, every line checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from eif_lab.data.elsewhere import OfWorlds
from eif_lab.data.task import Task, Texts
from eif_lab.data.texts.assembly import BACKGROUNDS, task_of
from eif_lab.data.texts.lines import lines_of
from eif_lab.errors import rule_error
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option


@dataclass
class JSONL(OfWorlds):
    """Stimuli, probes, relations, foils, candidates, worlds, background and distances from a file of one's own.

    Attributes:
        path: The file; docs/data.md says what stands in it.
        background: Whether a world's background stands in the ``context`` of its probes or is ``taught``.
        delimiter: What stands between a prompt and its target; empty for what they hold themselves.
    """

    kind: ClassVar[str] = Texts.kind
    incidental: ClassVar[tuple[str, ...]] = ("path",)

    path: str | None = option(None)
    background: str = option("context", one_of=BACKGROUNDS)
    delimiter: str = option(" ")

    def identity(self) -> list[list[str]]:
        """The file's contents."""
        return fingerprint([Path(self.path)]) if self.path else []

    def load(self, seed: int) -> Task:
        """What the file says; ``seed`` decides nothing but which other worlds are read.

        Raises:
            ConfigError: There is no such file, or a line of it breaks a rule; the line and the field are named.
        """
        if not self.path or not Path(self.path).is_file():
            raise rule_error("dataset.path", "name a file", self.path, "Try dataset.path=examples.jsonl.")
        task = task_of(lines_of(Path(self.path), self.delimiter), self.path, self.background)
        return self.with_elsewhere(task, seed)
