"""Which samples each row of an array was trained on, where that is a set of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

from eif_lab.data.sets import Members, spelled
from eif_lab.errors import must_be, rule_error

SET, SAMPLES = "stimulus_set", "samples"
"""The coordinate that spells each row's set, and the attribute that names the samples, in JSON."""


def with_sets(array: xr.DataArray, members: Members, samples: Sequence[object] | None = None) -> xr.DataArray:
    """The array with the sets that its rows are.

    Args:
        array: With the dim ``stimulus``.
        members: (rows, samples), true where a sample is in a row's set.
        samples: Their ids; None for their places.
    """
    names = list(range(members.shape[1])) if samples is None else list(samples)
    return array.assign_coords({SET: ("stimulus", spelled(members))}).assign_attrs({SAMPLES: json.dumps(names)})


def membership(influence: xr.DataArray) -> xr.DataArray:
    """Which samples each row of an array was trained on.

    Args:
        influence: An array whose rows are sets of samples: of ``measure_influence(..., sets=...)``, of a task with
            sets, or of a job with ``perturbation=subsets``, as measured or as read from a store.

    Returns:
        (stimulus, sample), true where a sample is in a row's set; ``sample`` holds the samples' ids, in the order of
        the data set that they were drawn from.

    Raises:
        ConfigError: Each row of the array is one stimulus.

    Examples:
        >>> import torch
        >>> from eif_lab import draw_sets, measure_influence
        >>> samples, sets = (torch.randn(6, 5), torch.arange(6) % 3), draw_sets(6, count=4, size=2)
        >>> loss = torch.nn.functional.cross_entropy
        >>> influence = measure_influence(torch.nn.Linear(5, 3), loss, samples, samples, sets=sets)
        >>> bool((membership(influence) == sets).all())
        True
    """
    must_be("influence", influence, xr.DataArray, "an array of influence")
    if SET not in influence.coords or SAMPLES not in influence.attrs:
        rule = "have sets of samples as rows"
        raise rule_error("influence", rule, "one stimulus in each", "Try perturbation=subsets.")
    spelled_out = np.array([list(str(one)) for one in influence[SET].values])
    coords = {"sample": json.loads(influence.attrs[SAMPLES])}
    rows = {"stimulus": influence["stimulus"]} if "stimulus" in influence.coords else {}
    return xr.DataArray(spelled_out == "1", {**coords, **rows}, dims=("stimulus", "sample"), name="membership")
