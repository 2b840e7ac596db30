"""What documents tell their readers to do, done: each in a folder of its own, from top to bottom."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_session import JOB, NAMED, ROOT, SWEEP, Session, parts, write_what_readers_have

pytest_plugins = ["command_line_fixtures"]

TAUGHT = ("attribution", "cost", "extending", "science", "tutorial")
"""Guides whose base models are trained as their readers' are."""

DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture
def session(isolated: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    """A reader in an empty folder; the modules that the reader writes are forgotten afterwards."""
    before = set(sys.modules)
    yield Session(isolated)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name + "/" + path.name)
def test_a_document_works_from_top_to_bottom(document, session, monkeypatch):
    if document.stem in TAUGHT:
        monkeypatch.delitem(sys.modules, "eif_lab.models.training")  # its stand-in
    text = document.read_text(encoding="utf-8")
    write_what_readers_have("".join(part.text for part in parts(document) if part.kind == "jsonl"))
    if SWEEP in text or set(NAMED) & set(text.replace("`", " ").split()):
        session.run_job(["-m", "dataset=digits", "method=full,lora", f"hydra.sweep.dir={SWEEP}"])
        shutil.copytree(f"{SWEEP}/0", JOB)
    for part in parts(document):
        session.go_through(part)
