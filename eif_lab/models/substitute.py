"""What stands in the place of a model: it gives the influence array itself, and nothing is trained or read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import xarray as xr

from eif_lab.models.base import Model


@dataclass
class Substitute(Model):
    """A source of influence that is no model: method, update and engine have no say.

    Attributes:
        engine: What the array says made it.
    """

    engine: ClassVar[str] = ""

    @property
    def origin(self) -> str:
        """Where the numbers come from, in words, for logs and pages."""
        raise NotImplementedError

    def influence(self, array: xr.DataArray, seed: int) -> xr.DataArray:
        """The influence of each stimulus on each probe.

        Args:
            array: (seed, stimulus, step, probe, readout) with the coordinates of `annotate`; its values do not matter.
            seed: Of what is drawn.

        Returns:
            The same dims and coordinates; the attribute ``engine`` is `engine`.

        Raises:
            ConfigError: It cannot be had for these samples.
        """
        raise NotImplementedError
