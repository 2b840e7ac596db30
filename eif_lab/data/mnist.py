"""MNIST (LeCun et al., 1998) and FashionMNIST (Xiao et al., 2017) through torchvision."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eif_lab.data.images import image_task
from eif_lab.data.task import Images, Task
from eif_lab.schema import ConfigError, Options, option


@dataclass
class MNIST(Options):
    """28 x 28 grey images of 10 classes; stimuli and probes come from the test split.

    The files are looked for under ``root`` as torchvision lays them out (``<root>/MNIST/raw``), gzipped or not; what is
    absent is downloaded to ``download``, which is also where gzipped files are unpacked, so that ``root`` may be
    read-only.
    """

    group: ClassVar[str] = "dataset"
    kind: ClassVar[str] = "image"
    incidental: ClassVar[tuple[str, ...]] = ("root", "download")

    name: str = option("mnist", one_of=["mnist", "fashion_mnist"])
    stimuli: int = option(200, at_least=1, hint="Try 200.")
    probes: int = option(200, at_least=1, hint="Try 200.")
    root: str = "data"
    download: str = "data"

    def identity(self) -> list[Any]:
        """Files that somebody unpacked, as they stand; gzipped ones are checked against their published MD5."""
        unpacked = sorted((Path(self.root) / self._folder() / "raw").glob("*-ubyte"))
        return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in unpacked]

    def _folder(self) -> str:
        return {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[self.name]

    def load(self, seed: int) -> Task:
        """Stimuli and probes from the test split; ``seed`` decides which.

        Raises:
            ConfigError: The files are neither there nor to be downloaded.
        """
        return image_task(self._split(train=True), self._split(train=False), self.stimuli, self.probes, seed)

    def _split(self, train: bool) -> Images:
        split = self._open(train)
        return Images(
            pixels=split.data[:, None].float() / 255,
            labels=split.targets.long(),
            classes=tuple(name.split(" - ")[0] for name in split.classes),
            ids=np.array([f"{self.name}-{'train' if train else 'test'}-{i}" for i in range(len(split))]),
        )

    def _open(self, train: bool) -> Any:
        from torchvision import datasets

        dataset = getattr(datasets, self._folder())
        try:
            return dataset(self.root, train=train)
        except RuntimeError:
            pass  # torchvision's "not found": unpack or download it
        raw = Path(self._folder()) / "raw"
        target = Path(self.download) / raw
        fresh = not target.exists()
        target.mkdir(parents=True, exist_ok=True)
        for archive in (Path(self.root) / raw).glob("*.gz"):
            if not (target / archive.name).exists():
                shutil.copyfile(archive, target / archive.name)
        try:
            return dataset(self.download, train=train, download=True)
        except (OSError, RuntimeError) as error:
            if fresh:
                forget(target, Path(self.download))
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"dataset.root must hold {raw} or its files must be downloadable, got {self.root!r} ({reason}). "
                f"Set EIF_LAB_DATA to a folder with {raw}/train-images-idx3-ubyte.gz and its three companions."
            ) from None


def forget(target: Path, top: Path) -> None:
    """Remove a folder, and what is empty above it up to ``top``."""
    shutil.rmtree(target)
    for folder in (target.parent, top):
        if any(folder.iterdir()):
            return
        folder.rmdir()
