"""The page on the architecture shows the way that a job really takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_way_down import LANDMARKS, landmarks

from eif_lab.commands import dispatch

pytest_plugins = ["command_line_fixtures"]

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"

ABOVE_AND_BELOW = {
    "commands.run": {"run_jobs"},
    "commands.compose": {"Command.jobs"},
    "commands.job": {"run_alone"},
    "data.worlds.domain": {"Domain.load"},
    "perturbations.perturbation": {"Perturbation.apply"},
    "models.language.pretrained": {"PretrainedLM.prepare"},
    "methods.full": {"Full.apply"},
    "methods.prompt": {"Prompt.contexts"},
    "influence.engines.engine": {"Engine.prepare"},
}
"""Landmarks above `run_job`, and in the rooms below it."""

SMALL = (
    "dataset=ontology dataset.background=context dataset.worlds=1 dataset.stimuli_per_world=1 desideratum=[sparsity]"
)


@pytest.mark.parametrize("method", ["full", "prompt"])
def test_the_page_shows_the_way_of_a_job(isolated, monkeypatch, method):
    for module, names in ABOVE_AND_BELOW.items():
        monkeypatch.setitem(LANDMARKS, module, LANDMARKS.get(module, set()) | names)
    options = f"model=phi3 {SMALL} method={method} update.learning_rate=0.05 tracker=none hydra.run.dir=job"
    with landmarks() as passed:
        assert dispatch.main(options.split()) == 0
    shown = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert passed == shown[["full", "prompt"].index(method)].splitlines(), "\n" + "\n".join(passed)
