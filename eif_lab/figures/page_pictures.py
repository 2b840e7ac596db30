"""Pictures of samples for the page: the store keeps none, so they come from the dataset that the manifest names."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
from jaxtyping import UInt8

from eif_lab.schema import ConfigError, choice

LARGEST_SIDE = 32
"""Pictures are made smaller until they fit a square of so many pixels."""


@dataclass(frozen=True)
class Sheet:
    """Small pictures side by side in one.

    Attributes:
        content: WebP, which loses what an eye hardly sees.
        tile: Height and width of each picture, in pixels.
        columns, rows: Pictures beside each other, and below each other.
        places: Sample id -> number of its picture, row by row.
    """

    content: bytes
    tile: tuple[int, int]
    columns: int
    rows: int
    places: Mapping[str, int]


def draw_sheet(manifest: Mapping[str, Any], wanted: Sequence[str], most: int) -> tuple[Sheet | None, str]:
    """Pictures of the samples of a job, as its perturbation left them.

    Args:
        manifest: The job's; its config names dataset and perturbation.
        wanted: Ids, the most wanted first.
        most: How many pictures at most.

    Returns:
        The sheet, or None where the samples are texts or the data is not there; and why not all are there, or "".
    """
    config = manifest.get("config") or {}
    try:
        dataset = choice("dataset", config.get("dataset"))
        if dataset.kind != "image":
            return None, ""
        with offline():
            plain = dataset.load(config["seed"])
            task = choice("perturbation", config["perturbation"]).apply(plain, config["seed"])
    except (ConfigError, OSError, KeyError) as error:
        return None, f"Images are named by id and class only: the data was not found ({' '.join(str(error).split())})."
    pixels = {str(name): one for images in (task.probes, task.stimuli) for name, one in zip(images.ids, images.pixels)}
    known = [name for name in dict.fromkeys(wanted) if name in pixels]
    if not known:
        return None, "Images are named by id and class only: the data that is there has other ids."
    shown = known[:most]
    missing = len(dict.fromkeys(wanted)) - len(shown)
    told = f"{len(shown)} images have a picture here, the other {missing} are named by id and class." if missing else ""
    return sheet(shown, [shrink(pixels[name].numpy()) for name in shown]), told


@contextmanager
def offline() -> Iterator[None]:
    """Within this, nothing connects to a network: a dataset that would be downloaded is one that is not there."""

    def refuse(*_: Any) -> None:
        raise OSError("a page is made without the network")

    with patch.object(socket.socket, "connect", refuse), patch.object(socket, "getaddrinfo", refuse):
        yield


def shrink(pixels: np.ndarray) -> UInt8[np.ndarray, "height width 3"]:
    """One image in colours, at most `LARGEST_SIDE` pixels high and wide.

    Args:
        pixels: (1 or 3, height, width), in [0, 1].
    """
    from PIL import Image

    colours = np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)
    picture = Image.fromarray(np.round(colours.clip(0, 1) * 255).astype(np.uint8))
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return np.asarray(picture)


def sheet(names: Sequence[str], pictures: Sequence[UInt8[np.ndarray, "height width 3"]]) -> Sheet:
    """Put pictures of one size side by side, about as many across as down."""
    from PIL import Image

    height, width = pictures[0].shape[:2]
    columns = int(np.ceil(len(pictures) ** 0.5))
    rows = -(-len(pictures) // columns)
    whole = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * height, place % columns * width
        whole[top : top + height, left : left + width] = picture
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "WEBP", quality=80)
    return Sheet(buffer.getvalue(), (height, width), columns, rows, {name: place for place, name in enumerate(names)})
