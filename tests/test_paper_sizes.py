"""The paper's size, on Phi-3-mini's architecture without its weights: every job composes, and a sweep takes hours."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from transformers import Phi3Config

from benchmarks.case import MINI
from eif_lab.commands.compose import Command
from eif_lab.configs import CONF
from eif_lab.errors import NotApplicable
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.plan import plan_job

pytest_plugins = ["command_line_fixtures"]

EXPERIMENTS = (CONF / "experiment").glob("figure_*.yaml")
FIGURES = sorted(path.stem for path in EXPERIMENTS if "/model: phi3" in path.read_text())

LAYERS, WORLDS = 2, 4
"""Of what sweeps are planned with: more layers take the output head once, more worlds the search for the rate."""

PER_SECOND = {"bfloat16": 989e12 / 2, "float32": 67e12 / 2}
"""Half of the operations that the vendor's sheet of an H200 gives."""

HOURS = 2


def save_architecture(place: Path, tokenizer, layers: int) -> str:
    """Phi-3-mini's sizes and a tokenizer that spells: its texts are no shorter than in Phi-3-mini's own tokens."""
    sizes = asdict(MINI) | {"num_hidden_layers": layers}
    config = Phi3Config(**sizes, bos_token_id=1, eos_token_id=2, pad_token_id=tokenizer.pad_token_id)
    config.architectures = ["Phi3ForCausalLM"]
    config.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return str(place)


def jobs_of(experiment: str, checkpoint: str) -> list[Job | NotApplicable]:
    """The jobs of an experiment at the paper's size."""
    swept = ["-m"] if experiment in FIGURES else []
    chosen = [f"experiment={experiment}", "preset=paper", f"model.checkpoint={checkpoint}", "tracker=none", *swept]
    return [job for _, job in Command(chosen).jobs()]


def most_operations(job: Job) -> float:
    """What a plan of few layers and worlds says that the whole job takes at most."""
    few = replace(job, dataset=replace(job.dataset, worlds=WORLDS), desideratum=[])
    return plan_job(few, {}).flops * job.dataset.worlds / WORLDS * MINI.num_hidden_layers / LAYERS


@pytest.mark.parametrize("experiment", FIGURES)
def test_a_sweep_on_phi3_mini_is_of_english_that_it_knows_and_fits_one_accelerator(
    experiment, isolated, tmp_path, tokenizer
):
    jobs = [job for job in jobs_of(experiment, save_architecture(tmp_path, tokenizer, LAYERS)) if isinstance(job, Job)]
    for job in {repr(job.dataset): job for job in jobs}.values():
        data = job.dataset
        assert (data.language, data.elsewhere, job.device) == ("english", 2, "cuda")
        assert len(data.draw_worlds(job.data_seed)) == data.worlds >= 20
    backgrounds = {job.dataset.background for job in jobs}
    assert backgrounds == ({"known", "context"} if experiment == "figure_two_by_two" else {"known"})
    measured = [job for job in jobs if job.engine.name != "first_order"]  # what a prediction takes is not linear
    costliest = max(most_operations(job) for job in (measured[0], measured[-1]))
    assert 0 < len(jobs) * costliest < PER_SECOND[jobs[0].model.dtype] * HOURS * 3600


def test_phi3_mini_is_planned_at_its_full_depth(isolated, tmp_path, tokenizer):
    [job] = jobs_of("phi3_mini", save_architecture(tmp_path, tokenizer, MINI.num_hidden_layers))
    assert (job.dataset.language, job.dataset.background, job.dataset.elsewhere) == ("english", "known", 2)
    plan = plan_job(replace(job, desideratum=[]), {})
    assert 0 < plan.flops < PER_SECOND[job.model.dtype] * HOURS * 3600 and plan.probe_passes > plan.fine_tunes > 0
    assert 2 * 3_821_079_552 < plan.peak < 80 * 2**30  # its weights in bfloat16, and one accelerator
