"""A plan says what a job then takes, and runs and writes nothing."""

from __future__ import annotations

import copy
import io
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from language import save_checkpoint
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from eif_lab.commands.compose import Command
from eif_lab.console.plans import print_plans
from eif_lab.influence.batch import Batch
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.first_order import FirstOrder
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.engines.reference import Reference
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.influence.measurement import memberships
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading.arrangement import Arrangement
from eif_lab.influence.resources import forecast
from eif_lab.influence.resources.forecast import (
    Parts,
    Rates,
    amounts,
    extrapolate,
    measured_rates,
    of_whole_prediction,
    operations,
    outline_part,
    peak,
    run,
    some_passes,
)
from eif_lab.influence.resources.memory import peak_bytes
from eif_lab.influence.setup import Setup
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.update import Update
from eif_lab.jobs.planning.plan import plan_job
from eif_lab.jobs.planning.room import lacking
from eif_lab.methods import named_method
from eif_lab.models.cnn import ConvNet
from eif_lab.models.language.causal_lm import CausalLM, Outline, token_loss
from eif_lab.readouts.readout import named_readouts
from eif_lab.results.plan import TRAINING, Plan

pytest_plugins = ["command_line_fixtures"]

WHOLE = (12, 12)
"""Stimuli and probes of the images."""

SMALL = "dataset.stimuli=12 dataset.probes=10 model.channels=[4,4] model.hidden=16 desideratum=[sparsity]"


def nothing(folder: Path) -> None:
    """No file is written beforehand."""


def problem(model, loss, inputs, targets) -> Problem:
    """All samples are stimuli, and all are probes."""
    batch = Batch(inputs, targets)
    return Problem(
        base=Snapshot(model.eval(), room=2**30),
        loss=loss,
        samples=batch,
        members=memberships(len(targets), "include").to(inputs.device),
        probes=batch,
        readouts=named_readouts("log_prob"),
        update=Update(learning_rate=0.01, steps=2, momentum=0.9),
    )


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    net = ConvNet((1, 8, 8), 10, [4], 64)
    pixels = torch.rand(12, 1, 8, 8, generator=generator)
    return Setup.of(problem(net, F.cross_entropy, pixels, torch.randint(10, (12,), generator=generator)))


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    """Nothing here is about how exactly times are told."""
    monkeypatch.setattr(forecast, "LONGEST", 0.02)


def texts(model, count=3):
    generator = torch.Generator().manual_seed(0)
    device = next(model.parameters()).device
    ids = torch.randint(5, 300, (count, 9), generator=generator)
    asked = problem(named_method("full").apply(model, 0), token_loss, ids.to(device), ids.to(device))
    return Setup.of(asked, Arrangement())  # what texts share, shapes do not tell


@pytest.mark.parametrize(("stimuli", "rows"), [((1, 7), (3, 6)), ((1,), (3, 6)), ((1, 7), (1,)), ((1,), (1,))])
def test_a_quantity_grows_by_what_is_done_once_per_stimulus_per_row_and_per_pair(stimuli, rows):
    def quantity(n, m):
        return 3.0 + 0.5 * n + 7.0 * m + 11.0 * n * m

    found = {(n, m): quantity(n, m) for n in stimuli for m in rows}
    # where there is one stimulus, or one row, nothing can be said of several, nor need it
    size = (100 if len(stimuli) > 1 else 1, 1000 if len(rows) > 1 else 1)
    assert extrapolate(found, size) == pytest.approx(quantity(*size))


def flops(prepared, large=False) -> float:
    """Operations of a whole measurement, by those of its parts."""
    if not prepared.engine.exact:
        return of_whole_prediction(prepared, operations, outline_part)
    return measured_rates(prepared, large)[0].of(*amounts(prepared))


def whole(prepared):
    """Runs a whole measurement."""
    return partial(run, outline_part(prepared, WHOLE), prepared.setup.problem.steps)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 6])
@pytest.mark.parametrize("engine", [Factored(), Stacked(), Reference(), Loop(), FirstOrder()], ids=lambda one: one.name)
def test_operations_of_two_stimuli_and_two_steps_tell_those_of_all(engine, steps, large, images):
    problem = images.problem
    prepared = engine.prepare(Setup.of(replace(problem, update=replace(problem.update, steps=steps))))
    # of one stimulus of a large model what is done again for a chunk is not counted
    loose = large and prepared.stimuli_at_once > 1
    assert flops(prepared, large) == pytest.approx(operations(whole(prepared)), rel=0.1 if loose else 0.02)


