"""What other programs write is read with the right sign and the right way round, on a model whose influence is known.

The model is linear in the pixels and at zero, so that it gives each of the classes the same chance. Then training on an
image makes the labels of images of its own class likelier and those of other classes less likely, by the product of the
pixels: ``<grad log p(y'|x'), grad log p(y|x)> = (x . x') ((y = y') - 1 / classes)``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from eif_lab import load_task
from eif_lab.attribution import read_scores

PROBES = 12


@pytest.fixture(scope="module")
def task():
    return load_task("digits", stimuli=30, probes=PROBES)


def net() -> nn.Module:
    linear = nn.Linear(64, 10, bias=False)
    nn.init.zeros_(linear.weight)
    return nn.Sequential(nn.Flatten(), linear)


def data(samples: Any) -> TensorDataset:
    return TensorDataset(samples.pixels, samples.labels)


def known(task: Any) -> np.ndarray:
    """The first-order influence of each stimulus on each probe."""
    products = task.stimuli.pixels.flatten(1) @ task.probes.pixels.flatten(1).T
    same = task.stimuli.labels[:, None] == task.probes.labels
    return (products * (same.float() - 0.1)).numpy()


def captum(task: Any, folder: Path) -> Path:
    from captum.influence import TracInCP

    model = net()
    tracin = TracInCP(
        model,
        data(task.stimuli),
        checkpoints=[model.state_dict()],
        checkpoints_load_func=lambda model, state: model.load_state_dict(state) and 1.0,
        loss_fn=nn.CrossEntropyLoss(reduction="none"),
        batch_size=30,
    )
    torch.save(tracin.influence(DataLoader(data(task.probes), batch_size=PROBES)), folder / "captum.pt")
    return folder / "captum.pt"


def dattri(kind: str) -> Callable[[Any, Path], Path]:
    def write(task: Any, folder: Path) -> Path:
        from dattri.algorithm.influence_function import IFAttributorExplicit
        from dattri.algorithm.tracin import TracInAttributor
        from dattri.task import AttributionTask

        model = net()

        def loss(parameters: Any, sample: Any) -> torch.Tensor:
            output = torch.func.functional_call(model, parameters, sample[0].reshape(-1, 1, 8, 8))
            return F.cross_entropy(output, sample[1].reshape(-1))

        attribution = AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())
        loaders = [DataLoader(data(one), batch_size=len(one)) for one in (task.stimuli, task.probes)]
        if kind == "tracin":
            attributor = TracInAttributor(attribution, weight_list=torch.ones(1), normalized_grad=False)
            attributor.projector_kwargs = None  # the constructor reads None as its default projection
        else:
            attributor = IFAttributorExplicit(attribution, regularization=0.1)
            attributor.cache(loaders[0])
        torch.save(attributor.attribute(*loaders).detach(), folder / "dattri.pt")
        return folder / "dattri.pt"

    return write


def kronfluence(task: Any, folder: Path) -> Path:
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.task import Task

    class Classes(Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> torch.Tensor:
            output = model(batch[0])
            drawn = torch.distributions.Categorical(logits=output.detach()).sample() if sample else batch[1]
            return F.cross_entropy(output, drawn, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> torch.Tensor:
            return F.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    torch.manual_seed(0)
    job = Classes()
    analyzer = Analyzer(
        "job", prepare_model(net(), job), job, cpu=True, log_level=logging.ERROR, disable_tqdm=True, output_dir=folder
    )
    analyzer.fit_all_factors("ekfac", data(task.stimuli), per_device_batch_size=30)
    analyzer.compute_pairwise_scores(
        "pairs", "ekfac", query_dataset=data(task.probes), train_dataset=data(task.stimuli),
        per_device_query_batch_size=PROBES, per_device_train_batch_size=30,
    )  # fmt: skip
    [file] = folder.rglob("pairwise_scores.safetensors")
    return file.parent


def trak(task: Any, folder: Path) -> Path:
    from trak import TRAKer
    from trak.projectors import BasicProjector, ProjectionType

    model = net()
    traker = TRAKer(
        model, "image_classification", train_set_size=30, save_dir=folder, device="cpu", use_half_precision=False,
        logging_level=logging.ERROR,
        projector=BasicProjector(
            grad_dim=640, proj_dim=10, seed=0, proj_type=ProjectionType.normal, device="cpu", block_size=5
        ),
    )  # fmt: skip
    traker.load_checkpoint(model.state_dict(), model_id=0)
    traker.featurize(data(task.stimuli).tensors, num_samples=30)
    traker.finalize_features()
    traker.start_scoring_checkpoint("probes", model.state_dict(), model_id=0, num_targets=PROBES)
    traker.score(data(task.probes).tensors, num_samples=PROBES)
    traker.finalize_scores("probes")
    return folder / "scores" / "probes.mmap"


def bergson(task: Any, folder: Path) -> Path:
    """Its own writer and its own config, on the known scores: of a model it takes language models alone."""
    from bergson.config.config import ScoreConfig
    from bergson.config.config_io import save_pipeline_config
    from bergson.score.score_writer import save_sequence_scores

    class Command:
        def to_dict(self) -> dict[str, Any]:
            return {"score_cfg": ScoreConfig(higher_is_better=False).to_dict()}

    save_sequence_scores(folder / "store", -known(task))
    save_pipeline_config([("score", Command())], folder / "store")
    return folder / "store"


EXACT = {"captum": captum, "dattri": dattri("tracin"), "bergson": bergson}
CURVED = {"dattri": dattri("influence"), "kronfluence": kronfluence, "trak": trak}


@pytest.mark.parametrize("source", EXACT)
def test_gradients_products_are_the_known_influence_to_the_sign_and_the_number(task, tmp_path, source):
    pytest.importorskip(source, reason=f"{source} is not installed")
    scores = read_scores(EXACT[source](task, tmp_path), task, source=source)
    assert np.allclose(scores, known(task), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("source", CURVED)
def test_by_what_divides_by_curvature_an_image_makes_its_own_label_likelier(task, tmp_path, source):
    """It is another quantity, but any positive curvature leaves a gradient's product with itself positive."""
    pytest.importorskip(source, reason=f"{source} is not installed")
    scores = read_scores(CURVED[source](task, tmp_path), task, source=source).values
    itself = task.relation == "direct"
    assert itself.sum() == PROBES and (scores[itself] > 0).all()


def test_bergsons_own_loader_reads_the_same(task, tmp_path):
    """It has the sign of the loss: negative where the stimulus helps."""
    data = pytest.importorskip("bergson.data", reason="bergson is not installed")
    theirs, _ = data.load_scores_loss_signed(str(bergson(task, tmp_path)))
    assert np.allclose(read_scores(tmp_path / "store", task), -theirs)
