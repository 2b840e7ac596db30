"""What an engine and a layer's rule promise, and that a new one of each needs no edit in the package."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eif_lab import calibrate, measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.engines import ENGINES, exact_engines, named_engine, predictions
from eif_lab.influence.engines.engine import Engine, Prepared, Refused
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.measurement import open_measurement
from eif_lab.influence.per_sample import trial
from eif_lab.influence.per_sample.layers.layer import RULES, LayerRule, register
from eif_lab.influence.problem import Problem
from eif_lab.influence.setup import Setup
from eif_lab.influence.update import Update


def test_engines_are_listed_once_and_each_by_its_name():
    assert set(ENGINES) == {"auto", "factored", "first_order", "loop", "reference", "stacked"}
    assert {kind.name for kind in exact_engines()} == set(ENGINES) - {"first_order"}
    assert [kind.name for kind in predictions()] == ["first_order"]
    assert all(type(named_engine(name)) is kind for name, kind in ENGINES.items())


def test_the_former_name_of_an_engine_is_answered_in_one_line():
    with pytest.raises(ConfigError, match=r"got 'lowrank'\. It is called factored now\.$") as caught:
        named_engine("lowrank")
    assert "\n" not in str(caught.value)


def test_an_engine_from_outside_is_had_by_its_name_and_taken_by_auto(net, batch, monkeypatch):
    monkeypatch.setattr("eif_lab.influence.engines.engine.ENGINES", table := dict(ENGINES))
    for module in ("eif_lab.influence.engines", "eif_lab.influence.engines.auto"):
        monkeypatch.setattr(f"{module}.ENGINES", table)

    @dataclass
    class Patient(Loop):
        """The loop by another name."""

        name: ClassVar[str] = "patient"
        preference: ClassVar[int | None] = 0

    expected = measure_influence(net, F.cross_entropy, batch, batch, engine="loop")
    for engine in ("patient", "auto"):
        array = measure_influence(net, F.cross_entropy, batch, batch, engine=engine)
        assert array.attrs["engine"] == "patient"
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_yields_influence_at_any_rate_of_one_preparation(net, batch, name):
    rates = (0.01, 0.05)
    update = Update(learning_rate=None, steps=2)
    with open_measurement(net, F.cross_entropy, batch, batch, update=update, engine=name) as measurement:
        arrays = [measurement.influence(dataclasses.replace(update, learning_rate=rate)) for rate in rates]
    for rate, array in zip(rates, arrays):
        alone = measure_influence(
            net, F.cross_entropy, batch, batch, update={"learning_rate": rate, "steps": 2}, engine=name
        )
        np.testing.assert_allclose(array[:, 0, :, 0], alone, atol=1e-12)


def test_a_problem_is_data_alone():
    assert dataclasses.is_dataclass(Problem) and Problem.__dataclass_params__.frozen
    assert not [name for name, value in vars(Problem).items() if type(value).__name__ == "cached_property"]


@pytest.mark.parametrize("engine", ["auto", "factored", "stacked", "loop"])
def test_a_calibration_prepares_once_and_reads_the_base_once_for_all_rates(net, batch, monkeypatch, engine):
    prepared, trials, calls = [], [], []
    checked, on_trial, forward = Setup.checked, trial.Layouts.on_trial, type(net).forward
    monkeypatch.setattr(Setup, "checked", lambda problem: prepared.append(problem) or checked(problem))
    monkeypatch.setattr(trial.Layouts, "on_trial", lambda own, one: trials.append(one) or on_trial(own, one))
    monkeypatch.setattr(type(net), "forward", lambda model, x: calls.append(len(x)) or forward(model, x))
    result = calibrate(net, F.cross_entropy, batch, update=Update(headroom=0.3), engine=engine)
    assert result.trials > 2 and len(prepared) == 1
    assert len(trials) == (0 if engine == "loop" else 1)
    searching = sum(calls)
    calls.clear()
    rate = {"learning_rate": result.learning_rate}
    measure_influence(net, F.cross_entropy, batch, batch, update=rate, engine=engine)
    assert searching < 0.9 * result.trials * sum(calls)


def test_one_measurement_calibrates_and_measures_with_one_choice_of_an_engine(net, batch):
    update = Update(headroom=0.3)
    with open_measurement(net, F.cross_entropy, batch, batch, update=update) as measurement:
        rate = measurement.calibrate(batch, update).learning_rate
        array = measurement.influence(dataclasses.replace(update, learning_rate=rate))
        base = measurement.base_readings
    apart = calibrate(net, F.cross_entropy, batch, update=update)
    assert rate == pytest.approx(apart.learning_rate, rel=1e-9)
    expected = measure_influence(net, F.cross_entropy, batch, batch, update={"learning_rate": apart.learning_rate})
    np.testing.assert_allclose(array[:, 0, :, 0], expected, atol=1e-9)
    with torch.no_grad():
        logs = torch.log_softmax(net.eval()(batch[0]), 1)[torch.arange(len(batch[1])), batch[1]]
    np.testing.assert_allclose(base[:, 0], logs, atol=1e-12)


def test_a_refusal_is_one_exception_with_its_reason(net, batch):
    class Never(Engine):
        """Refuses everything."""

        def prepared(self, setup: Setup) -> Prepared:
            raise Refused("never", "it never does")

    with pytest.raises(Refused, match=r"engine must be one that can do this \(it never does\), got 'never'. Try auto."):
        measure_influence(net, F.cross_entropy, batch, batch, engine=Never())


class Scaling(nn.Module):
    """One factor for each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width).double())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def test_a_kind_of_layer_from_outside_is_computed_by_its_rule(batch, monkeypatch):
    monkeypatch.setattr("eif_lab.influence.per_sample.layers.layer.RULES", list(RULES))
    used = []

    def scaling(site, parameters, stack):
        def forward(x):
            used.append(site)
            parts, together = stack.parts(x)
            scale = parameters["scale"]
            return together(parts * scale.view(len(scale), *[1] * (parts.ndim - 2), -1))

        return forward

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), Scaling(36), nn.Linear(36, 3).double())
    update = {"learning_rate": 0.1, "steps": 2}
    plain = measure_influence(model, F.cross_entropy, batch, batch, update=update, engine="stacked")
    assert not used
    register(LayerRule(lambda module: isinstance(module, Scaling), scaling))
    array = measure_influence(model, F.cross_entropy, batch, batch, update=update, engine="stacked")
    assert used
    np.testing.assert_allclose(array, plain, atol=1e-12)
