"""MNIST (LeCun et al., 1998) and FashionMNIST (Xiao et al., 2017) through torchvision."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from eif_lab.data.dataset import Dataset
from eif_lab.data.images.base import image_task
from eif_lab.data.task import Images, Task
from eif_lab.errors import ConfigError, one_line, reason_of, rule_error
from eif_lab.files.fingerprint import fingerprint
from eif_lab.files.locks import locked
from eif_lab.options import option

SPLITS = {True: "train", False: "t10k"}
PARTS = ("images-idx3-ubyte", "labels-idx1-ubyte")
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""System errors that have nothing to do with the files' origin."""

ANEW = "Remove the file and fetch it anew."


@dataclass
class MNIST(Dataset):
    """28 x 28 grey images of 10 classes; stimuli and probes come from the test split.

    The files are looked for under ``root`` as torchvision lays them out (``<root>/MNIST/raw``), gzipped or not; what is
    absent is downloaded to ``download``, which is also where gzipped files are unpacked, so that ``root`` may be
    read-only.
    """

    kind: ClassVar[str] = Images.kind
    incidental: ClassVar[tuple[str, ...]] = ("root", "download")
    reads: ClassVar[tuple[str, ...]] = ("root",)
    writes: ClassVar[tuple[str, ...]] = ("download",)

    name: str = option("mnist", one_of=["mnist", "fashion_mnist"])
    stimuli: int = option(200, at_least=1, hint="Try 200.")
    probes: int = option(200, at_least=1, hint="Try 200.")
    root: str = "data"
    download: str = "data"

    def identity(self) -> list[list[str]]:
        """The contents of unpacked files; gzipped ones are checked against their published MD5."""
        return fingerprint((Path(self.root) / self._folder() / "raw").glob("*-ubyte"))

    def _folder(self) -> str:
        return {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[self.name]

    def load(self, seed: int) -> Task:
        """Stimuli and probes from the test split; ``seed`` decides which.

        Raises:
            ConfigError: The files are neither there nor to be downloaded, or are not what they should be.
        """
        return image_task(self._split(train=True), self._split(train=False), self.stimuli, self.probes, seed)

    def _split(self, train: bool) -> Images:
        from torchvision import datasets

        source = getattr(datasets, self._folder())
        classes = tuple(name.split(" - ")[0] for name in source.classes)
        pixels, labels = read_split(self._raw(source), train, len(classes))
        return Images(
            pixels=pixels[:, None].float() / 255,
            labels=labels,
            classes=classes,
            ids=np.array([f"{self.name}-{'train' if train else 'test'}-{i}" for i in range(len(labels))]),
        )

    def _raw(self, source: Any) -> Path:
        """The folder with the unpacked files, which are unpacked or downloaded now if they are nowhere."""
        raw = Path(self._folder()) / "raw"
        for place in (Path(self.root) / raw, Path(self.download) / raw):
            if is_unpacked(place):
                return place
        target = Path(self.download) / raw
        new = [folder for folder in (target.parent, Path(self.download)) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        lock, partial = target.with_name("raw.lock"), target.with_name("raw.partial")
        with locked(lock, f"unpacks {raw}"):
            if not is_unpacked(target):
                shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
                try:
                    self._unpack(source, partial, target)
                except ConfigError:
                    lock.unlink(missing_ok=True)
                    raise
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
                    remove_empty(*new)
        return target

    def _unpack(self, source: Any, partial: Path, target: Path) -> None:
        """Unpack or download into ``partial``, and put whole files into ``target``."""
        archives = Path(self.root) / self._folder() / "raw"
        fetching = source.__new__(source)  # its constructor would read the files too, pickles of earlier versions first
        fetching.root = str(partial)
        fresh = Path(fetching.raw_folder)
        fresh.mkdir(parents=True)
        for archive in archives.glob("*.gz"):
            shutil.copyfile(archive, fresh / archive.name)
        try:
            fetching.download()
        except (OSError, RuntimeError) as error:
            if getattr(error, "errno", None) in OF_THE_DISK:
                raise
            reason = reason_of(error)
            place = f"{self._folder()}/raw"
            raise ConfigError(
                f"dataset.root must hold {place} or its files must be downloadable, got {self.root!r} ({reason}). "
                f"Set EIF_LAB_DATA to a folder with {place}/train-images-idx3-ubyte.gz and its three companions."
            ) from None
        target.mkdir(exist_ok=True)
        for path in fresh.glob("*-ubyte"):
            path.replace(target / path.name)


def is_unpacked(raw: Path) -> bool:
    """Whether all files of both splits are in a folder."""
    return all((raw / f"{split}-{part}").is_file() for split in SPLITS.values() for part in PARTS)


def read_split(raw: Path, train: bool, classes: int) -> tuple[UInt8[Tensor, "n 28 28"], Int[Tensor, " n"]]:
    """Pixels and labels from unpacked files, which could be anything: only gzipped ones have a published checksum.

    Args:
        raw: The folder that holds them.
        train: Which split.
        classes: How many there are.

    Raises:
        ConfigError: A file is cut off or no idx file, or the two do not fit each other.
    """
    from torchvision.datasets.mnist import read_image_file, read_label_file

    read = []
    for part, read_file in zip(PARTS, (read_image_file, read_label_file)):
        path = raw / f"{SPLITS[train]}-{part}"
        try:
            read.append(read_file(str(path)))
        except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = one_line(error) or "its header is none"
            raise rule_error("dataset.root", f"hold whole idx files ({reason})", str(path), ANEW) from None
    pixels, labels = read
    for rule, holds, received in (
        ("images of 28 x 28 pixels", pixels.shape[1:] == (28, 28), tuple(pixels.shape[1:])),
        ("a label for each image", len(pixels) == len(labels), f"{len(labels)} for {len(pixels)}"),
        (f"labels below {classes}", bool((labels < classes).all()), int(labels.max())),
    ):
        if not holds:
            raise rule_error("dataset.root", f"hold {rule} in {raw}/{SPLITS[train]}-*", received, ANEW)
    return pixels, labels


def remove_empty(*folders: Path) -> None:
    """Remove folders as long as they are empty, in this order."""
    for folder in folders:
        if any(folder.iterdir()):
            return
        folder.rmdir()
