"""What documents tell their readers to do, done: each in a folder of its own, from top to bottom."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_session import ROOT, Session, parts

pytest_plugins = ["command_line_fixtures"]

GUIDES = ("attribution", "cost", "extending", "science", "tutorial")
DOCUMENTS = [ROOT / "benchmarks" / "README.md", *(ROOT / "docs" / f"{name}.md" for name in GUIDES)]


@pytest.fixture
def session(isolated: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    """A reader in an empty folder; the modules that the reader writes are forgotten afterwards."""
    isolated.delitem(sys.modules, "eif_lab.models.training")  # its stand-in: what is shown here is the real thing
    before = set(sys.modules)
    yield Session(isolated)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name + "/" + path.name)
def test_a_document_works_from_top_to_bottom(document, session):
    for part in parts(document):
        session.go_through(part)
