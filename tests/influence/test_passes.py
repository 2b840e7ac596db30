"""Memory, compilation and shared prefixes: none changes an array, and each does what it is for."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_factored import small_phi3, texts
from torch import nn

from eif_lab import measure_influence
from eif_lab.influence.engines import batched
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.first_order import FirstOrder
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.influence.per_sample import layout
from eif_lab.influence.reading import cost, passes
from eif_lab.influence.resources.memory import peak_bytes
from eif_lab.models.language.causal_lm import CausalLM, token_loss

MIB = 2**-10
"""In GiB, which budgets are given in."""

ADAM = {"optimizer": "adam", "learning_rate": 0.01, "steps": 2}
SGD = {"learning_rate": 0.1, "momentum": 0.9, "steps": 2}


@pytest.fixture
def wide():
    """A network of which 32 stacked copies under Adam take 24 MiB, and a pass over 512 probes 2 MiB."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(36, 512), nn.Tanh(), nn.Linear(512, 32), nn.Tanh(), nn.Linear(32, 3))


def samples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 36, generator=generator), torch.randint(3, (count,), generator=generator)


@pytest.mark.parametrize(
    ("engine", "update", "budget"), [(Stacked, ADAM, 3), (Stacked, ADAM, 8), (Factored, SGD, 3), (FirstOrder, SGD, 3)]
)
def test_memory_stays_within_the_budget_however_many_stimuli_and_probes(wide, engine, update, budget):
    peaks = []
    for stimuli, probes in ((8, 32), (24, 32), (8, 128)):
        measure = functools.partial(
            measure_influence, wide, F.cross_entropy, samples(stimuli, 0), samples(probes, 1), update=update,
            engine=engine(memory_budget=budget * MIB),
        )  # fmt: skip
        peaks.append(peak_bytes(measure) - 4 * stimuli * probes * 4)  # the array itself is the result
    assert max(peaks) <= budget * 2**20


def test_a_larger_budget_is_used(wide):
    chunks = {}
    for budget in (2, 8):
        parts: list[np.ndarray] = []
        measure_influence(
            wide, F.cross_entropy, samples(24, 0), samples(8, 1), update=ADAM,
            engine=Stacked(memory_budget=budget * MIB), on_chunk=parts.append,
        )  # fmt: skip
        chunks[budget] = len(parts)
    assert chunks[8] < chunks[2] < 24


@pytest.mark.parametrize("engine", ["stacked", "factored"])
def test_out_of_memory_halves_the_stimuli_and_goes_on(net, batch, monkeypatch, caplog, engine):
    update = {"learning_rate": 0.1, "steps": 2}
    plain = measure_influence(net, F.cross_entropy, batch, batch, update=update, engine=engine)
    backward = batched.backward

    def scarce(problem, layout, parameters, samples):
        if len(samples) > 2:
            raise torch.OutOfMemoryError("no more")
        return backward(problem, layout, parameters, samples)

    monkeypatch.setattr(batched, "backward", scarce)
    array = measure_influence(net, F.cross_entropy, batch, batch, update=update, engine=engine)
    np.testing.assert_allclose(array, plain, atol=1e-12)
    assert [r.getMessage() for r in caplog.records if "out of memory" in r.getMessage()] == [
        "out of memory with 7 stimuli at once: going on with 1"
    ]


def test_out_of_memory_halves_the_probes_and_goes_on(net, batch, monkeypatch, caplog):
    plain = measure_influence(net, F.cross_entropy, batch, batch)
    forward = type(net).forward

    def scarce(self, x):
        if len(x) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return forward(self, x)

    monkeypatch.setattr(type(net), "forward", scarce)
    monkeypatch.setattr(layout, "LARGEST_CHUNK", 4)
    array = measure_influence(net, F.cross_entropy, batch, batch)
    np.testing.assert_allclose(array, plain, atol=1e-12)
    assert "out of memory with 7 probes at once: going on with 3" in caplog.text


