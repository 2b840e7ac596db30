"""Every engine against the oracle, and the oracle against a loop written out by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from eif_lab import measure_influence
from eif_lab.influence.engines import first_order
from eif_lab.influence.engines.auto import Auto
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.first_order import FirstOrder
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.influence.per_sample import layout
from eif_lab.influence.per_sample.layers.convolution import Patches
from eif_lab.influence.reading import passes
from eif_lab.methods import named_method

METHODS = ["full", "lora", "adapter", "ia3", {"name": "peft", "tuner": "LOKR"}]
UPDATES = [
    {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01, "steps": 3},
    {"optimizer": "sgd", "learning_rate": 0.05, "gradient_clip": 0.1, "steps": 2},
    {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.1, "steps": 2},
    {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "steps": 2},
]
ALL = ["log_prob", "log_odds", "prob", "rank", "correct"]


def by_hand(model, loss, stimuli, probes, update, method="full", perturbation="include"):
    """Log-probability influence by the plainest loop: copy, step with torch.optim, read, subtract."""
    optimizers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    names = {"learning_rate": "lr", "momentum": "momentum", "weight_decay": "weight_decay"}
    options = {names[name]: value for name, value in update.items() if name in names}
    x, y = stimuli
    base = copy.deepcopy(model)
    if method == "full":
        base.requires_grad_(True)
    else:
        base = named_method(method).apply(base, 0)
    base.eval()

    def read(net):
        with torch.no_grad():
            return torch.log_softmax(net(probes[0]), 1)[torch.arange(len(probes[1])), probes[1]]

    def tuned(rows):
        net = copy.deepcopy(base)
        trained = [p for p in net.parameters() if p.requires_grad]
        optimizer = optimizers[update["optimizer"]](trained, **options)
        for _ in range(update["steps"]):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            if "gradient_clip" in update:
                torch.nn.utils.clip_grad_norm_(trained, update["gradient_clip"])
            optimizer.step()
        return read(net)

    everyone = list(range(len(y)))
    if perturbation == "exclude":
        return torch.stack([tuned(everyone) - tuned([j for j in everyone if j != i]) for i in everyone]).numpy()
    return torch.stack([tuned([i]) - read(base) for i in everyone]).numpy()


@pytest.mark.parametrize("engine", ["reference", "loop", "stacked", "auto"])
@pytest.mark.parametrize("perturbation", ["include", "exclude"])
@pytest.mark.parametrize("update", UPDATES, ids=lambda u: f"{u['optimizer']}-{u['steps']}")
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m if isinstance(m, str) else m["tuner"])
def test_engine_equals_the_loop_written_by_hand(net, batch, method, update, perturbation, engine):
    probes = (batch[0][2:6] * 0.9, batch[1][2:6])
    measured = measure_influence(
        net, F.cross_entropy, batch, probes, method=method, update=update, engine=engine, perturbation=perturbation
    )
    expected = by_hand(net, F.cross_entropy, batch, probes, update, method, perturbation)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(measured.values, expected, atol=1e-11)


@pytest.mark.parametrize("update", UPDATES, ids=lambda u: f"{u['optimizer']}-{u['steps']}")
def test_stacked_trajectory_equals_reference_in_every_readout(net, batch, update):
    both = [
        measure_influence(
            net, F.cross_entropy, batch, batch, readout=ALL, update=update, engine=engine, trajectory=True, seed=[0]
        )
        for engine in ("stacked", "reference")
    ]
    assert both[0].dims == ("seed", "stimulus", "step", "probe", "readout")
    assert both[0].step.values.tolist() == list(range(1, update["steps"] + 1))
    np.testing.assert_allclose(both[0], both[1], atol=1e-11)


def test_trajectory_ends_where_the_plain_measurement_does_and_passes_through_fewer_steps(net, batch):
    update = {"learning_rate": 0.05, "momentum": 0.9, "steps": 3}
    whole = measure_influence(net, F.cross_entropy, batch, batch, update=update, trajectory=True)
    for steps in (1, 2, 3):
        plain = measure_influence(net, F.cross_entropy, batch, batch, update={**update, "steps": steps})
        np.testing.assert_allclose(whole.sel(step=steps), plain, atol=1e-12)


@pytest.mark.parametrize("engine", ["reference", "stacked", "auto"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m if isinstance(m, str) else m["tuner"])
def test_zero_learning_rate_gives_exactly_zero(net, batch, method, engine):
    array = measure_influence(
        net.float(),
        F.cross_entropy,
        (batch[0].float(), batch[1]),
        (batch[0].float(), batch[1]),
        method=method,
        update={"learning_rate": 0.0, "steps": 2},
        engine=engine,
        readout=ALL if engine != "first_order" else ["log_prob", "log_odds", "prob"],
    )
    assert (array.values == 0).all()


ENGINES = [Stacked, Factored, FirstOrder]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(7)),
    engine=st.sampled_from(ENGINES),
    stimuli=st.integers(1, 7),
    probes=st.integers(1, 7),
)
def test_order_of_stimuli_and_size_of_chunks_change_nothing(net, batch, order, engine, stimuli, probes):
    update = {"learning_rate": 0.1, "steps": 2}
    plain = measure_influence(net, F.cross_entropy, batch, batch, update=update, engine=engine())
    rows = torch.tensor(order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "LARGEST_CHUNK", stimuli)
        patch.setattr(first_order, "LARGEST", stimuli)
        patch.setattr(passes, "LARGEST_PASS", probes)
        shuffled = measure_influence(
            net, F.cross_entropy, (batch[0][rows], batch[1][rows]), batch, update=update, engine=engine()
        )
    np.testing.assert_allclose(shuffled.values, plain.values[order], atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_small_budget_really_makes_more_chunks(net, batch, engine):
    chunks = {}
    for budget in (1e-9, 1.0):
        parts = []
        measure_influence(
            net, F.cross_entropy, batch, batch, engine=engine(memory_budget=budget), on_chunk=parts.append
        )
        chunks[budget] = [len(part) for part in parts]
    assert chunks == {1e-9: [1] * 7, 1.0: [7]}


def test_model_is_left_as_it_was(net, batch):
    next(net.parameters()).requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    flags = [(p.requires_grad, p.grad) for p in net.parameters()]
    names = [name for name, _ in net.named_modules()]
    for method in METHODS:
        for engine in ("stacked", "reference"):
            measure_influence(net, F.cross_entropy, batch, batch, method=method, engine=engine)
    assert net.training and all(module.training for module in net.modules())
    assert [(p.requires_grad, p.grad) for p in net.parameters()] == flags
    assert [name for name, _ in net.named_modules()] == names
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_method_none_trains_exactly_what_requires_a_gradient(net, batch):
    net.requires_grad_(False)
    net.head.requires_grad_(True)
    only_head = measure_influence(net, F.cross_entropy, batch, batch, method=None, update={"learning_rate": 0.1})

    class Tail(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = copy.deepcopy(net.head)

        def forward(self, x):
            return self.head(x)

    net.eval()
    with torch.no_grad():
        features = net.blocks[0](batch[0]).flatten(1)
    tail = by_hand(
        Tail(),
        F.cross_entropy,
        (features, batch[1]),
        (features, batch[1]),
        {"optimizer": "sgd", "learning_rate": 0.1, "steps": 1},
    )
    np.testing.assert_allclose(only_head.values, tail, atol=1e-12)


def test_auto_takes_factored_for_sgd_stacked_for_adam_and_the_loop_where_torch_func_cannot_go(net, batch, caplog):
    caplog.set_level("INFO")
    taken = {}
    for name, options in {
        "sgd": {},
        "adam": {"update": {"optimizer": "adam", "learning_rate": 0.01}},
        "small": {"method": "ia3"},
        "loha": {"method": {"name": "peft", "tuner": "LOHA"}},
    }.items():
        taken[name] = measure_influence(net, F.cross_entropy, batch, batch, **options).attrs["engine"]
    assert taken == {"sgd": "factored", "adam": "stacked", "small": "stacked", "loha": "loop"}
    assert "engine auto: stacked (not factored: it steps by sgd alone, not adam)" in caplog.text
    assert (
        "engine auto: stacked (not factored: no weight is larger than the factors that would change it)" in caplog.text
    )
    assert "not stacked: torch.func cannot vectorise" in caplog.text


class Liar(nn.Module):
    """Under vmap it computes something else than without."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(36, 3).double()
        self.scale = nn.Parameter(torch.ones(3).double())

    def forward(self, x):
        factor = 2.0 if torch._C._functorch.is_functorch_wrapped_tensor(self.scale) else 1.0
        return self.head(x.flatten(1)) * self.scale * factor


