"""Data of the hub or in its formats, parquet, CSV, JSON, image folders: statements with their clozes, or images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from eif_lab.data.elsewhere import OfWorlds
from eif_lab.data.images.base import drawn, one_in_two, related_images
from eif_lab.data.images.decoding import decode_image
from eif_lab.data.sampling import draw_places
from eif_lab.data.table import Source, column, is_within
from eif_lab.data.task import Images, Task, Texts
from eif_lab.data.texts.assembly import task_of
from eif_lab.data.texts.joining import CLOZES
from eif_lab.data.texts.lines import Line, line_from
from eif_lab.errors import fits_a_line, rule_error
from eif_lab.options import Options, option

FIELDS = ("prompt", "world", "negation")
"""Fields of a stimulus that a column of the same kind of values holds."""


@dataclass
class Columns(Options):
    """Which column holds what. With ``image`` the rows are images, else they are texts.

    A list of clozes is one column, each value a list of ``[prompt, target]``, or pairs of columns, a prompt and its
    target.

    Attributes:
        image, label: An image, and its class.
        target, prompt: The statement that is learnt, and what stands before it.
        id: A name for each row.
        world: Which rows share a background, and are resampled as one.
        negation: The denial of the statement.
        wordings: The same in other words: columns of text, or one of lists of texts.
        direct, entailed, contradicted, converse: The clozes that the statement states, that follow from it, that it
            denies, and that it leaves open the other way round.
    """

    group: ClassVar[str] = "dataset.columns"

    image: str | None = option(None)
    label: str = option("label")
    target: str = option("text")
    prompt: str | None = option(None)
    id: str | None = option(None)
    world: str | None = option(None)
    negation: str | None = option(None)
    wordings: list[str] = option([])
    direct: list[str] = option([])
    entailed: list[str] = option([])
    contradicted: list[str] = option([])
    converse: list[str] = option([])

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in CLOZES:
            given = getattr(self, name)
            if len(given) > 1 and len(given) % 2:
                rule = "name one column of clozes, or pairs of columns, each a prompt and its target"
                raise rule_error(f"dataset.columns.{name}", rule, given, "Try [question,answer].")

    @property
    def asks(self) -> bool:
        """Whether there are clozes."""
        return any(getattr(self, name) for name in CLOZES)

    @property
    def of_texts(self) -> list[tuple[str, str]]:
        """Each field of texts with each column that it names."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("image", "label")}
        named = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
        return [(name, of) for name, values in named.items() for of in values if of is not None]


