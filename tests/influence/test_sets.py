"""Sets of samples and their batches, against a plain loop over a ``DataLoader``."""

from __future__ import annotations

import copy
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

from eif_lab import draw_sets, measure_influence, membership
from eif_lab.errors import ConfigError
from eif_lab.influence.update import Update
from eif_lab.methods import named_method
from eif_lab.models.language.causal_lm import token_loss
from eif_lab.readouts.classes import log_prob

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
RECIPES = [
    {"optimizer": "sgd", "learning_rate": 0.05, "batch_size": 2, "epochs": 2},
    {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 2, "epochs": 2, "seed": 3},
    {"optimizer": "sgd", "learning_rate": 0.05, "batch_size": 3, "steps": 4, "order": "given", "momentum": 0.5},
    {"optimizer": "adam", "learning_rate": 0.01, "epochs": 2},
]


def name_of(recipe):
    size = f"batches-of-{recipe['batch_size']}" if "batch_size" in recipe else "whole"
    return f"{recipe['optimizer']}-{size}-{recipe.get('order', 'shuffled')}"


def fine_tuned(model, loss, data, rows, recipe):
    """A copy of the model after what anybody would write: a loader over a subset, and an optimizer."""
    own = copy.deepcopy(model)
    trained = [p for p in own.parameters() if p.requires_grad]
    momentum = {"momentum": recipe["momentum"]} if "momentum" in recipe else {}
    optimizer = OPTIMIZERS[recipe["optimizer"]](trained, lr=recipe["learning_rate"], **momentum)
    loader = DataLoader(
        Subset(data, rows),
        batch_size=recipe.get("batch_size", len(rows)),
        shuffle=recipe.get("order", "shuffled") == "shuffled",
        generator=torch.Generator().manual_seed(recipe.get("seed", 0)),
    )
    endless = (batch for _ in iter(int, 1) for batch in loader)
    epochs = (batch for _ in range(recipe.get("epochs", 0)) for batch in loader)
    for inputs, targets in epochs if "epochs" in recipe else islice(endless, recipe["steps"]):
        optimizer.zero_grad()
        loss(own(inputs), targets).backward()
        optimizer.step()
    return own


def by_loader(model, loss, samples, probes, sets, recipe, method="full"):
    """(sets, probes), by `fine_tuned`."""
    base = copy.deepcopy(model).requires_grad_(True)
    base = (base if method == "full" else named_method(method).apply(base, 0)).eval()

    @torch.no_grad()
    def read(net):
        return log_prob(net(probes[0]), probes[1])

    data = TensorDataset(*samples)
    after = [read(fine_tuned(base, loss, data, np.flatnonzero(one).tolist(), recipe)) for one in sets]
    return (torch.stack(after) - read(base)).numpy()


