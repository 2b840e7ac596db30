"""The harness on tiny problems: it runs what it says, and writes no names of hosts or folders."""

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn
from transformers import AutoTokenizer

import eif_lab
from benchmarks import gpu, growth, loops, over_floor
from benchmarks.__main__ import FULL, QUICK
from benchmarks.case import MINI, SMOL, Architecture, Case, language_case, parameters, phi3, random_clozes
from benchmarks.floor import candidates
from benchmarks.gpu import SIZES, StepAndRestore, agreement, images, language, many_clozes
from benchmarks.growth import Series, draw, slope_by_round, slopes
from benchmarks.loops import both_loops, plain_loop
from benchmarks.machine import Neighbours
from benchmarks.over_floor import in_bfloat16, large_row, one_row
from benchmarks.peers import PEERS, peer_scores, timed
from benchmarks.report import Report, Row, attempt, three_digits
from benchmarks.scale import MODELS, Measured, Shape, fill_page, fit
from benchmarks.timing import interleaved, ratio
from eif_lab.influence.resources.forecast import operations
from eif_lab.influence.update import Update
from eif_lab.readouts.classes import log_prob

ARCHITECTURE = Architecture(32, 48, 1, 2, 40)


@pytest.fixture
def case():
    """Five stimuli and seven probes, a float64 network, two steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 4)).double().eval()
    samples = torch.randn(7, 1, 6, 6, dtype=torch.float64), torch.arange(7) % 4
    return Case(model, F.cross_entropy, samples, samples, Update(learning_rate=0.1, steps=2)).take(5, 7)


def test_every_round_runs_every_task_once_and_begins_with_another():
    calls = []
    times = interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert all(len(rounds) == 3 for rounds in times.values())
    assert ratio(times["a"], times["a"]) == (1, 1, 1, 1)
    assert ratio([2.0, 9.0, 6.0], [1.0, 3.0, 4.0]) == (2, 1.5, 3, 2)


def test_the_floor_passes_every_pair_once_in_every_layout_and_chunk(case):
    rows = []
    case.model[0].register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    floors = list(candidates(case))
    assert {floor.layout for floor in floors} == {"contiguous", "channels_last"}
    for floor in floors:
        rows.clear()
        floor.run()
        assert sum(rows) == 5 * 7
        assert max(rows) == floor.chunk


def test_the_plain_loop_equals_reference(case):
    np.testing.assert_allclose(plain_loop(case), case.influence("reference"), atol=1e-12)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_loop_that_restores_equals_reference_and_leaves_the_weights_as_they_were(method):
    case = language_case(2, 3, method=method, architecture=ARCHITECTURE)
    kept = [p.detach().clone() for p in case.model.parameters()]
    before = log_prob(case.model(case.probes[0]), case.probes[1]).detach()
    found = StepAndRestore(case, chunk=2, stimuli=2).run() - before
    assert all(torch.equal(a, b) for a, b in zip(kept, case.model.parameters()))
    np.testing.assert_allclose(found, case.influence("reference"), atol=1e-5)


def test_the_large_language_model_has_exactly_the_parameters_of_phi3_mini():
    assert parameters(phi3(MINI, torch.bfloat16, "meta")) == 3_821_079_552


def test_the_middle_language_model_has_exactly_the_parameters_of_smollm2():
    assert parameters(phi3(SMOL, torch.float32, "meta")) == 134_515_008


def test_clozes_begin_alike_by_pair_and_by_world_and_score_their_last_tokens():
    inputs, targets = random_clozes(16, 1000, tokens=15)
    scored = targets != -100
    assert set(scored.sum(1).tolist()) <= {1, 2, 3}
    for pair, places in zip(inputs.view(8, 2, -1), scored.view(8, 2, -1)):
        first = int(places[0].nonzero()[0])
        assert torch.equal(pair[0, : first + 1], pair[1, : first + 1])
    for world in inputs.view(2, 8, -1):
        assert (world[:, :6] == world[0, :6]).all()
    assert not torch.equal(inputs[0, :6], inputs[8, :6])
    assert (targets[:, :-1] == inputs[:, 1:])[scored[:, :-1]].all()


def test_a_slope_is_the_exponent():
    pairs = [10, 100, 1000]
    assert slope_by_round(pairs, [[2 * n**0.5, n**2] for n in pairs]) == pytest.approx([0.5, 2])


def test_peak_memory_grows_by_what_is_held_and_stays_when_it_is_let_go():
    # in a process of its own: this one may have held more before, and lie far below its peak
    told = (
        "from benchmarks.memory import peak; a = peak(); x = b'1' * 2**28; b = peak(); del x; print(b - a, peak() - b)"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    grown, let_go = map(float, done.stdout.split())
    assert grown == pytest.approx(256, abs=8)
    assert let_go == pytest.approx(0, abs=8)


@pytest.mark.parametrize(
    ("value", "goal", "met"),
    [
        (1.1, "<= 1.15", "yes"),
        (1.2, "<= 1.15", "no"),
        (3.0, ">= 3", "yes"),
        (2.9, ">= 3", "no"),
        (None, ">= 3", ""),
        (1.0, "", ""),
    ],
)
def test_a_goal_is_met_on_its_side_of_the_bound(value, goal, met):
    assert Row("what", value, goal=goal).met == met


def test_what_fails_is_a_row_with_its_reason_and_the_rest_goes_on(tmp_path):
    def rows():
        yield Row("first", 1.0, goal=">= 3")
        raise FileNotFoundError("nothing at /somewhere/on/this/machine.txt")

    report = Report(tmp_path / "cpu", "title", "command", judged=False)
    report.add("part", attempt("second", rows()))
    report.add("next", iter([Row("third", 2.0, low=1.0, high=3.0)]))
    written = json.loads((tmp_path / "cpu.json").read_text())
    first, second = written["parts"]["part"]["rows"]
    assert first["value"] == 1.0 and first["met"] == ""
    assert second["value"] is None and "nothing at <path>" in second["note"]
    assert written["parts"]["next"]["rows"][0]["high"] == 3.0
    text = (tmp_path / "cpu.md").read_text() + (tmp_path / "cpu.json").read_text()
    for name in (socket.gethostname(), str(Path.cwd()), str(Path.home()), str(tmp_path)):
        assert name not in text


def test_a_part_measured_again_takes_the_place_of_the_first_and_the_rest_stays(tmp_path):
    report = Report(tmp_path / "cpu", "title", "make bench")
    report.add("first", iter([Row("one", 1.0, goal="<= 2")]))
    report.add("second", iter([Row("two", None, note="not measured")]))
    again = Report.kept(tmp_path / "cpu", "title")
    again.add("second", iter([Row("two", 2.0, seconds={"floor": 3.0})]))
    table = json.loads((tmp_path / "cpu.json").read_text())
    assert [part["rows"][0]["value"] for part in table["parts"].values()] == [1.0, 2.0]
    assert table["machine"]["command"] == "make bench"
    assert not table["parts"]["first"]["later"] and table["machine"]["date"] in table["parts"]["second"]["later"]
    assert (tmp_path / "cpu.md").read_text().count("Measured by itself") == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (-1.5, "-1.5"), (999.4, "999"), (999.6, "1,000"), (-1234.5, "-1,234")]
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert three_digits(value) == text


@pytest.mark.parametrize(("count", "text"), [(16, "16"), (16_384, "16,384"), (1_187_712, "1.19 M")])
def test_counts_on_an_axis_are_short(count, text):
    assert growth.short(count) == text


def test_a_part_is_not_measured_again_beside_another_machines(tmp_path):
    with pytest.raises(ValueError, match="is not there"):
        Report.kept(tmp_path / "cpu", "title")
    report = Report(tmp_path / "cpu", "title", "make bench")
    report.machine["cores"] = 1000
    report.add("first", iter([Row("one", 1.0)]))
    with pytest.raises(ValueError, match="has cores 1000, not"):
        Report.kept(tmp_path / "cpu", "title")


def test_what_this_program_does_is_not_counted_as_the_neighbours():
    neighbours, started = Neighbours(), os.times()
    while sum(os.times()[:2]) - sum(started[:2]) < 1:  # a second of this processor
        pass
    wall = os.times().elapsed - started.elapsed
    share = neighbours.share()
    assert share is None or share <= 1 - 0.8 / (wall * os.cpu_count())


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_that_is_not_installed_is_told(peer, case, monkeypatch):
    module, goal = PEERS[peer]
    package = module.split("_")[0]
    for name in {package, *(name for name in sys.modules if name.startswith(f"{package}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    [row] = attempt(peer, timed(peer, case, lambda: peer_scores(module, case), goal, rounds=1), goal)
    assert row.value is None and package in row.note


@pytest.mark.parametrize("peer", PEERS)
def test_peers_orient_their_scores_as_ours(peer, case):
    """All are positive where a sample meets itself, and the first-order ones are what a tiny step does."""
    module, _ = PEERS[peer]
    pytest.importorskip(module.split("_")[0])
    samples = case.stimuli[0].float(), case.stimuli[1]
    gentle = replace(
        case, model=case.model.float(), stimuli=samples, probes=samples, update=Update(learning_rate=1e-3)
    ).take(3, 4)
    found = peer_scores(module, gentle)
    assert found.shape == (3, 4)
    assert (np.diagonal(found) > 0).all()
    if "tracin" in module:
        np.testing.assert_allclose(found, gentle.influence("reference"), rtol=0.05, atol=1e-4)


def test_every_row_of_a_tiny_run_has_a_value(case, tmp_path):
    make = partial(language_case, 2, 4, architecture=ARCHITECTURE)
    text, drawn = make(), []
    series = Series("texts", "texts", "factored", "pairs", {2: lambda: text.take(1, 2), 8: lambda: text})
    rows = [
        *large_row("large", partial(make, clozes=True), "factored", "<= 1", 1),
        *in_bfloat16("bfloat16", make, 1),
        *one_row("floor", lambda: case, "auto", "<= 1", 1),
        *both_loops("loops", lambda: case, "", 1),
        *slopes("growth", series, 1, drawn),
    ]
    draw(drawn, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000
    assert all(math.isfinite(row.value) and row.value > 0 for row in rows if "growth" not in row.what)
    assert all(row.low <= row.value <= row.high for row in rows if row.unit)


@pytest.mark.parametrize(
    ("module", "run", "count"),
    [
        (over_floor, lambda _: over_floor.over_floor((2, 4), (2, 4), 1), 5),
        (over_floor, lambda _: over_floor.large_over_floor(2, 4, 1), 5),
        (loops, lambda _: loops.loops(2, {4: "", 8: ""}, 1), 2),
        (growth, lambda folder: growth.growth(1, 1, folder / "growth.png"), 6),
        (gpu, lambda _: agreement(SIZES["small"], "cpu"), 5),
        (gpu, lambda _: language(SIZES["small"], "full", "factored", "cpu"), 1),
        (gpu, lambda _: images(SIZES["small"], "cpu"), 1),
    ],
    ids=["floor", "large", "loops", "growth", "agreement", "language", "images"],
)
def test_a_case_that_does_not_fit_is_a_row_and_the_others_are_tried(module, run, count, tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    for name in ("cnn_case", "language_case"):
        monkeypatch.setattr(module, name, too_large, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")  # which bfloat16 is tried with
    rows = list(run(tmp_path))
    assert len(rows) == count
    assert all(row.value is None and "out of memory" in row.note for row in rows)


def test_panels_without_a_series_are_hidden(case, tmp_path, monkeypatch):
    made = []

    def kept(self, *_, **__):
        made.append(self)

    monkeypatch.setattr(Figure, "savefig", kept)
    times = [{"auto": [1.0], "floor": [0.5]}, {"auto": [4.0], "floor": [2.0]}]
    growth.draw(
        [(Series("images", "images, n x n", "auto", "pairs", {1: lambda: case, 4: lambda: case}), times)],
        tmp_path / "a.png",
    )
    assert [panel.get_visible() for panel in made[0].axes] == [True] + 5 * [False]


def test_the_sized_model_ends_and_pads_texts_as_phi3_tinys_tokenizer():
    tokenizer = AutoTokenizer.from_pretrained(Path(eif_lab.__file__).parent / "models" / "phi3_tiny")
    config = phi3(ARCHITECTURE, torch.float32, "meta").config
    for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(config, token) == getattr(tokenizer, token)


def test_the_accelerator_benchmarks_run_small_on_a_cpu():
    size = replace(
        SIZES["small"], architecture=ARCHITECTURE, stimuli=2, probes=2, images=(2, 4), fits=1, rounds=1, matrix=8
    )
    rows = [
        *agreement(size, "cpu"),
        *language(size, "full", "factored", "cpu"),
        *images(size, "cpu"),
        *many_clozes(size, None, "cpu"),
    ]
    unmeasured = [row.what for row in rows if row.value is None]
    assert len(unmeasured) == 1 and "peak memory" in unmeasured[0]
    distances = [row.value for row in rows if "distance to reference" in row.what]
    assert len(distances) == 5 and max(distances) < 1e-3


def test_a_quick_run_has_the_same_parts_as_a_full_one():
    assert list(QUICK) == list(FULL)


def test_the_cost_models_operations_and_parameters_are_those_of_the_model():
    shape = Shape(64, 160, 2, 4, 4, 512)
    module = language_case(1, 1, architecture=Architecture(64, 160, 2, 4, 512), tokens=10).model
    assert shape.parameters == parameters(module)
    tokens = 16
    counted = operations(lambda: module(torch.randint(4, 512, (1, tokens))))
    attention = 4 * tokens**2 * 64 * 2  # which torch's counter leaves out of kernels for the CPU
    assert counted in (shape.forward_flops(tokens), shape.forward_flops(tokens) - attention)
    assert MODELS["Phi-3-mini, 3.8 billion"].parameters == 3_821_079_552
    assert 70e9 < MODELS["70 billion (the shape of Llama 3 70B)"].parameters < 71e9


def test_the_fit_finds_what_times_were_made_of():
    sizes = [(4, 1e8), (8, 1e9), (64, 2e9), (2, 7e9)]
    found = [Measured("", stimuli, flops, 0.25 + 0.01 * stimuli + flops / 3e9) for stimuli, flops in sizes]
    np.testing.assert_allclose(fit(found), (0.25, 0.01, 1 / 3e9))


def test_each_table_replaces_the_one_between_its_marks():
    page = "a\n<!-- fit: written by python -m benchmarks.scale -->\nold\n<!-- end of fit -->\nb"
    once = fill_page(page, {"fit": "new"})
    assert "old" not in once and once.startswith("a\n") and once.endswith("\nb")
    assert fill_page(once, {"fit": "new"}) == once
