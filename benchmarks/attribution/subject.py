"""Trained models whose exact influence predictions are held to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from benchmarks.case import Case, Pairs, parameters
from eif_lab import calibrate
from eif_lab.data.images.mnist import MNIST
from eif_lab.data.task import Samples, Task, without_neutral
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.influence.update import Update
from eif_lab.jobs.inputs import without_worlds
from eif_lab.models.base import BaseModel, Training
from eif_lab.models.cnn import CNN
from eif_lab.models.language.phi3 import TINY, Phi3


@dataclass(frozen=True)
class Subject:
    """A trained model with its stimuli and probes.

    Attributes:
        name: Model and data, as tables and figures show them.
        case: Updated by one SGD step at the calibrated learning rate; ``training`` is what curvature is estimated on.
        direct: Which cells are a stimulus on itself.
        units: What each stimulus belongs to, numbered from 0: what intervals resample.
        resampled: What a unit is.
        task: What the samples say of each other, for desiderata; None where that is not known.
    """

    name: str
    case: Case
    direct: Bool[np.ndarray, "stimuli probes"]
    units: Int[np.ndarray, " stimuli"]
    resampled: str
    task: Task | None = None

    @property
    def probe_units(self) -> np.ndarray | None:
        """What each probe belongs to: its world; None where each is a unit alone."""
        worlds = None if self.task is None else self.task.probes.coords.get("world")
        return None if worlds is None else np.unique(worlds, return_inverse=True)[1]


def cnn(samples: int, training: int, cache: Path) -> Subject:
    """The CNN trained on FashionMNIST, and test images as stimuli and as probes.

    Args:
        samples: How many.
        training: How many of the training images curvature is estimated on.
        cache: Where trained models are found again, and images are downloaded to where EIF_LAB_DATA names no folder.
    """
    data = str(cache / "data")
    dataset = MNIST("fashion_mnist", samples, samples, root=os.environ.get("EIF_LAB_DATA", data), download=data)
    task = dataset.load(0)
    base = CNN(training=Training(steps=400)).prepare(task, cache, seed=0, device="cpu")
    assert task.training is not None
    known = base.encode(task.training.take(range(training)))
    name = f"CNN ({parameters(base.module):,} parameters), FashionMNIST"
    return subject(name, base, task, task.images, training=known, units=np.arange(samples), resampled="stimuli")


def phi3_tiny(worlds: int, cache: Path) -> Subject:
    """phi3-tiny, taught the background of invented worlds, and what is stated and follows in them.

    Args:
        worlds: How many, with three stimuli each.
        cache: Where taught models are found again.
    """
    task = Ontology(worlds=worlds).load(0)
    base = Phi3().prepare(task, cache, seed=0, device="cpu")
    assert task.background is not None
    known = base.encode(task.background.facts)
    task = without_worlds(task, base.report["worlds_not_learnt"])
    task = without_neutral(task)
    units = np.unique(task.stimuli.coords["world"], return_inverse=True)[1]
    name = f"{TINY} (ours, not Phi-3; {parameters(base.module):,} parameters), ontology"
    return subject(name, base, task, task.texts, training=known, units=units, resampled="worlds")


def subject(
    name: str,
    base: BaseModel,
    task: Task,
    samples: tuple[Samples, Samples],
    *,
    training: Pairs,
    units: Int[np.ndarray, " stimuli"],
    resampled: str,
) -> Subject:
    """A base model with a task, its stimuli and probes, at the learning rate that one step is calibrated to."""
    stimuli, probes = map(base.encode, samples)
    rate = calibrate(base.module, base.loss, stimuli, update=Update()).learning_rate
    case = Case(base.module, base.loss, stimuli, probes, Update(learning_rate=rate), training=training)
    return Subject(name, case, task.relation == "direct", units, resampled, task)