def texts(count, seed):
    """Of different lengths, padded on the right, so that the mean over tokens weighs them differently."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 12, (count, 9), generator=generator)
    ids[torch.arange(9) >= torch.randint(4, 10, (count,), generator=generator)[:, None]] = 0
    targets = torch.full_like(ids, -100)
    targets[:, :-1] = torch.where(ids[:, 1:] > 0, ids[:, 1:], -100)
    return ids, targets


@pytest.fixture
def sets():
    return draw_sets(7, count=5, size=5, seed=1)


@pytest.mark.parametrize("engine", ["reference", "loop", "stacked", "factored", "auto"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_a_set_of_images_is_fine_tuned_on_as_by_a_loader(net, batch, sets, recipe, method, engine):
    probes = (batch[0][2:6] * 0.9, batch[1][2:6])
    options = {"method": method, "update": recipe, "sets": sets}
    if engine == "factored" and recipe["optimizer"] == "adam":
        with pytest.raises(ConfigError, match=r"engine must be one that can do this.*Try auto\.$"):
            measure_influence(net, F.cross_entropy, batch, probes, engine=engine, **options)
        return
    measured = measure_influence(net, F.cross_entropy, batch, probes, engine=engine, **options)
    expected = by_loader(net, F.cross_entropy, batch, probes, sets, recipe, method)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(measured.values, expected, atol=1e-11)
    if engine == "auto":
        assert measured.attrs["engine"] in ("stacked", "factored")


@pytest.mark.parametrize("engine", ["reference", "stacked", "factored"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("recipe", RECIPES[:2], ids=name_of)
def test_a_set_of_texts_is_fine_tuned_on_as_by_a_loader(phi3, recipe, method, engine):
    samples = texts(5, 0)
    sets = draw_sets(5, count=3, size=3)
    if engine == "factored" and recipe["optimizer"] == "adam":
        pytest.skip("it steps by sgd alone, which the images test")
    measured = measure_influence(
        phi3, token_loss, samples, samples, method=method, update=recipe, sets=sets, engine=engine
    )
    expected = by_loader(phi3, token_loss, samples, samples, sets, recipe, method)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(measured.values, expected, atol=1e-9)


@pytest.mark.parametrize("engine", ["reference", "loop", "auto"])
def test_leaving_one_out_goes_through_the_rest_as_a_loader_does(net, batch, engine):
    recipe = {"learning_rate": 0.05, "batch_size": 3, "epochs": 2}
    measured = measure_influence(
        net, F.cross_entropy, batch, batch, update=recipe, perturbation="exclude", engine=engine
    )
    everything = np.ones((1, 7), dtype=bool)
    whole, rest = (
        by_loader(net, F.cross_entropy, batch, batch, sets, {"optimizer": "sgd", **recipe})
        for sets in (everything, ~np.eye(7, dtype=bool))
    )
    np.testing.assert_allclose(measured.values, whole - rest, atol=1e-11)


def test_sets_of_one_are_stimuli_alone_and_epochs_of_them_are_steps(net, batch):
    alone = np.eye(7, dtype=bool)
    plain = measure_influence(net, F.cross_entropy, batch, batch, update={"learning_rate": 0.05, "steps": 3})
    sets = measure_influence(
        net, F.cross_entropy, batch, batch, update={"learning_rate": 0.05, "epochs": 3, "batch_size": 4}, sets=alone
    )
    np.testing.assert_allclose(sets.values, plain.values, atol=1e-12)


@pytest.mark.parametrize("engine", ["stacked", "factored", "reference"])
def test_the_trajectory_of_a_set_has_each_batch_of_each_epoch(net, batch, sets, engine):
    recipe = {"learning_rate": 0.05, "batch_size": 2, "momentum": 0.5, "gradient_clip": 0.5}
    options = {"sets": sets, "engine": engine}
    whole = measure_influence(
        net, F.cross_entropy, batch, batch, update={**recipe, "epochs": 2}, trajectory=True, **options
    )
    assert whole.step.values.tolist() == [1, 2, 3, 4, 5, 6]
    for steps in (1, 3, 5):
        plain = measure_influence(net, F.cross_entropy, batch, batch, update={**recipe, "steps": steps}, **options)
        np.testing.assert_allclose(whole.sel(step=steps), plain, atol=1e-11)


def test_the_order_of_sets_and_the_size_of_chunks_change_nothing(net, batch, sets):
    recipe = {"learning_rate": 0.05, "batch_size": 2, "epochs": 2}
    plain = measure_influence(net, F.cross_entropy, batch, batch, update=recipe, sets=sets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eif_lab.influence.per_sample.layout.LARGEST_CHUNK", 2)
        turned = measure_influence(net, F.cross_entropy, batch, batch, update=recipe, sets=sets[::-1])
    np.testing.assert_allclose(turned.values, plain.values[::-1], atol=1e-12)
    some = measure_influence(net, F.cross_entropy, batch, batch, update=recipe, sets=sets, rows=slice(1, 3))
    np.testing.assert_allclose(some.values, plain.values[1:3], atol=1e-12)
    assert (membership(some).values == sets[1:3]).all()


def test_another_seed_is_another_order_and_has_a_say_where_there_are_batches(net, batch, sets):
    def measured(**recipe):
        return measure_influence(
            net, F.cross_entropy, batch, batch, update={"learning_rate": 0.05, **recipe}, sets=sets
        ).values

    assert np.abs(measured(batch_size=2, epochs=1, seed=1) - measured(batch_size=2, epochs=1)).max() > 1e-6
    np.testing.assert_array_equal(measured(seed=1), measured())


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 9])
def test_batches_are_those_of_a_loader(batch_size, shuffled):
    update = Update(batch_size=batch_size, epochs=3, order="shuffled" if shuffled else "given", seed=5)
    loader = DataLoader(range(7), batch_size, shuffle=shuffled, generator=torch.Generator().manual_seed(5))
    theirs = [batch.tolist() for _ in range(3) for batch in loader]
    ours = [batch.tolist() for batch in update.batches(7)]
    if batch_size >= 7:  # the mean over all samples is the same in any order
        ours, theirs = map(sorted, ours), map(sorted, theirs)
    assert list(ours) == list(theirs)


def test_one_batch_of_a_set_is_predicted_and_several_are_refused(net, batch, sets):
    recipe = {"learning_rate": 1e-5, "epochs": 2}
    exact, predicted = (
        measure_influence(net, F.cross_entropy, batch, batch, update=recipe, sets=sets, engine=engine).values
        for engine in ("reference", "first_order")
    )
    np.testing.assert_allclose(predicted, exact, rtol=0, atol=1e-3 * np.abs(exact).max())
    with pytest.raises(ConfigError, match=r"its gradient is of all samples at once, not of update.batch_size of them"):
        measure_influence(
            net, F.cross_entropy, batch, batch, update={**recipe, "batch_size": 2}, sets=sets, engine="first_order"
        )


NO_SETS = np.zeros((2, 7), dtype=bool)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"update": {"epochs": 2, "steps": 3}}, r"update.steps must be left out with update.epochs=2.*got 3"),
        ({"update": {"batch_size": 0}}, r"update.batch_size must be at least 1, got 0"),
        ({"update": {"order": "random"}}, r"update.order must be one of shuffled, given, got 'random'"),
        ({"sets": np.eye(7)}, r"sets must be \(sets, stimuli\), true where.*got 'ndarray of float64'"),
        ({"sets": np.ones((2, 6), dtype=bool)}, r"sets must be .*got 'shape \(2, 6\)'"),
        ({"sets": NO_SETS}, r"sets must have as many samples each, one at least, got 'a set of none'"),
        ({"sets": np.tri(2, 7, dtype=bool)}, r"sets must have as many samples each.*got 'sets of 1 to 2 samples'"),
        ({"sets": ~NO_SETS, "perturbation": "exclude"}, r"perturbation must be include with sets, got 'exclude'"),
        ({"sets": ~NO_SETS, "rows": slice(2, 4)}, r"rows must name at least one of the 2 sets"),
        (
            {"perturbation": "exclude", "trajectory": True, "update": {"batch_size": 3, "epochs": 1}},
            r"trajectory must be false where leaving a sample out makes 2 steps of 3, got True",
        ),
    ],
)
def test_what_makes_no_sets_is_one_line(net, batch, options, line):
    with pytest.raises(ConfigError, match=line):
        measure_influence(net, F.cross_entropy, batch, batch, **options)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"count": 7, "size": 5}, r"^count must be from 1 to the 6 different sets of 5 of 6 stimuli, got 7"),
        ({"count": 1, "size": 7}, r"^size must be from 1 to the 6 stimuli that there are, got 7"),
        ({"count": 1, "share": 0.0}, r"^share must be above 0 and at most 1, got 0.0"),
    ],
)
def test_sets_that_cannot_be_drawn_are_one_line(options, line):
    with pytest.raises(ConfigError, match=line):
        draw_sets(6, **options)


def test_drawn_sets_differ_and_as_many_as_there_are_take_each_sample_as_often():
    every = draw_sets(10, count=120, share=0.3, seed=2)
    assert len(np.unique(every, axis=0)) == 120
    assert every.sum(axis=0).tolist() == [36] * 10 and every.sum(axis=1).tolist() == [3] * 120
    some, again, other = (draw_sets(10, count=4, share=0.3, seed=seed) for seed in (2, 2, 3))
    assert (some == again).all() and (some != other).any()


def test_auto_copies_weights_where_the_samples_of_all_steps_are_more_than_factors_save(net, batch, sets):
    def taken(sets, **recipe):
        update = {"learning_rate": 0.01, **recipe}
        return measure_influence(net, F.cross_entropy, batch, batch, update=update, sets=sets).attrs["engine"]

    alone = np.eye(7, dtype=bool)
    assert (taken(alone), taken(alone, epochs=4), taken(sets), taken(sets, batch_size=1, epochs=1)) == (
        "factored",
        "stacked",
        "stacked",
        "stacked",
    )
