"""Full fine-tuning held as factors against the oracle, and what must not be formed on the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers.models.phi3.modeling_phi3 as modeling
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eif_lab import measure_influence
from eif_lab.influence import measurement
from eif_lab.influence.engines import batched
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.per_sample import trial
from eif_lab.influence.reading import merging as reading
from eif_lab.influence.reading.cost import cheaper_merged
from eif_lab.influence.snapshot import Snapshot
from eif_lab.methods.lora import LoRA
from eif_lab.methods.mergeable import lora_layers
from eif_lab.models.language.causal_lm import CausalLM, token_loss

UPDATES = {
    "one": {"learning_rate": 0.05},
    "momentum": {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1, "steps": 3},
    "clipped": {"learning_rate": 0.5, "momentum": 0.5, "weight_decay": 0.01, "gradient_clip": 0.3, "steps": 3},
}


class Norm(modeling.Phi3RMSNorm):
    """Phi-3's norm without its detour through float32, which would end a float64 comparison at 1e-7."""

    def forward(self, hidden):
        variance = hidden.pow(2).mean(-1, keepdim=True)
        return self.weight * hidden * torch.rsqrt(variance + self.variance_epsilon)


def small_phi3(tied: bool) -> CausalLM:
    config = modeling.Phi3Config(
        vocab_size=40, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, original_max_position_embeddings=64, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, tie_word_embeddings=tied,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = modeling.Phi3ForCausalLM(config).double()
    for module in model.modules():
        if isinstance(module, modeling.Phi3RMSNorm):
            module.__class__ = Norm
    return CausalLM(model).eval()


def texts(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of different lengths, padded on the right; also words that occur twice, in and out of the padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 12, (count, 9), generator=generator)
    lengths = torch.randint(4, 10, (count,), generator=generator)
    ids[torch.arange(9) >= lengths[:, None]] = 0
    targets = torch.full_like(ids, -100)
    targets[:, :-1] = torch.where(ids[:, 1:] > 0, ids[:, 1:], -100)
    targets[:, 0] = -100
    return ids, targets


@pytest.fixture
def all_factored(monkeypatch):
    """However small a weight is, it is held as factors."""

    def every(_, layout):
        return tuple(dict.fromkeys(site.weight for site in layout.sites if site.weight is not None))

    monkeypatch.setattr(trial, "worth_factoring", every)


@pytest.mark.parametrize("merged", [True, False], ids=["merged", "beside"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_full_fine_tuning_of_phi3_equals_reference(all_factored, monkeypatch, tied, update, merged):
    monkeypatch.setattr(reading, "cheaper_merged", lambda *_: merged)
    model, stimuli, probes = small_phi3(tied), texts(5, 0), texts(6, 1)
    arrays = [
        measure_influence(
            model,
            token_loss,
            stimuli,
            probes,
            update=update,
            engine=engine,
            trajectory=True,
            readout=["log_prob", "prob"],
        )
        for engine in ("factored", "reference")
    ]
    assert np.abs(arrays[1]).max() > 1e-3
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-9)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_several_texts_in_one_update_equal_reference(all_factored, tied):
    model, stimuli = small_phi3(tied), texts(4, 0)
    arrays = [
        measure_influence(
            model, token_loss, stimuli, stimuli, update=UPDATES["clipped"], engine=engine, perturbation="exclude"
        )
        for engine in ("factored", "reference")
    ]
    assert np.abs(arrays[1]).max() > 1e-4
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-9)


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_convolutions_norms_and_biases_beside_factors_equal_reference(all_factored, net, batch, update):
    arrays = [
        measure_influence(net, F.cross_entropy, batch, batch, update=update, engine=engine, trajectory=True)
        for engine in ("factored", "reference")
    ]
    assert np.abs(arrays[1]).max() > 1e-3
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-11)


def test_more_padding_changes_nothing(all_factored):
    model, (ids, targets), probes = small_phi3(tied=False), texts(5, 0), texts(6, 1)
    longer = F.pad(ids, (0, 4)), F.pad(targets, (0, 4), value=-100)
    plain, padded = (
        measure_influence(model, token_loss, stimuli, probes, update=UPDATES["momentum"], engine="factored")
        for stimuli in ((ids, targets), longer)
    )
    np.testing.assert_allclose(padded, plain, atol=1e-10)


