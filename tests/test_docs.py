"""What documents tell their readers to do, done: each in a folder of its own, from top to bottom."""

from __future__ import annotations

import doctest
import re
import shutil
import sys
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from command_line_fixtures import isolation
from docs_session import JOB, NAMED, ROOT, SWEEP, Session, parts, write_what_readers_have

import eif_lab
from eif_lab.influence.engines import ENGINES
from eif_lab.influence.per_sample.layers.layer import RULES
from eif_lab.influence.update import OPTIMIZERS

pytest_plugins = ["command_line_fixtures"]

TAUGHT = ("attribution", "cost", "extending", "science", "tutorial")
"""Guides whose base models are trained as their readers' are."""

DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sweep and the job that documents take their reader to have, and the cache that they filled."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch, isolation(folder, patch):
        Session(patch).run_command(["-m", "dataset=digits", "method=full,lora", f"hydra.sweep.dir={SWEEP}"])
        shutil.copytree(f"{SWEEP}/0", JOB)
    return folder


@pytest.fixture
def session(isolated: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    """A reader in an empty folder; the modules that the reader writes, and their entries, are forgotten afterwards."""
    before, tables = set(sys.modules), (ENGINES, OPTIMIZERS, RULES)
    entries = [copy(table) for table in tables]
    yield Session(isolated)
    for table, former in zip(tables, entries):
        table.clear()
        (table.update if isinstance(table, dict) else table.extend)(former)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name + "/" + path.name)
def test_a_document_works_from_top_to_bottom(document, session, results, monkeypatch):
    if document.stem in TAUGHT:
        monkeypatch.delitem(sys.modules, "eif_lab.models.training")  # its stand-in
    text = document.read_text(encoding="utf-8")
    write_what_readers_have("".join(part.text for part in parts(document) if part.kind == "jsonl"))
    if SWEEP in text or set(NAMED) & set(text.replace("`", " ").split()):
        shutil.copytree(results, ".", dirs_exist_ok=True)
    for part in parts(document):
        session.go_through(part)


KINDS = ("dataset of images", "domain of texts", "model", "method", "perturbation", "readout", "desideratum", "engine")
KINDS += ("tracker", "optimizer")
"""What one can add: headings of the guide."""


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_added_from_outside_by_a_file_a_config_and_a_command(kind):
    """The test above runs them."""
    guide = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    [section] = [one for one in re.split(r"^## An? ", guide, flags=re.M) if one.split("\n", 1)[0] == kind]
    file, config = re.search(r"^# (\w+)\.py$", section, re.M), re.search(r"^# conf/\w+/\w+\.yaml$", section, re.M)
    assert file and config
    assert f"{file[1]}." in section[config.start() :] or f"={file[1]}" in section
    assert "\neif-lab --config-dir conf " in section


def test_the_examples_of_public_functions_print_what_they_say(session, results):
    """Each function has one, and finds the others and a sweep at hand."""
    shutil.copytree(results, ".", dirs_exist_ok=True)
    public = {name: getattr(eif_lab, name) for name in eif_lab.__all__}
    for name, function in public.items():
        examples = doctest.DocTestParser().get_doctest(function.__doc__, {"np": np, **public}, name, None, 0)
        assert examples.examples, name
        doctest.DebugRunner(verbose=False).run(examples)