class Borrower(nn.Module):
    """Uses a layer's weight without calling the layer, as torch's own attention does."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True).double()
        self.head = nn.Linear(6, 3).double()

    def forward(self, x):
        rows = x[:, 0]
        return self.head(self.attention(rows, rows, rows)[0].mean(1))


class PositionFirst(nn.Module):
    """Its layers see (positions, batch, width)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6).double()
        self.head = nn.Linear(6, 3).double()

    def forward(self, x):
        return self.head(self.layer(x[:, 0].transpose(0, 1)).tanh().mean(0))


class InPlace(nn.Module):
    """Overwrites a layer's output."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(36, 20).double()
        self.head = nn.Linear(20, 3).double()

    def forward(self, x):
        return self.head(F.relu(self.hidden(x.flatten(1)), inplace=True))


class Twice(nn.Module):
    """One layer used twice, and a group norm and a grouped convolution that only vmap covers."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(2, 4, 3, groups=2, padding="same").double()
        self.norm = nn.GroupNorm(2, 4).double()
        self.layer = nn.Linear(36, 36).double()
        self.head = nn.Linear(36, 3).double()

    def forward(self, x):
        x = self.norm(self.grouped(x.expand(-1, 2, -1, -1))).mean(1).flatten(1)
        return self.head(self.layer(self.layer(x).tanh()))