class Largest(TorchDispatchMode):
    """The most elements of any tensor that an operator returned, but for views of the model's own parameters."""

    def __init__(self, model):
        super().__init__()
        self.elements = 0
        self.own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in self.own:
                self.elements = max(self.elements, leaf.numel())
        return result


class Unchecked:
    """In place of `Recheck`."""

    step = 0

    def __init__(self, *_):
        pass

    def readings(self, *_):
        pass


def test_no_weight_is_copied_and_no_weight_gradient_formed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 600), nn.Tanh(), nn.Linear(600, 600), nn.Tanh(), nn.Linear(600, 3))
        stimuli = torch.randn(3, 64), torch.randint(3, (3,))
    engine = Factored()
    with pytest.MonkeyPatch.context() as patch:
        # the trial, and the stimulus that is done again, take plain gradients
        patch.setattr(trial, "two_stimuli", lambda asked, _: [(rows, {}) for rows in asked.members[:2]])
        patch.setattr(batched, "Recheck", Unchecked)
        patch.setattr(measurement, "Snapshot", lambda model, room: Snapshot(model, 0))
        with Largest(model) as seen:
            update = {"learning_rate": 0.1, "steps": 2, "momentum": 0.5}
            measured = measure_influence(model, F.cross_entropy, stimuli, stimuli, update=update, engine=engine)
    assert seen.elements < 64 * 600
    expected = measure_influence(model, F.cross_entropy, stimuli, stimuli, update=update, engine="reference")
    np.testing.assert_allclose(measured, expected, atol=1e-5)


@pytest.mark.parametrize("layers", [["lm_head"], ["lm_head", "o_proj"]], ids="+".join)
def test_lora_on_a_head_that_is_tied_to_the_embedding_leaves_the_embedding_alone(layers):
    model, stimuli = small_phi3(tied=True), texts(4, 0)
    probes = tuple(part.repeat(8, 1) for part in texts(6, 1))  # so many that merging would pay
    options = {"method": {"name": "lora", "rank": 2, "target_modules": layers}, "update": {"learning_rate": 0.05}}
    measured, expected = (
        measure_influence(model, token_loss, stimuli, probes, engine=engine, **options)
        for engine in ("stacked", "reference")
    )
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(measured, expected, atol=1e-9)


def test_a_lora_layer_with_a_forward_of_its_own_is_not_merged():
    model = LoRA(target_modules=["o_proj"]).apply(small_phi3(tied=True), seed=0)
    layers = [one.layer for one in lora_layers(model)]
    assert len(layers) > 1
    layers[0].forward = lambda x: 2 * type(layers[0]).forward(layers[0], x)
    assert [one.layer for one in lora_layers(model)] == layers[1:]


def test_low_precision_base_keeps_the_update_that_its_weights_would_lose():
    model = small_phi3(tied=True).float()
    stimuli = texts(4, 0)
    update = {"learning_rate": 0.05, "steps": 2}
    exact = measure_influence(model, token_loss, stimuli, stimuli, update=update)
    low = measure_influence(model.bfloat16(), token_loss, stimuli, stimuli, update=update)
    assert low.attrs["engine"] == "factored"
    assert np.corrcoef(low.values.ravel(), exact.values.ravel())[0, 1] > 0.98
    with pytest.raises(Exception, match="at least float32"):
        measure_influence(model, token_loss, stimuli, stimuli, update=update, engine="stacked")


def test_what_is_copied_is_said(caplog, net, batch):
    caplog.set_level("INFO")
    measure_influence(net, F.cross_entropy, batch, batch, engine="factored")
    assert "engine factored: 51 of 159 parameters are copied per stimulus, such as blocks.0.0.weight" in caplog.text


def test_merging_pays_for_small_weights_many_rows_and_high_ranks():
    """Each at an extreme where counting multiplications leaves no doubt, and never back again on the way there."""
    assert cheaper_merged((64, 64), rank=16, rows=10_000)
    assert not cheaper_merged((8192, 8192), rank=16, rows=16)
    for low, high in (((256, 256), (512, 512)), ((512, 512), (4096, 4096))):
        for rank in (4, 16, 64):
            for rows in (16, 256, 4096, 65_536):
                assert cheaper_merged(low, rank, rows) >= cheaper_merged(high, rank, rows)
                assert cheaper_merged(low, rank, 2 * rows) >= cheaper_merged(low, rank, rows)
