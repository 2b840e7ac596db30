"""Pictures of the documentation are small, are shown, and have the command that makes them beside them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PICTURES = sorted((ROOT / "docs").rglob("*.png"))
ASKED = [picture for picture in PICTURES if picture.name.startswith("question-")]
DRAWN = [picture for picture in PICTURES if picture.parent.name == "pictures" and picture not in ASKED]

SHOWN = re.compile(r"!\[[^]]+\]\(([^)]+)\)\s+(.*?)(?:\n\n|\Z)", re.S)
"""A picture, and the paragraph below it."""


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small(picture):
    assert picture.stat().st_size < 150_000


def of_page(page):
    """The pictures that belong on a page: in the gallery all, and on the others those of what it explains."""
    names = {picture.stem for picture in DRAWN}
    of_the_page = {name for name in names if name.startswith("page-")}
    return {
        "gallery.md": names,
        "questions.md": {picture.stem for picture in ASKED},
        "reading_the_page.md": of_the_page,
        "reading_the_figures.md": names - of_the_page,
    }[page]


@pytest.mark.parametrize("page", ["gallery.md", "questions.md", "reading_the_figures.md", "reading_the_page.md"])
def test_each_picture_has_a_sentence_and_its_command(page):
    shown = dict(SHOWN.findall((ROOT / "docs" / page).read_text(encoding="utf-8")))
    assert {f"pictures/{name}.png" for name in of_page(page)} <= shown.keys()
    for picture, below in shown.items():
        assert re.search(r"\*[^`*]+\.\*", below), picture
        drawn = re.fullmatch(r"pictures/(?!question-)(.*)\.png", picture)
        asked = re.fullmatch(r"pictures/(question-.*)\.png", picture)
        assert (f"`make picture-{drawn[1]}`" if drawn else f"`make {asked[1]}`" if asked else "`") in below


@pytest.mark.parametrize(("target", "pictures"), [("pictures", DRAWN), ("questions", ASKED)])
def test_make_draws_every_picture(target, pictures):
    asked = subprocess.run(["make", "-n", "-B", target], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert set(re.findall(r'save\("docs/pictures/(.*?)\.png"', asked.stdout)) == {picture.stem for picture in pictures}