@pytest.mark.parametrize("engine", ["factored", "stacked"])
@pytest.mark.parametrize("kind", [Borrower, PositionFirst, InPlace, Twice])
def test_unusual_model_gets_the_reference_array(kind, batch, engine):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind()
    update = {"learning_rate": 0.1, "momentum": 0.5, "steps": 2}
    arrays = [
        measure_influence(model, F.cross_entropy, batch, batch, update=update, engine=one)
        for one in (engine, "reference")
    ]
    assert np.abs(arrays[1]).max() > 1e-4
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-11)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kernel", "dilation", "padding", "stride"),
    [
        ((3, 3), (1, 1), (1, 1), (1, 1)),
        ((3, 2), (2, 1), (0, 2), (2, 3)),
        ((5, 5), (1, 2), (2, 1), (1, 2)),
    ],
)
def test_patches_and_their_gradient_are_those_of_unfold(kernel, dilation, padding, stride, memory_format):
    whole = torch.randint(-9, 9, (3, 4, 13, 11), generator=torch.Generator().manual_seed(0)).double()  # adds up exactly
    images = whole.to(memory_format=memory_format).requires_grad_()
    theirs = F.unfold(images, kernel, dilation, padding, stride)
    ours = Patches.apply(images, kernel, dilation, padding, stride)
    ours = ours.unflatten(3, (-1, 4)).permute(0, 4, 3, 1, 2).reshape(theirs.shape)
    assert torch.equal(ours, theirs)
    towards = torch.randint(-9, 9, theirs.shape, generator=torch.Generator().manual_seed(1)).double()
    assert torch.equal(*[torch.autograd.grad(patches, images, towards)[0] for patches in (ours, theirs)])


def test_stacked_refuses_a_model_whose_vectorised_gradient_is_wrong(batch):
    array = measure_influence(Liar(), F.cross_entropy, batch, batch, engine=Auto())
    assert array.attrs["engine"] == "loop"


class Attention(nn.Module):
    """The key's bias has no gradient in truth: softmax does not see it."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(6, 6) for _ in range(3))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = x[:, 0]
        weights = (self.query(x) @ self.key(x).transpose(-1, -2)).softmax(-1)
        return self.head((weights @ self.value(x)).mean(-2))


def test_stacked_does_not_take_rounding_noise_for_a_wrong_gradient(batch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attention()
    stimuli = (batch[0].float(), batch[1])
    assert measure_influence(model, F.cross_entropy, stimuli, stimuli).attrs["engine"] != "loop"


def test_first_stimulus_that_diverges_does_not_cost_the_engine(net, batch):
    broken = batch[0].clone()
    broken[0] = float("inf")
    array = measure_influence(net, F.cross_entropy, (broken, batch[1]), batch)
    assert array.attrs["engine"] == "factored"
    assert np.isnan(array.values[0]).all() and np.isfinite(array.values[1:]).all()


def test_diverging_stimulus_is_nan_and_the_others_are_not_touched(net, batch):
    update = {"learning_rate": 0.05}
    plain = measure_influence(net, F.cross_entropy, batch, batch, update=update)
    broken = batch[0].clone()
    broken[3] = float("inf")
    array = measure_influence(net, F.cross_entropy, (broken, batch[1]), batch, update=update, engine="stacked")
    assert np.isnan(array.values[3]).all()
    rest = [0, 1, 2, 4, 5, 6]
    np.testing.assert_allclose(array.values[rest], plain.values[rest], atol=1e-12)


def test_seeds_draw_other_initial_weights_and_none_touches_the_global_generator(net, batch):
    state = torch.random.get_rng_state()
    array = measure_influence(net, F.cross_entropy, batch, batch, method="lora", seed=[0, 1, 0])
    assert array.dims == ("seed", "stimulus", "probe")
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(array[0], array[2])
    assert np.abs(array[0] - array[1]).max() > 1e-6