@pytest.fixture
def traced(monkeypatch):
    """``torch.compile`` without the compiler; how often it was asked for."""
    asked = []
    compile = torch.compile

    def traced(call, **options):
        asked.append(call)
        return compile(call, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", traced)
    return asked


@pytest.mark.parametrize(("engine", "method"), [(Factored, "full"), (Stacked, "full"), (Stacked, "lora")])
def test_compiled_passes_give_the_same_array_and_exact_zeros(net, batch, monkeypatch, traced, engine, method):
    monkeypatch.setattr(passes, "LARGEST_PASS", 4)  # and a last pass of another size
    for update in ({"learning_rate": 0.1, "steps": 2}, {"learning_rate": 0.0}):
        plain, fast = (
            measure_influence(
                net, F.cross_entropy, batch, batch, method=method, update=update, engine=engine(compile=one)
            )
            for one in ("never", "always")
        )
        np.testing.assert_allclose(fast, plain, atol=1e-12)
    assert (fast == 0).all()
    assert len(traced) == 2


def test_a_model_that_cannot_be_compiled_is_measured_without_and_it_is_said_once(net, batch, monkeypatch, caplog):
    def broken(call, **_):
        def fail(*_):
            raise RuntimeError("no compiler here")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    plain, fast = (
        measure_influence(net, F.cross_entropy, batch, batch, engine=Factored(compile=one))
        for one in ("never", "always")
    )
    np.testing.assert_allclose(fast, plain, atol=1e-12)
    assert caplog.text.count("torch.compile cannot do this model: going on without (no compiler here)") == 1


def test_only_long_jobs_on_convolutional_networks_are_compiled(net, wide, batch, monkeypatch, traced):
    def compiled(model, data):
        traced.clear()
        measure_influence(model, F.cross_entropy, data, data)
        return bool(traced)

    assert not compiled(net, batch)
    monkeypatch.setitem(cost.COMPILING_PAYS, "cpu", 1e4)
    assert compiled(net, batch)
    assert not compiled(wide, samples(4, 0))


@pytest.mark.parametrize(
    ("method", "engine"), [("full", "auto"), ("lora", "auto"), ("adapter", "auto"), ("full", "loop"), ("lora", "loop")]
)
def test_shared_prefixes_change_nothing(monkeypatch, method, engine):
    ids, targets = texts(12, 1)
    ids[:, :3] = ids[0, :3]
    asked = []
    share = CausalLM.share_prefixes
    monkeypatch.setattr(CausalLM, "share_prefixes", lambda model, *both: asked.append(both) or share(model, *both))

    def measured():
        return measure_influence(
            small_phi3(tied=False), token_loss, texts(3, 0), (ids, targets), method=method, update=SGD,
            readout=["log_prob", "log_odds", "rank"], engine=engine,
        )  # fmt: skip

    shared = measured()
    packed = len(asked)
    assert packed == len({len(inputs) for inputs, _ in asked})  # each pass once, not once for each stimulus
    monkeypatch.setattr(CausalLM, "can_share", lambda *_: False)
    plain = measured()
    assert len(asked) == packed
    assert np.abs(plain).max() > 1e-3
    np.testing.assert_allclose(shared, plain, atol=1e-9)


def changed_trees(monkeypatch, change):
    """A model of which trees are read otherwise once its weights are others than at first; and probes that share."""
    model = small_phi3(tied=False)
    head, honest = model.language_model.lm_head.weight, CausalLM._tree_logits
    first = head.detach().clone()

    def read(module, tree):
        logits = honest(module, tree)
        return logits if torch.equal(head, first) else change(logits)

    monkeypatch.setattr(CausalLM, "_tree_logits", read)
    ids, targets = texts(12, 1)
    ids[:, :3] = ids[0, :3]
    return model, (ids, targets)


@pytest.mark.parametrize("unscored", [False, True], ids=["all scored", "one never finite"])
@pytest.mark.parametrize(
    "change", [lambda logits: 1.1 * logits, lambda logits: logits + torch.nan], ids=["more", "NaN"]
)
def test_a_loop_notices_trees_that_are_read_otherwise_after_an_update(monkeypatch, caplog, change, unscored):
    model, probes = changed_trees(monkeypatch, change)
    if unscored:
        probes[1][4] = -100  # whose log-odds are infinite before and after
    given = model, token_loss, texts(10, 0), probes
    how = {"method": "full", "update": SGD, "readout": ["log_prob", "log_odds"]}
    found = measure_influence(*given, engine="loop", **how)
    assert "rows are read as they are" in caplog.text
    expected = measure_influence(*given, engine="reference", **how)
    assert np.nanmax(np.abs(expected)) > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_what_diverges_for_a_tree_alone_is_read_as_it_is(monkeypatch):
    """Of the stimuli that are not read again."""
    seen = []

    def diverge_later(logits):
        seen.append(logits)
        return logits if len(seen) < 6 else logits + torch.nan

    model, probes = changed_trees(monkeypatch, diverge_later)
    given = model, token_loss, texts(8, 0), probes
    found = measure_influence(*given, method="full", update=SGD, engine="loop")
    expected = measure_influence(*given, method="full", update=SGD, engine="reference")
    assert len(seen) >= 8
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "rows"),
    [(1, 32), (100, 64), (500, 256), (5000, 1024)],
    ids=["a small model", "one that leaves the cache", "a larger one", "one beyond the budget"],
)
def test_a_pass_on_a_cpu_is_as_large_as_the_cache_or_the_model_within_the_budget(model, rows):
    """Rows of 1 MiB, a budget of 2 GiB of which a pass may take half, and models of so many MiB."""
    assert passes.rows_at_once(2**20, 2.0, torch.device("cpu"), model * 2**20) == rows
