"""Stimuli and probes at several strengths of noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eif_lab.data.images.base import related_images
from eif_lab.data.task import Images, SamplesT, Task, Texts, concatenate
from eif_lab.errors import NotApplicable, rule_error
from eif_lab.options import option
from eif_lab.perturbations.perturbation import Perturbation

Pixels = Float[Tensor, "n c h w"]


@dataclass
class Noise(Perturbation):
    """Every stimulus and every probe, clean and at each strength.

    The samples gain the coordinates ``sigma`` (0 for clean) and ``source`` (the id of the clean sample). The same
    sample at another strength is another sample that says the same: ``entailed``.

    Attributes:
        noise: Of images ``gaussian`` (sigma is the standard deviation, pixels are clipped to [0, 1]),
            ``salt_and_pepper`` (the share of pixels set to 0 or 1) or ``occlusion`` (the share of the area greyed by
            one square); of text ``character`` (the share of letters replaced by random ones) or ``word_shuffle`` (the
            share of words that change places). None takes the first of each.
        levels: The strengths.
    """

    noise: str | None = option(
        None, one_of=["gaussian", "salt_and_pepper", "occlusion", "character", "word_shuffle"], hint="Try gaussian."
    )
    levels: list[float] = option([0.25, 0.5, 1.0], above=0, hint="Try [0.25,0.5].")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.levels:
            raise rule_error("perturbation.levels", "hold at least one strength", self.levels, "Try [0.25,0.5].")
        if len(set(self.levels)) < len(self.levels):
            raise rule_error("perturbation.levels", "differ from each other", self.levels)
        self._must_be_shares(self.noise)

    def _must_be_shares(self, name: str | None) -> None:
        if name not in (None, "gaussian") and max(self.levels) > 1:
            raise rule_error("perturbation.levels", f"be shares of at most 1 with noise={name}", max(self.levels))

    def apply(self, task: Task, seed: int) -> Task:
        """The task at all strengths: (levels + 1) times as many stimuli and probes, clean ones first.

        Raises:
            NotApplicable: The noise is of another kind of data.
            ConfigError: A strength that is a share is above 1.
        """
        known = IMAGE_NOISE if isinstance(task.probes, Images) else TEXT_NOISE
        name = self.noise or next(iter(known))
        if name not in known:
            data = "images" if known is IMAGE_NOISE else "text"
            raise NotApplicable(f"perturbation.noise must be one of {', '.join(known)} for {data}, got {name!r}.")
        self._must_be_shares(name)
        if known is TEXT_NOISE:
            return self._noisy_texts(task, TEXT_NOISE[name], seed)
        stimuli, probes = (self._noisy_images(images, IMAGE_NOISE[name], seed) for images in task.images)
        return related_images(stimuli, probes, task.training, task.validation)

    def _noisy_images(self, images: Images, corrupt: Callable[..., Pixels], seed: int) -> Images:
        """Clean and noisy copies; the noise of a sample follows from its id, so a stimulus and a probe share it."""
        parts = [with_noise_level(images, 0.0)]
        for sigma in self.levels:
            noisy = [corrupt(x, sigma, generator_of(name, sigma, seed)) for x, name in zip(images.pixels, images.ids)]
            parts.append(with_noise_level(replace(images, pixels=torch.stack(noisy)), sigma))
        return concatenate(parts)

    def _noisy_texts(self, task: Task, corrupt: Callable[..., str], seed: int) -> Task:
        def copies(texts: Texts) -> Texts:
            parts = [with_noise_level(texts, 0.0)]
            for sigma in self.levels:
                generators = [generator_of(name, sigma, seed) for name in texts.ids]
                # a probe's target stays readable: of a cloze only what is given is corrupted
                prompts = tuple(corrupt(p, sigma, g) if p else "" for p, g in zip(texts.prompts, generators))
                targets = tuple(
                    t if p else corrupt(t, sigma, g) for p, t, g in zip(texts.prompts, texts.targets, generators)
                )
                parts.append(with_noise_level(replace(texts, prompts=prompts, targets=targets), sigma))
            return concatenate(parts)

        stimuli, probes = (copies(texts) for texts in task.texts)
        times = len(self.levels) + 1
        shift = np.repeat(np.arange(times), len(task.probes)) * len(task.probes)
        relation = np.tile(task.relation, (times, times))
        other_strength = stimuli.coords["sigma"][:, None] != probes.coords["sigma"][None, :]
        return replace(
            task,
            stimuli=stimuli,
            probes=probes,
            relation=np.where((relation == "direct") & other_strength, "entailed", relation),
            distances={name: np.tile(values, (times, times)) for name, values in task.distances.items()},
            foils={
                name: np.tile(columns, (times, times)) + np.where(np.tile(columns, (times, times)) < 0, 0, shift)
                for name, columns in task.foils.items()
            },
        )


def with_noise_level(samples: SamplesT, sigma: float) -> SamplesT:
    """The samples with the coordinates ``sigma`` and ``source``; noisy ones get new ids."""
    ids = samples.ids if sigma == 0 else np.array([f"{name}~{sigma:g}" for name in samples.ids])
    return replace(
        samples, ids=ids, coords={**samples.coords, "sigma": np.full(len(samples), sigma), "source": samples.ids}
    )


def generator_of(name: str, sigma: float, seed: int) -> np.random.Generator:
    """The random generator of one sample at one strength."""
    return np.random.default_rng([seed, round(sigma * 1e6), *str(name).encode()])


def gaussian(pixels: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """Independent normal noise of standard deviation sigma on each pixel, clipped to [0, 1]."""
    noise = torch.from_numpy(rng.normal(size=tuple(pixels.shape))).to(pixels.dtype)
    return (pixels + sigma * noise).clamp(0, 1)


def salt_and_pepper(pixels: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """A share sigma of the positions becomes 0 or 1, each as likely, in all channels."""
    shape = (1, *pixels.shape[1:])
    hit = torch.from_numpy(rng.random(shape) < sigma)
    return torch.where(hit, torch.from_numpy(rng.integers(0, 2, shape)).to(pixels.dtype), pixels)


def occlusion(pixels: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """One grey square (0.5) of about a share sigma of the area, placed at random inside the image."""
    height, width = pixels.shape[-2:]
    tall, wide = (max(1, min(side, round(side * sigma**0.5))) for side in (height, width))
    top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
    occluded = pixels.clone()
    occluded[..., top : top + tall, left : left + wide] = 0.5
    return occluded


def character(text: str, sigma: float, rng: np.random.Generator) -> str:
    """Each letter becomes another random letter with probability sigma; the rest of the text stays."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return "".join(letters[rng.integers(26)] if char.isalpha() and rng.random() < sigma else char for char in text)


def word_shuffle(text: str, sigma: float, rng: np.random.Generator) -> str:
    """A share sigma of the words (two at least, where there are two) change places; the spaces stay."""
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if word]
    count = min(len(places), max(2, round(sigma * len(places))))
    chosen = rng.permutation(places)[:count]
    shuffled = list(words)
    for place, source in zip(chosen, np.roll(chosen, 1)):
        shuffled[place] = words[source]
    return " ".join(shuffled)


IMAGE_NOISE = {"gaussian": gaussian, "salt_and_pepper": salt_and_pepper, "occlusion": occlusion}
TEXT_NOISE = {"character": character, "word_shuffle": word_shuffle}
