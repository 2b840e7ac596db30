"""From an image file, or its bytes, to pixels, as a viewer shows it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eif_lab.errors import reason_of, rule_error

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""The formats that are decoded. Pillow knows more, some of which start other programs (Ghostscript)."""


def decode_image(
    source: Path | BytesIO, place: str, size: Sequence[int] | None, colour: bool, hint: str
) -> Float[Tensor, "channels height width"]:
    """One image, in [0, 1]: turned as its EXIF data say, on white where it is transparent, of an animation the first.

    Args:
        source: The file, or its content.
        place: What errors call it.
        size: Height and width that it is resized to; None for its own.
        colour: Whether it has three channels instead of one grey one.
        hint: What to try with one that cannot be decoded.

    Raises:
        ConfigError: It is no image, is damaged, would fill the memory, or has more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that are damaged, where the image is not
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                if image.mode[0] in "IF":
                    raise ValueError(f"its mode {image.mode} has more than 8 bits a channel")
                upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright.convert("RGBA"))
            converted = upright.convert("RGB" if colour else "L")
            if size is not None:
                height, width = size
                converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    except Exception as error:  # whatever a decoder raises of a file that is damaged
        raise rule_error("dataset.path", f"hold images only ({reason_of(error)})", place, hint) from None
    pixels = torch.from_numpy(np.array(converted, dtype=np.float32) / 255)
    return pixels.permute(2, 0, 1) if colour else pixels[None]
