"""From labelled images to a task: balanced samples, relations by class, distances by class and pixel."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eif_lab.data.sampling import must_suffice
from eif_lab.data.task import Images, Task


def image_task(training: Images, held_out: Images, stimuli: int, probes: int, seed: int) -> Task:
    """Stimuli and probes from held-out images, drawn balanced over the classes.

    Both are the head of one order, so that the smaller is part of the larger: with as many probes as stimuli they are
    the same samples, and the array is square.

    Args:
        training: What the base model is trained on.
        held_out: What stimuli and probes are drawn from.
        stimuli, probes: How many.
        seed: Of the draw.

    Raises:
        ConfigError: More samples are asked for than there are.
    """
    chosen = held_out.take(drawn(held_out.labels, stimuli, probes, seed, "the held-out images"))
    return related_images(chosen.take(range(stimuli)), chosen.take(range(probes)), training, held_out)


def drawn(labels: Int[Tensor, " n"], stimuli: int, probes: int, seed: int, what: str) -> np.ndarray:
    """The places of as many samples as the larger of both numbers asks for, balanced over the classes.

    Args:
        labels: Of the samples that there are.
        stimuli, probes: How many.
        seed: Of the draw.
        what: What these samples are, for the error.

    Raises:
        ConfigError: More samples are asked for than there are.
    """
    for field, count in (("stimuli", stimuli), ("probes", probes)):
        must_suffice(field, count, len(labels), what)
    return balanced_order(labels, seed)[: max(stimuli, probes)]


def held_out_task(images: Images, held_out: Bool[np.ndarray, " n"], stimuli: int, probes: int, seed: int) -> Task:
    """Stimuli and probes from the images that are held out; the others train the base model. See `image_task`."""
    training, rest = (images.take(np.flatnonzero(mask)) for mask in (~held_out, held_out))
    return image_task(training, rest, stimuli, probes, seed)


def related_images(stimuli: Images, probes: Images, training: Images | None, validation: Images | None) -> Task:
    """The task of these images: same sample is ``direct``, same class ``entailed``, another class ``unrelated``."""
    same_sample = stimuli.ids[:, None] == probes.ids[None, :]
    same_class = stimuli.labels.numpy()[:, None] == probes.labels.numpy()[None, :]
    return Task(
        stimuli=stimuli,
        probes=probes,
        relation=np.where(same_sample, "direct", np.where(same_class, "entailed", "unrelated")),
        distances={
            "class": (~same_class).astype(float),
            "pixel": pixel_distance(stimuli.pixels, probes.pixels).numpy().astype(float),
        },
        training=training,
        validation=validation,
    )


def balanced_order(labels: Int[Tensor, " n"], seed: int) -> np.ndarray:
    """A permutation whose every head holds the classes as evenly as it can: a shuffled round of each class in turn."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    classes = labels.numpy()[shuffled]
    rank_in_class = np.empty(len(classes), dtype=int)
    for label in np.unique(classes):
        members = classes == label
        rank_in_class[members] = np.arange(members.sum())
    return shuffled[np.lexsort((classes, rank_in_class))]


def one_in_two(labels: np.ndarray, seed: int) -> np.ndarray:
    """Which samples are held out: of each class every other one in a random order, (n,)."""
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        held_out[order[labels[order] == label][1::2]] = True
    return held_out


def pixel_distance(a: Float[Tensor, "n c h w"], b: Float[Tensor, "m c h w"]) -> Float[Tensor, "n m"]:
    """Root-mean-square difference of pixels, in [0, 1]."""
    return torch.cdist(a.flatten(1), b.flatten(1)) / a[0].numel() ** 0.5


def feature_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """One minus the cosine of the angle between two feature vectors, in [0, 2]."""
    return 1 - torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(b, dim=1).T
