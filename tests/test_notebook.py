"""The notebook runs from top to bottom, and shows what it printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook needs pip install nbclient ipykernel")
nbclient = pytest.importorskip("nbclient", reason="the notebook needs pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="the notebook needs pip install nbclient ipykernel")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


def shown(notebook) -> list[str]:
    """What cells of code show: the verdicts that they print, without their numbers, and the pictures."""
    texts = (
        "".join(output.get("text", "picture") for output in cell.outputs if output.get("name") != "stderr")
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
    return re.findall(r"\w+: (?:Satisfied|Violated|Inconclusive|No verdict)|picture", "\n".join(texts))


def test_the_notebook_shows_what_it_prints_when_it_is_run_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    expected = shown(kept)
    nbclient.NotebookClient(kept, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert shown(kept) == expected
    assert expected.count("picture") == 2
    assert "logic: Satisfied" in expected


def test_what_the_notebook_shows_is_small():
    assert NOTEBOOK.stat().st_size < 150_000