@dataclass
class Hub(OfWorlds):
    """Rows of a table of the library `datasets`: from a folder or a file of one's own, or from the hub.

    Statements become stimuli with the clozes that their columns name; without any, the statements are the probes, too.
    Images are drawn balanced over their classes.

    Attributes:
        path: A folder or a file (parquet, CSV, JSON, JSON lines, text), or a name on the hub.
        subset: The part of one that has several.
        revision: A branch, tag or commit of the hub.
        split: What stimuli and probes are drawn from, such as ``test`` or ``train[:1000]``.
        training_split: The images that a base model without a checkpoint is trained on. If it is ``split``, of each
            class one image in two is held out for stimuli and probes.
        columns: Which column holds what.
        stimuli: How many rows are drawn for stimuli.
        probes: How many are watched; None for as many, which then are the same. Clozes are all watched.
        delimiter: What stands between a prompt and its target.
        size: Height and width that images are resized to; None where all have one size.
        colour: Three channels instead of one grey one.
    """

    reads: ClassVar[tuple[str, ...]] = ("path",)

    path: str | None = option(None)
    subset: str | None = option(None)
    revision: str | None = option(None)
    split: str = option("train")
    training_split: str | None = option(None)
    columns: Columns = field(default_factory=Columns)
    stimuli: int = option(100, at_least=1, hint="Try 100.")
    probes: int | None = option(None, at_least=1, hint="Try 100, or null for as many as stimuli.")
    delimiter: str = option(" ")
    size: list[int] | None = option(None, at_least=1, hint="Try [28,28].")
    colour: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is not None and not fits_a_line(self.path):
            raise rule_error("dataset.path", "be a name in UTF-8, in one line", self.path, "Rename it.")
        if self.size is not None and len(self.size) != 2:
            raise rule_error("dataset.size", "be a height and a width", self.size, "Try [28,28].")
        if self.training_split is not None and self.columns.image is None:
            rule = "be null for texts, which train no base model"
            raise rule_error(
                "dataset.training_split", rule, self.training_split, "For images try dataset.columns.image=COLUMN."
            )

    @property
    def kind(self) -> str:  # type: ignore[override] # of others it is the class's
        """Images where a column of them is named, else texts."""
        return Texts.kind if self.columns.image is None else Images.kind

    @property
    def kind_hint(self) -> str:  # type: ignore[override]
        """What makes it of the other kind."""
        other = "dataset.columns.image=COLUMN" if self.columns.image is None else "dataset.columns.image=null"
        return f"For the other kind try {other}."

    @property
    def name(self) -> str:
        """``hub-`` and the last part of the path."""
        return "hub" if self.path is None else f"hub-{Path(self.path).name.removesuffix(self._source().suffix)}"

    def identity(self) -> Any:
        """The contents of its files, or the commit of the hub's copy here."""
        return [] if self.path is None else self._source().identity()

    def load(self, seed: int) -> Task:
        """Stimuli and probes; ``seed`` decides which rows are drawn.

        Raises:
            ConfigError: The data cannot be had, has no such split or column, too few rows, or one that breaks a rule.
        """
        names = [self.split, *([self.training_split] if self.training_split else [])]
        with self._source().splits(names) as tables:
            if self.columns.image is None:
                return self.with_elsewhere(self._texts(tables[0], seed), seed)
            return self.with_elsewhere(self._images(tables[0], tables[1] if len(tables) > 1 else None, seed), seed)

    def _source(self) -> Source:
        if self.path is None:
            rule = "be a folder, a file, or a name on the hub"
            raise rule_error("dataset.path", rule, None, "Try dataset.path=pictures.")
        return Source(self.path, self.subset, self.revision)

    # Texts

    def _texts(self, table: Any, seed: int) -> Task:
        """The statements that are drawn, with their clozes or with each other."""
        count = max(self.stimuli, self.probes or 0)
        if self.columns.asks and self.probes is not None:
            rule = "be null where stimuli name their clozes, which are the probes"
            raise rule_error("dataset.probes", rule, self.probes)
        short = "stimuli" if count == self.stimuli else "probes"
        rows = draw_places(short, count, len(table), seed, f"rows of the split {self.split}")
        table = table.select_columns(sorted({column(table, name, of) for name, of in self.columns.of_texts}))
        statements = [self._stimulus(table, row) for row in rows]
        lines = statements[: self.stimuli]
        if not self.columns.asks:
            shared = ("id", "prompt", "target", "world")
            asked = statements[: self.probes or self.stimuli]
            lines = [*lines, *(line.made("probe", **{name: line[name] for name in shared}) for line in asked)]
        return task_of(lines, str(self.path), background="context")

    def _stimulus(self, table: Any, row: int) -> Line:
        """A row as a line of one's own texts."""
        columns, record = self.columns, table[row]
        named = None if columns.id is None else record[columns.id]
        said: dict[str, Any] = {"kind": "stimulus", "id": f"row {row}" if named is None else str(named)}
        said["target"] = record[columns.target]
        for name in FIELDS:
            if (of := getattr(columns, name)) is not None:
                said[name] = record[of]
        if columns.wordings:
            given = [record[of] for of in columns.wordings]
            said["wordings"] = given[0] if isinstance(given[0], list) else [one for one in given if one is not None]
        for name in CLOZES:
            given = [record[of] for of in getattr(columns, name)]
            if given:
                said[name] = given[0] if len(given) == 1 else list(zip(given[::2], given[1::2]))
        return line_from({name: one for name, one in said.items() if one is not None}, f"row {row}", self.delimiter)

    # Images

    def _images(self, table: Any, training: Any, seed: int) -> Task:
        """The images that are drawn, and those that train a base model."""
        probes = self.probes or self.stimuli
        tables = [table, *([] if training is None else [training])]
        labels, classes = self._labels(tables)
        rows = trained = np.arange(len(table))
        if self.training_split == self.split:
            held_out = one_in_two(labels[0], seed)
            rows, trained = rows[held_out], rows[~held_out]
        elif training is not None:
            trained = np.arange(len(training))
        what = "the held-out images" if self.training_split == self.split else f"rows of the split {self.split}"
        chosen = rows[drawn(torch.from_numpy(labels[0][rows]), self.stimuli, probes, seed, what)]
        samples = self._decoded(table, chosen, labels[0], classes)
        base = None if training is None else self._decoded(training, trained, labels[1], classes)
        if base is not None and base.pixels.shape[1:] != samples.pixels.shape[1:]:
            rule = "be given where images of the two splits differ in size"
            raise rule_error("dataset.size", rule, self.size, "Try [28,28].")
        stimuli, watched = (samples.take(range(count)) for count in (self.stimuli, probes))
        return related_images(stimuli, watched, base, samples if base is not None else None)

    def _labels(self, tables: Sequence[Any]) -> tuple[list[np.ndarray], tuple[str, ...]]:
        """The class of each row of each table, and the names of the classes: those that the column has, else sorted.

        Raises:
            ConfigError: A row has none, or none that is a name or a whole number; or there is one class only.
        """
        name = column(tables[0], "label", self.columns.label)
        values = [table[column(table, "label", name)][:] for table in tables]
        names = getattr(tables[0].features[name], "names", None)
        if names:
            known: Sequence[Any] = range(len(names))
        else:
            found = {one for part in values for one in part if is_class(one)}
            known = sorted(found, key=lambda one: (isinstance(one, str), one))
        place = {one: number for number, one in enumerate(known)}
        for part in values:
            for row, one in enumerate(part):
                if not is_class(one) or one not in place:
                    rule = f"hold a class, a name or a whole number, in each row, not in row {row}"
                    raise rule_error("dataset.columns.label", rule, one)
        classes = tuple(str(one) for one in names or known)
        if len(classes) < 2 or not all(map(fits_a_line, classes)):
            raise rule_error("dataset.columns.label", "hold at least two classes, each named in a line", list(classes))
        return [np.array([place[one] for one in part]) for part in values], classes

    def _decoded(self, table: Any, rows: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> Images:
        """The images of some rows.

        Raises:
            ConfigError: A row holds none, or they differ in size.
        """
        values = table.select(rows.tolist())[column(table, "image", str(self.columns.image))]
        folders = self._source().folders()
        pixels = [self._pixels(value, folders, f"row {row}") for row, value in zip(rows.tolist(), values)]
        if len(shapes := {one.shape for one in pixels}) > 1:
            rule = "be given where images differ in size"
            raise rule_error("dataset.size", rule, sorted(tuple(one[1:]) for one in shapes)[:2], "Try [28,28].")
        ids = np.array([f"row {row}" for row in rows.tolist()])
        return Images(torch.stack(pixels), torch.from_numpy(labels[rows]), classes, ids)

    def _pixels(self, value: Any, folders: Sequence[Path], place: str) -> torch.Tensor:
        """An image from its content, or from its file below the data's folders; in [0, 1].

        Raises:
            ConfigError: It is neither, or no image.
        """
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, value)
        hint = "Remove the row."
        if isinstance(content, bytes):
            return decode_image(BytesIO(content), place, self.size, self.colour, hint)
        if not isinstance(path, str):
            rule = f"hold an image, its bytes, or the place of its file, not in {place}"
            raise rule_error("dataset.columns.image", rule, type(value).__name__)
        file = folders[0] / path
        if not is_within(file, folders) or not file.is_file():
            raise rule_error("dataset.columns.image", f"name files below {folders[0]}, not in {place}", path, hint)
        return decode_image(file, f"{place} ({path})", self.size, self.colour, hint)


def is_class(value: Any) -> bool:
    """Whether a value can be that of a class: a name, or a whole number."""
    return isinstance(value, str | int)
