"""Scores of any origin as the model of a job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import xarray as xr

from eif_lab.attribution.formats import PAIRWISE
from eif_lab.attribution.reading import AUTO, read_aligned
from eif_lab.attribution.sources import SOURCES
from eif_lab.desiderata.selection import unread
from eif_lab.errors import NotApplicable, rule_error
from eif_lab.files.checksums import files_below
from eif_lab.files.fingerprint import fingerprint
from eif_lab.models.substitute import Substitute
from eif_lab.options import option


@dataclass
class Scores(Substitute):
    """Scores in a file in place of a model, such as those of an attribution method.

    Attributes:
        path: The file or folder; `eif_lab.attribution.read_scores` says which.
        source: The program that they come from, of `SOURCES`; ``auto`` for what the format says.
        reverse: Whether a positive score means that the target gets less likely.
        label: What tables and figures call them; the name of the file where it is not given.
    """

    engine: ClassVar[str] = "scores"
    incidental: ClassVar[tuple[str, ...]] = ("path",)

    path: str | None = option(None)
    source: str = option(AUTO, one_of=(AUTO, *SOURCES), hint="Try auto.")
    reverse: bool = option(False)
    label: str | None = option(None)

    @property
    def name(self) -> str:
        """``scores: <label>``."""
        place = Path(self.path or "")
        return f"scores: {self.label or (place.parent.name if place.name == PAIRWISE else place.stem)}"

    @property
    def origin(self) -> str:
        """Which file they were read from."""
        said = "" if self.source == AUTO else f" of {self.source}"
        return f"scores{said} read from {Path(self.path or '').name}, and no model; they hold up to a positive factor"

    def identity(self) -> list[list[str]]:
        """What they are called, and the contents of the file, or of each in the folder."""
        if not self.path:
            return []
        place = Path(self.path)
        contents = fingerprint(files_below(place).values(), place) if place.is_dir() else fingerprint([place])
        return [[self.name], *contents]

    def influence(self, array: xr.DataArray, seed: int) -> xr.DataArray:
        """The scores in place of the array's values; ``seed`` decides nothing.

        Raises:
            ConfigError: There are none, or they are not about these samples.
            NotApplicable: Several readouts are asked for.
        """
        if not self.path:
            raise rule_error("model.path", "name a file of scores", self.path, "Try model.path=scores.npy.")
        readouts = [str(name) for name in array["readout"].values]
        if len(readouts) > 1:
            raise NotApplicable(f"readout must be one with model=scores, got {readouts}. Try readout=[log_prob].")
        scores = read_aligned(
            Path(self.path),
            (array["stimulus_id"].values, array["probe_id"].values),
            source=self.source,
            reverse=self.reverse,
            readout=readouts[0],
            read=~unread(array),
            field="model.path",
        )
        values = array.copy(data=scores.values[None, :, None, :, None].astype(array.dtype))
        units = json.dumps({readouts[0]: scores.attrs["unit"]})
        return values.assign_attrs(model=self.name, engine=self.engine, units=units)
