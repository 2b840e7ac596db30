"""The documentation builds into a site without a dead link, that fetches nothing and shows the version."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import eif_lab

pytest.importorskip("furo", reason="the site needs pip install 'eif_lab[docs]'")

ROOT = Path(__file__).parents[1]

FETCHES = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"(?:https?:)?//|@import|url\(\W?https?:"
)
"""What lets a browser fetch from elsewhere when a page is opened; a link that is to be followed is none."""


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """`make docs`, of a source and into a folder."""
    command = re.search(r"^docs:.*\n\t\$\(BIN\)/sphinx-build (.*) \. site$", (ROOT / "Makefile").read_text(), re.M)
    assert command
    options = command[1].replace(" docs", f" {ROOT / 'docs'}").replace("site/", f"{site}/").split()
    words = [sys.executable, "-m", "sphinx", *options, str(source), str(site)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_no_page_fetches_anything(site):
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(files) > 30
    assert {str(file): found for file in files if (found := FETCHES.findall(file.read_text(encoding="utf-8")))} == {}


def test_the_reference_has_every_public_function_and_its_formulas(site):
    reference = (site / "docs" / "api.html").read_text(encoding="utf-8")
    assert set(re.findall(r'id="eif_lab\.(\w+)"', reference)) == set(eif_lab.__all__)
    assert "<math" in reference


def test_every_page_shows_the_version(site):
    for page in site.rglob("*.html"):
        assert f"eif_lab {eif_lab.__version__}" in page.read_text(encoding="utf-8"), page


@pytest.mark.parametrize(
    "link, fault",
    [("absent.md", "absent.md"), ("#absent", "absent"), ("other.md#absent", "absent"), ("absent.png", "absent.png")],
)
def test_a_dead_link_fails_the_build(tmp_path, link, fault):
    documents = tmp_path / "documents" / "docs"
    documents.mkdir(parents=True)
    picture = "!" if link.endswith(".png") else ""
    (documents / "index.md").write_text(
        f"# Contents\n\n{picture}[Somewhere]({link})\n\n```{{toctree}}\nother.md\n```\n"
    )
    (documents / "other.md").write_text("# Other\n\nText.\n")
    built = build(documents.parent, tmp_path / "site")
    assert built.returncode != 0
    assert "docs/index.md:3: WARNING" in built.stderr and fault in built.stderr