@pytest.mark.parametrize("engine", [Factored(), Stacked(), Reference()], ids=lambda one: one.name)
def test_operations_of_two_steps_tell_those_of_epochs_that_are_read_after_each_step(engine, images):
    update = replace(images.problem.update, steps=1, epochs=3, batch_size=2)
    sets = torch.arange(24).reshape(6, 4) % 12
    of_sets = replace(images.problem, members=sets, update=update, trajectory=True)
    prepared = engine.prepare(Setup.of(of_sets))
    assert prepared.setup.problem.steps == 6
    assert flops(prepared) == pytest.approx(operations(whole(prepared)), rel=0.02)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_operations_are_counted_as_torch_counts_them(method, language_model):
    """Torch's counter lacks ``addmm_``, by which factors are put into a weight."""
    setup = texts(CausalLM(copy.deepcopy(language_model)))
    model = named_method(method).apply(setup.problem.model, 0)
    batch = setup.problem.samples

    def step():
        token_loss(model(batch.inputs), batch.targets).backward()

    with FlopCounterMode(display=False) as counter:
        step()
    assert operations(step) == counter.get_total_flops() > 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(batch.inputs)
    assert operations(torch.no_grad()(partial(model, batch.inputs))) == counter.get_total_flops() > 0


@pytest.mark.parametrize("engine", [Factored(), Stacked(), Reference()], ids=lambda one: one.name)
def test_memory_of_some_stimuli_tells_that_of_a_whole_chunk(engine, images):
    # of `reference`, what its copy takes is beyond what operators allocate
    unseen = sum(p.nbytes for p in images.problem.model.parameters()) if engine.name == "reference" else 0
    prepared = engine.prepare(images)
    expected = peak_bytes(whole(prepared)) + unseen
    assert peak(prepared, most=6) == pytest.approx(expected, rel=0.15)
    assert peak(prepared) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("samples", [1, 12])
def test_memory_of_a_loop_is_told_by_one_backward_pass_and_some_probes(samples, optimizer, images):
    update = replace(images.problem.update, optimizer=optimizer, momentum=0.0, steps=3)
    sets = torch.arange(12).repeat(2, 1)[:, :samples]
    prepared = Loop().prepare(Setup.of(replace(images.problem, members=sets, update=update)))
    assert prepared.planned_bytes() == pytest.approx(peak_bytes(whole(prepared)), rel=0.1)


def test_less_memory_budget_is_less_peak(images):
    tight = Setup.of(replace(images.problem, memory_budget=2e-4))
    assert peak(Stacked().prepare(tight)) < 0.5 * peak(Stacked().prepare(images))


def test_a_model_without_numbers_tells_the_same_operations_and_memory(language_model):
    language_model.config.num_hidden_layers = 1
    numbers = Factored().prepare(texts(CausalLM(copy.deepcopy(language_model))))
    without = Factored().prepare(texts(Outline(copy.deepcopy(language_model)).to("meta")))
    assert flops(without) == pytest.approx(flops(numbers), rel=0.05)
    assert peak(without) == pytest.approx(peak(numbers), rel=0.2)


@pytest.mark.parametrize("rows", [4, 12])
@pytest.mark.parametrize("exact", [Factored(), Stacked(), Reference()], ids=lambda one: one.name)
def test_rates_of_parts_make_the_whole_whatever_is_done_for_a_chunk_a_stimulus_and_a_row(exact, rows, images):
    prepared = exact.prepare(images)

    def taken(call):
        """3 for a chunk, 4 for a stimulus again, 5 for each and 7 for each row, in a part or in passes alone."""
        if call.func is not run:
            return 7.0 * len(call.args[0].probes)
        part, steps, rechecks, stimuli = call.args
        rows = len(part.setup.problem.probes)
        return steps * (3.0 + 5.0 * stimuli) + 4.0 * rechecks + 7.0 * stimuli * rows

    # on few rows, as of a large model, or on a whole pass
    parts = Parts(prepared, forecast.part, rows)
    read, count = some_passes(prepared, 3)
    rates = Rates.measured(parts, taken, 1, taken(read) / count)
    alone = prepared.stimuli_at_once == 1  # then what is done for a chunk is done for each
    expected = (0, 0, 12, 7) if alone else (3, 4, 5, 7)
    assert (rates.chunk, rates.again, rates.stimulus, rates.row) == pytest.approx(expected)
    whole = 3 * (rates.chunk + rates.again) + 10 * rates.stimulus + 42 * rates.row
    assert rates.of(10, 30, 12, 4) == pytest.approx(whole)
    trial = 3 * rates.chunk + 10 * rates.stimulus + 30 * rates.row
    assert rates.of_search(10, 30, 12, 4, trials=5) == pytest.approx(whole + 4 * trial)


def test_planning_a_sweep_runs_nothing_writes_nothing_and_counts_once_what_is_made_once(command, monkeypatch):
    monkeypatch.setattr("eif_lab.jobs.run.run_job", lambda *_: pytest.fail("a job ran"))
    monkeypatch.setattr("eif_lab.commands.run.PATIENCE", -1)
    done = command(nothing, f"-m method=full,lora,prompt plan=true {SMALL}")
    assert done.code == 0, done.err
    assert "planned 1 of 3 jobs\nplanned 2 of 3 jobs\n" in done.err
    assert done.left == []
    lines = [line for line in done.out.splitlines() if not line.startswith("INFO")]
    assert max(map(len, lines)) <= 100
    assert "cnn digits lora" in done.out and "2 jobs in all" in done.out and "calibrating" in done.out
    # in the columns of memory and of time, of the first job alone
    assert sum(line.count("base training") for line in lines) == 2
    assert "not applicable: method must be one for images" in " ".join(done.out.split())


