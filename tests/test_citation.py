"""How to cite eif_lab: one version, title and address in all files that say it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]

CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_file_is_valid_in_its_format():
    cffconvert = pytest.importorskip("cffconvert", reason="it needs pip install cffconvert")
    cffconvert.Citation(CITATION).validate()
    with pytest.raises(Exception, match="title"):
        cffconvert.Citation(CITATION.replace("title: ", "name: ", 1)).validate()


def test_files_that_say_how_to_cite_agree():
    said = yaml.safe_load(CITATION)
    [bibtex] = re.findall(r"@software\{.*?\n\}", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    fields = dict(re.findall(r"(\w+)\s+= \{+(.*?)\}+,?\n", bibtex))
    assert said["version"] == fields["version"] == PROJECT["version"]
    assert said["title"] == fields["title"]
    assert said["authors"] == [{"name": fields["author"].replace("\\", "")}]
    assert said["license"] == PROJECT["license"]
    assert said["repository-code"] == PROJECT["urls"]["Repository"]
