"""From pixels in [0, 1] to what a network reads: its channels, its size, its scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from eif_lab.errors import ConfigError, reason_of, rule_error

if TYPE_CHECKING:
    from torchvision.transforms._presets import ImageClassification


Own = Callable[[Tensor, bool, bool], Tensor]
"""A model's own processor of images, (n, c, h, w); the switches say whether it resizes and whether it normalises."""


@dataclass(frozen=True)
class OfTransformers:
    """A processor of transformers."""

    processor: Any

    def __call__(self, pixels: Tensor, resize: bool, normalize: bool) -> Tensor:
        """All that it does, but for resizing and cropping without ``resize``, and its scale without ``normalize``."""
        switches = {} if resize else {"do_resize": False, "do_center_crop": False}
        switches |= {} if normalize else {"do_normalize": False}
        try:
            return self.processor(images=as_pictures(pixels), return_tensors="pt", **switches)["pixel_values"]
        except Exception as error:  # of any kind: what it is told to do stands in a file of somebody else's
            hint = "State model.size, model.mean and model.std."
            rule = f"have a processor that takes these images ({reason_of(error)})"
            raise rule_error("model.checkpoint", rule, tuple(pixels.shape[1:]), hint) from error


@dataclass(frozen=True)
class OfTorchvision:
    """What torchvision's published weights were trained on."""

    preset: ImageClassification

    def __call__(self, pixels: Tensor, resize: bool, normalize: bool) -> Tensor:
        """Resized and cut at the centre, then normalised."""
        from torchvision.transforms import functional

        preset = self.preset
        if resize:
            pictures, method = as_pictures(pixels), preset.interpolation
            smaller = functional.resize(pictures, preset.resize_size, method, antialias=preset.antialias)
            pixels = functional.center_crop(smaller, preset.crop_size) / 255
        return functional.normalize(pixels, preset.mean, preset.std) if normalize else pixels


def as_pictures(pixels: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Images in 8 bits, as processors get them: what cubic resizing does beyond black and white is then cut off."""
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8)


def as_it_is(pixels: Tensor, resize: bool, normalize: bool) -> Tensor:
    """The images unchanged, of a model without a processor."""
    return pixels


@dataclass(frozen=True)
class Preparation:
    """From pixels in [0, 1] to what a network reads.

    Attributes:
        channels: That it reads; a grey image is given to each.
        own: The model's processor.
        size: Height and width, in place of those of ``own``.
        mean, std: Of each channel, in place of those of ``own``; None for both or neither.
    """

    channels: int
    own: Own = as_it_is
    size: Sequence[int] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __call__(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n channels height width"]:
        """The images as the network reads them.

        Raises:
            ConfigError: They have more channels than it reads, or its processor takes none of their shape.
        """
        if pixels.shape[1] not in (1, self.channels):
            rule = f"hold images of {self.channels} channels, or of 1, for this model"
            hint = "Try dataset.colour=false." if self.channels == 1 else ""
            raise rule_error("dataset", rule, pixels.shape[1], hint)
        pixels = pixels.expand(-1, self.channels, -1, -1)
        if self.size is not None:
            pixels = F.interpolate(pixels, tuple(self.size), mode="bilinear", antialias=True)
        pixels = self.own(pixels, self.size is None, self.mean is None)
        if self.mean is None or self.std is None:
            return pixels
        mean, std = (torch.tensor(list(one))[:, None, None] for one in (self.mean, self.std))
        if {len(mean), len(std)} - {1, self.channels}:
            rule = f"have a value for each of {self.channels} channels, or one"
            raise ConfigError(f"model.mean and model.std must {rule}, got {self.mean} and {self.std}.")
        return (pixels - mean) / std
