"""Pictures of samples for the page: results hold none, so they are drawn from the data in the user's folders."""

from __future__ import annotations

import io
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from eif_lab.configs import CACHE
from eif_lab.data.sets import trained_on
from eif_lab.data.task import Images, Task
from eif_lab.errors import ConfigError, reason_of
from eif_lab.options import choice
from eif_lab.results.manifest import Config
from eif_lab.results.seeds import seeds_of

LARGEST_SIDE = 32
"""Largest height and width of a picture, in pixels; larger ones are shrunk."""


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


class Pictures:
    """Where the page's pictures come from: folders that the user names, never one that a manifest names.

    Results may come from others. Their manifest says which dataset, how many samples and which seed; a class that is
    not this package's is taken only from a module that the user named, and the folders are the user's.

    Args:
        folders: Where data is looked for first; then, for published data, in `usual_folders`.
        plugins: Modules whose datasets and perturbations may be imported.
    """

    def __init__(self, folders: Sequence[str | Path] = (), plugins: Sequence[str] = ()) -> None:
        self.folders = [str(folder) for folder in folders]
        self.trusted = ("eif_lab", *plugins)
        # the jobs of a sweep often share their samples
        self._pixels = lru_cache(maxsize=2)(self._load)
        self._drawn = lru_cache(maxsize=2)(self._sheet)

    def draw(self, config: Config, wanted: Sequence[str], most: int) -> tuple[Sheet | None, str]:
        """Pictures of the samples of a job, as its perturbation left them.

        Args:
            config: The job's options, which name dataset, perturbation and seeds.
            wanted: Ids, the most wanted first.
            most: How many pictures at most.

        Returns:
            The sheet, or None where the samples are texts or the data is not there; and why not all are there, or "".
        """
        samples = json.dumps([config.get("dataset"), config.get("perturbation"), seeds_of(config)[1]])
        pixels, why = self._pixels(samples)
        if why:
            return None, f"Images are named by id and class only: the data was not found ({why})."
        distinct = list(dict.fromkeys(wanted))
        known = [name for name in distinct if name in pixels]
        if not known:
            note = "Images are named by id and class only: the data that is there has other ids."
            return None, note if pixels else ""
        shown = known[:most]
        missing = len(distinct) - len(shown)
        note = f"{len(shown)} images have a picture here, the other {missing} are named by id and class."
        # sorted, so that jobs on the same samples share a sheet
        return self._drawn(samples, tuple(sorted(shown))), note if missing else ""

    def _sheet(self, samples: str, names: tuple[str, ...]) -> Sheet:
        pixels, _ = self._pixels(samples)
        return sheet(names, [shrink(pixels[name].numpy()) for name in names])

    def _load(self, samples: str) -> tuple[Mapping[str, Tensor], str]:
        """The images of a dataset by id, each (channels, height, width) in [0, 1]; or why there are none.

        A dataset of texts has none, for no reason to report.
        """
        try:
            return self._images(samples), ""
        except Exception as error:  # of any kind: a manifest from others may hold any options
            return {}, reason_of(error)

    def _images(self, samples: str) -> Mapping[str, Tensor]:
        """The images of a dataset by id; none of a dataset of texts.

        Raises:
            ConfigError: A class is not to be trusted, or none of the folders holds the data.
        """
        config, perturbed, seed = json.loads(samples)
        dataset = choice("dataset", config, self.trusted)
        if dataset.kind != Images.kind:
            return {}
        perturbation = choice("perturbation", perturbed, self.trusted)
        with offline(), TemporaryDirectory() as scratch:
            task = perturbation.apply(self._plain(dataset, seed, scratch), seed)
        both = [one for one in (task.probes, trained_on(task.stimuli)) if isinstance(one, Images)]
        return {str(name): one for images in both for name, one in zip(images.ids, images.pixels)}

    def _plain(self, dataset: Any, seed: int, scratch: str) -> Task:
        """The samples, from the first folder that holds them.

        Raises:
            ConfigError: There is no such folder.
        """
        if not dataset.reads:
            return dataset.load(seed)
        usual = usual_folders() if set(dataset.reads) <= set(dataset.incidental) else []
        reasons = []
        for folder in [*self.folders, *usual]:
            places = dict.fromkeys(dataset.reads, folder) | dict.fromkeys(dataset.writes, scratch)
            try:
                return replace(dataset, **places).load(seed)
            except (ConfigError, OSError) as error:
                reasons.append(f"{error} ")
        raise ConfigError(f"{''.join(reasons[:1])}Give --data FOLDER, the folder that holds it")


def usual_folders() -> list[str]:
    """Where the user keeps published data, as ``conf/dataset`` has it: EIF_LAB_DATA, and the cache's own folder."""
    named = os.environ.get("EIF_LAB_DATA")
    return [*([named] if named else []), f"{CACHE}/data"]


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