def jobs_of(arguments: str, folder: Path):
    return Command([*arguments.split(), "tracker=none", f"cache={folder}/cache"]).jobs()


def test_a_given_rate_is_not_searched_for_and_after_the_job_only_verdicts_are_left(command, monkeypatch):
    arguments = f"{SMALL} update.learning_rate=0.01 hydra.run.dir=job"
    [(_, asked)] = jobs_of(arguments, Path("outputs"))
    made: dict[str, Plan] = {}
    before, again = plan_job(asked, made), plan_job(asked, made)
    assert again.fine_tunes == 0 and "an earlier job of this sweep" in again.notes[0]
    assert 2 * again.disk == pytest.approx(before.disk, rel=0.1)  # less the base model, and its copy in the cache
    assert again.seconds == {"verdicts": before.seconds["verdicts"]}
    assert (before.fine_tunes, before.probe_passes) == (12, (12 + 1) * 10)
    assert "calibrating" not in before.seconds
    assert command(nothing, f"{arguments} cache=outputs/cache").code == 0
    stored = [file for place in ("outputs/cache", "job/influence.zarr") for file in Path(place).rglob("*")]
    assert before.disk == pytest.approx(sum(file.stat().st_size for file in stored if file.is_file()), rel=0.3)
    after = plan_job(asked, {})
    assert list(after.seconds) == ["verdicts"] and after.fine_tunes == 0


def test_what_does_not_fit_is_said_with_what_to_try(tmp_path):
    [(_, asked)] = jobs_of(SMALL, tmp_path)
    plan = Plan("job", engine="stacked", memory={"stacked": 3 * 2**30, "factored": 2**30}, disk=1)
    assert lacking(plan, asked, 4 * 2**30) == ""
    told = lacking(plan, asked, 2 * 2**30)
    assert told == "it needs 3 GiB of memory, 2 GiB are there. Try engine=factored."
    assert lacking(plan, asked, 2**20).endswith("Try method=lora, or a smaller engine.memory_budget.")
    assert "of disk" in lacking(replace(plan, disk=2**80), asked, None)


def test_a_checkpoint_without_weights_is_planned_from_its_configuration(isolated, tmp_path, tokenizer):
    place = tmp_path / "shapes"
    save_checkpoint(place, tokenizer, context=512)
    (place / "model.safetensors").unlink()
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    small = "dataset.worlds=1 dataset.stimuli_per_world=1 dataset.background=context update.learning_rate=0.01"
    [(_, asked)] = jobs_of(f"model=phi3 method=lora model.checkpoint={place} {small}", tmp_path)
    plan = plan_job(asked, {})
    assert math.isnan(plan.total_seconds) and "weights are not on this machine" in plan.notes[0]
    assert plan.engine in plan.memory and plan.flops > 0 and plan.disk > 0


def test_an_accelerator_that_is_not_here_is_planned_for(isolated, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    [(_, asked)] = jobs_of(f"{SMALL} device=cuda update.learning_rate=0.01", tmp_path)
    plan = plan_job(asked, {})
    assert math.isnan(plan.total_seconds) and plan.flops > 0 and plan.peak > 0
    assert plan.notes[0].startswith("device=cuda cannot be used")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("model=phi3 model.checkpoint=./none", "model.checkpoint must be a directory that exists"),
        ("device=tpux", "device must be one that torch can use here"),
        ("dataset.stimuli=5000", "dataset.stimuli must be at most 898"),
        ("method=peft method.tuner=LOHA +method.options.alpha=nan", "method.options.alpha must be a finite number"),
    ],
)
def test_what_cannot_be_run_is_not_planned_and_told_in_one_line(command, arguments, message):
    done = command(nothing, f"plan=true {arguments}")
    assert done.code == 2 and done.left == []
    assert done.err.startswith(message) and len(done.err.splitlines()) == 1


def test_a_job_that_hydra_alone_knows_is_not_run_by_mistake(job):
    done = job(nothing, "plan=true")
    assert done.code == 2 and done.err.startswith("plan must be false where another sweeper")


def test_every_row_of_the_table_fits_and_tells_the_unknown():
    plans = [
        Plan(
            "Phi-3-mini-4k-instruct compositionality peft-prefix_tuning template",
            engine="factored",
            memory={"factored": 7e10, "stacked": 3e13, "reference": 1e11, TRAINING: 5e10},
            fine_tunes=10**6,
            probe_passes=10**12,
            flops=1e24,
            disk=1e12,
            seconds={"loading": 5.0, TRAINING: 3e5, "measuring": math.nan},
            lacks="it needs 65.2 GiB of memory, 20 GiB are there. Try method=lora.",
        ),
        Plan("cnn digits full", reason="dataset.root must hold MNIST/raw"),
    ]
    console = Console(width=100, record=True, file=io.StringIO())
    print_plans([plans[0], plans[0], plans[1]], console)
    told = console.export_text()
    assert max(map(len, told.splitlines())) <= 100
    assert told.count("1,000,000,000,000") == 2 and "2,000,000,000,000" in told
    assert "unknown" in told and "cannot be run" in told and "does not fit" in told
