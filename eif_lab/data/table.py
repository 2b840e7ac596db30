"""Tables through the library `datasets`: a folder or a file of this machine, or a data set of the hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from eif_lab.errors import rule_error
from eif_lab.files.fingerprint import fingerprint
from eif_lab.files.hub import commit_at_hand, hub_answers, one_line_errors, quiet_hub, written_as_path

FIELD = "dataset.path"

READERS = {
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet",
    ".txt": "text",
}  # fmt: skip
"""What reads a single file, by its suffix."""

TAKEN = {*READERS.values(), "arrow", "cache", "imagefolder"}
"""The readers whose data is taken; `datasets` has many more, for formats with code or addresses in them."""

PATTERNS = "*?[]"
"""What `datasets` would take for a pattern in a path, as it would ``::`` for an address."""

MOST_NAMED = 20
"""Columns that an error names."""


@dataclass(frozen=True)
class Source:
    """Where a table is.

    Attributes:
        path: A folder or a file, or a name on the hub.
        subset: Which part of one that has several; None for its only or default one.
        revision: A branch, tag or commit of the hub; None for the main branch.
    """

    path: str
    subset: str | None = None
    revision: str | None = None

    @property
    def place(self) -> Path:
        """The path, as one of this machine."""
        return Path(self.path).expanduser()

    @property
    def suffix(self) -> str:
        """That of a file that can be read alone; empty for anything else."""
        return self.place.suffix if self.place.suffix in READERS else ""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine.

        Raises:
            ConfigError: It is written like a path, and is none that can be read.
        """
        if self.path and self.place.exists():
            whole = str(self.place.resolve())
            if "::" in whole or set(PATTERNS) & set(whole):
                rule = f"have no :: and none of {' '.join(PATTERNS)} in it, which datasets takes for patterns"
                raise rule_error(FIELD, rule, whole, "Rename it.")
            return True
        if not self.path or written_as_path(self.path) or self.suffix:
            rule = "be a folder or a file that exists, or a name on the hub"
            raise rule_error(FIELD, rule, self.path, "Try dataset.path=pictures.")
        return False

    def identity(self) -> Any:
        """The contents of its files, or the commit of the hub's copy here."""
        if not self.is_local:
            return [self.revision, commit_at_hand(self.path, "README.md", "dataset", self.revision)]
        if self.place.is_file():
            return fingerprint([self.place])
        return fingerprint(self.place.rglob("*"), self.place)

    def folders(self) -> list[Path]:
        """The folders that hold its files: its own, or the hub's on this machine."""
        if self.is_local:
            return [self.place.parent if self.place.is_file() else self.place]
        from datasets import config
        from huggingface_hub import constants

        return [Path(config.HF_DATASETS_CACHE), Path(constants.HF_HUB_CACHE)]

    @contextmanager
    def splits(self, names: Sequence[str]) -> Iterator[list[Any]]:
        """These splits, as `datasets` has them; within this alone they can be read.

        What is on this machine is read anew, since `datasets` knows changed files by their time alone.

        Args:
            names: Such as ``train``, or ``train[:100]``.

        Raises:
            ConfigError: The package is not installed, the data cannot be had or read, or has no such split.
        """
        try:
            import datasets
            from datasets import load_dataset_builder  # noqa: F401 - a folder called datasets has none
        except ImportError:
            hint = "Try pip install 'eif-lab[hub]'."
            raise rule_error(
                "dataset", "be read by the package datasets, which is not installed", "hub", hint
            ) from None
        with ExitStack() as stack, quiet(datasets):
            cache = None
            if self.is_local:
                cache = stack.enter_context(TemporaryDirectory())
            elif not hub_answers():
                stack.enter_context(patch.object(datasets.config, "HF_HUB_OFFLINE", True))
            with one_line_errors(FIELD, self.path, self.is_local, "datasets", ("folder", "file")):
                builder = self._builder(datasets, cache)
                try:
                    builder.download_and_prepare()
                except datasets.exceptions.DatasetGenerationError as error:  # which does not say of what
                    raise error.__cause__ or error from None
            yield [self._split(builder, name) for name in names]

    def _builder(self, datasets: Any, cache: str | None) -> Any:
        """What reads it.

        Raises:
            ConfigError: It would read another format, or files of other folders.
        """
        options = {"name": self.subset, "cache_dir": cache}
        if not self.is_local:
            builder = datasets.load_dataset_builder(self.path, revision=self.revision, **options)
        elif self.place.is_dir():
            local = datasets.DownloadConfig(local_files_only=True)
            builder = datasets.load_dataset_builder(str(self.place.resolve()), download_config=local, **options)
        else:
            if not self.suffix:
                raise rule_error(FIELD, f"be a folder, or a file that ends in {', '.join(READERS)}", self.path)
            separator = {"sep": "\t"} if self.suffix == ".tsv" else {}
            files = {"train": str(self.place.resolve())}
            builder = datasets.load_dataset_builder(
                READERS[self.suffix], data_files=files, cache_dir=cache, **separator
            )
        if not set(type(builder).__module__.split(".")[2:3]) <= TAKEN:
            raise rule_error(FIELD, f"hold tables or images ({', '.join(sorted(TAKEN))})", self.path)
        if self.is_local:
            self._must_be_within(builder)
        return builder

    def _must_be_within(self, builder: Any) -> None:
        """Refuse data whose own description names files elsewhere.

        Raises:
            ConfigError: It does.
        """
        named = [str(file) for files in (builder.config.data_files or {}).values() for file in files]
        if elsewhere := [one for one in named if not is_within(one, self.folders())]:
            raise rule_error(FIELD, f"name files of its own folder alone, it names {elsewhere[0]!r}", self.path)

    def _split(self, builder: Any, name: str) -> Any:
        """A split, of whose columns `datasets` decodes none: it would take any format, and other packages for some.

        Raises:
            ConfigError: There is none of that name, or it holds nothing.
        """
        known = ", ".join(builder.info.splits or ())
        rule = f"name a split with rows, of which there are {known}, or a part of one, such as train[:100]"
        try:
            table = builder.as_dataset(split=name)
        except (ValueError, KeyError) as error:
            raise rule_error("dataset.split", rule, name) from error
        if not len(table):
            raise rule_error("dataset.split", rule, name)
        for column_name, feature in table.features.items():
            if hasattr(feature, "decode") and is_decoded(feature):
                table = table.cast_column(column_name, replace(feature, decode=False))
        return table


