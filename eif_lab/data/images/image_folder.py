"""Your own images: one folder per class, as torchvision's ``ImageFolder`` has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eif_lab.data.dataset import Dataset
from eif_lab.data.images.base import held_out_task, one_in_two
from eif_lab.data.images.decoding import decode_image
from eif_lab.data.task import Images, Task
from eif_lab.errors import fits_a_line, rule_error
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option


@dataclass
class ImageFolder(Dataset):
    """Images in ``<path>/<class>/``, resized to one size.

    Of each class one image in two is held out for stimuli and probes, the others train the base model. Files in
    sub-folders of a class belong to the class. What begins with a dot is skipped; any other file has to be an image.
    An image is seen as a viewer shows it: turned as its EXIF data say, on white where it is transparent, and of an
    animation the first picture. (torchvision's ``ImageFolder`` neither turns it nor looks at its transparency.)

    Attributes:
        path: The folder with a folder for each class.
        size: Height and width in pixels.
        colour: Three channels instead of one grey one.
        stimuli: Training samples, balanced over the classes.
        probes: Watched samples; with as many as stimuli they are the same ones.
    """

    kind: ClassVar[str] = Images.kind
    reads: ClassVar[tuple[str, ...]] = ("path",)

    path: str | None = option(None)
    size: list[int] = option([28, 28], at_least=1, hint="Try [28,28].")
    colour: bool = False
    stimuli: int = option(100, at_least=1, hint="Try 100.")
    probes: int = option(100, at_least=1, hint="Try 100.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.size) != 2:
            raise rule_error("dataset.size", "be a height and a width", self.size, "Try [28,28].")

    def identity(self) -> list[list[str]]:
        """Place and contents of each file."""
        return fingerprint((path for paths in self._files().values() for path in paths), Path(self.path or ""))

    def load(self, seed: int) -> Task:
        """Stimuli and probes from the held-out half; ``seed`` decides which images are held out, and which are drawn.

        Raises:
            ConfigError: There is no such folder, fewer than two classes, a class of fewer than two images, or a file
                that is no image.
        """
        files = self._files()
        if len(files) < 2:
            rule = "be a folder with at least two folders, one for each class"
            raise rule_error("dataset.path", rule, self.path, "Try dataset.path=pictures.")
        for name, paths in files.items():
            if len(paths) < 2:
                raise rule_error("dataset.path", f"have at least two images in {name!r}", len(paths))
        ids = [str(path.relative_to(str(self.path))) for paths in files.values() for path in paths]
        if misnamed := [one for one in ids if not fits_a_line(one)]:
            raise rule_error("dataset.path", "hold names in UTF-8, each in one line", misnamed[0], "Rename it.")
        labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
        images = Images(
            pixels=torch.stack([self._pixels(path) for paths in files.values() for path in paths]),
            labels=torch.from_numpy(labels),
            classes=tuple(files),
            ids=np.array(ids),
        )
        return held_out_task(images, one_in_two(labels, seed), self.stimuli, self.probes, seed)

    def _files(self) -> dict[str, list[Path]]:
        """The files of each class, in the order of their names."""
        top = Path(self.path) if self.path else None
        if top is None or not top.is_dir():
            return {}
        folders = sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))
        return {
            folder.name: sorted(
                path
                for path in folder.rglob("*")
                if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            )
            for folder in folders
        }

    def _pixels(self, path: Path) -> Float[Tensor, "channels height width"]:
        """One image, in [0, 1]."""
        return decode_image(path, str(path), self.size, self.colour, "Remove the file.")
