"""Each question of docs/questions.md is asked as its command asks it, small and of phi3-tiny, and gives its picture."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from docs_session import ROOT, words_of

from eif_lab.commands import dispatch

pytest_plugins = ["command_line_fixtures"]

PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^    make question-(\w+)", PAGE, re.M)

SMALL = {
    "model": "phi3",
    "model.minimum_background_accuracy": "0",
    "dataset.language": "invented",
    "dataset.worlds": "3",
    "update.steps": "1",
}
"""What makes a sweep on SmolLM2 one of seconds."""

OWN = {
    **{name: {"update.learning_rate": "0.01"} for name in ("converse", "denial", "forgetting")},
    "tracin": {"update.learning_rate": "0.003,0.03"},
    "facts": {"perturbation.facts": "1,2", "update.steps": "2", "update.calibration_stimuli": "2"},
}
"""By question, no search for a rate where its figure needs none, and fewer choices."""


def commands_of(question: str) -> list[list[str]]:
    """The words of the ``eif-lab`` commands that make would run, the sweeps first."""
    asked = subprocess.run(
        ["make", "-n", "-B", f"question-{question}"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    lines = [line for line in asked.stdout.splitlines() if re.match(r"\S*eif-lab (-m|figures) ", line)]
    return [words_of(line)[1:] for line in lines]


def smaller(words: list[str], question: str) -> list[str]:
    """A sweep on one domain and few worlds."""
    given = dict(word.split("=", 1) for word in words if "=" in word) | SMALL | OWN[question]
    given["dataset"] = given["dataset"].split(",")[0]
    return ["-m", *(f"{name}={value}" for name, value in given.items())]


def test_five_questions_have_a_picture_each():
    assert len(QUESTIONS) == len(set(QUESTIONS)) == 5
    pictures = {path.stem.removeprefix("question-") for path in (ROOT / "docs" / "pictures").glob("question-*.png")}
    assert set(QUESTIONS) == pictures == set(re.findall(r"\(pictures/question-(\w+)\.png\)", PAGE))


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_by_its_command(question, isolated):
    *sweeps, drawing = commands_of(question)
    for words in sweeps:
        assert not dispatch.main(smaller(words, question)), words
    assert dispatch.main(drawing) == 0
    output = Path(drawing[drawing.index("--output") + 1])
    assert (output / f"{drawing[1]}.png").stat().st_size > 10_000
    assert "phi3-tiny (ours, not Phi-3)" in (output / f"{drawing[1]}.md").read_text()