def is_decoded(feature: Any) -> bool:
    """Whether `datasets` would decode a column, or what its lists hold; JSON, which it reads itself, is let pass."""
    if isinstance(feature, dict):
        return any(map(is_decoded, feature.values()))
    if hasattr(feature, "feature"):
        return is_decoded(feature.feature)
    return getattr(feature, "decode", False) and type(feature).__name__ != "Json"


def is_within(file: str | Path, folders: Sequence[Path]) -> bool:
    """Whether a file is below one of these folders, wherever links lead."""
    return any(Path(file).resolve().is_relative_to(folder.resolve()) for folder in folders)


def column(table: Any, field: str, name: str) -> str:
    """The name of a column that is there, and can be read without decoding.

    Args:
        table: A split.
        field: The option that names it.
        name: Of the column.

    Raises:
        ConfigError: There is none of that name, with those that there are; or its values hold images or the like.
    """
    if name not in table.column_names:
        known = ", ".join(map(str, table.column_names[:MOST_NAMED]))
        raise rule_error(f"dataset.columns.{field}", f"name a column, one of {known}", name)
    if is_decoded(table.features[name]):
        raise rule_error(f"dataset.columns.{field}", "name a column whose parts are no images, sounds or films", name)
    return name


@contextmanager
def quiet(datasets: Any) -> Iterator[None]:
    """Keep the warnings, retries and progress bars of `datasets` and of the hub off the console."""
    bars, level = datasets.are_progress_bars_disabled(), datasets.utils.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity(logging.CRITICAL)
    try:
        with quiet_hub():
            yield
    finally:
        datasets.utils.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
