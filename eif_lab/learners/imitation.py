"""A reference learner in place of a model: the array that a rule makes of another array's coordinates."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from eif_lab.desiderata.selection import require
from eif_lab.errors import rule_error, unknown_name
from eif_lab.learners.rules import RULES

DERIVED = ("record", "learner", "noise")
"""Attributes that say how an array came about."""


def imitate(array: xr.DataArray, rule: str, noise: float = 0.1, seed: int = 0) -> xr.DataArray:
    """The influence that a reference learner would have on this array's probes; 1 is what a stimulus is taught.

    Args:
        array: With the coordinates of `annotate`; its values do not matter.
        rule: One of `RULES`.
        noise: Standard deviation of the Gaussian noise on each cell, in shares of what is taught.
        seed: Of the noise, and of what the rule draws; the same seed gives the same array.

    Returns:
        Dims and coordinates of ``array``. All seeds, steps and readouts hold the same influence, each with its own
        noise.

    Raises:
        ConfigError: There is no such rule, or the noise is negative.
        NotApplicable: The array lacks what the rule goes by, such as words.

    Examples:
        >>> import numpy as np
        >>> from eif_lab import annotate, judge, load_task
        >>> task = load_task("ontology", worlds=8, stimuli_per_world=2)
        >>> array = imitate(annotate(np.zeros(task.relation.shape), task), "perfect")
        >>> print(judge(array, "logic")[0].outcome())
        satisfied
    """
    if rule not in RULES:
        raise unknown_name("rule", rule, RULES)
    if not (math.isfinite(noise) and noise >= 0):
        raise rule_error("noise", "be a number that is at least 0", noise, "Try 0.1.")
    require(array, "stimulus_id", "probe_id", "relation", hint="Try eif_lab.annotate(scores, task).")
    others = [dim for dim in array.dims if dim not in ("stimulus", "probe")]
    pairs = array.isel(dict.fromkeys(others, 0)).transpose("stimulus", "probe")
    values = RULES[rule](pairs, np.random.default_rng([seed, 1]))
    cells = array.transpose(*others, "stimulus", "probe")
    drawn = values + noise * np.random.default_rng([seed, 2]).standard_normal(cells.shape)
    attributes = {name: value for name, value in array.attrs.items() if name not in DERIVED}
    made = cells.copy(data=drawn).transpose(*array.dims).rename("influence")
    return made.assign_attrs(attributes | {"model": title(rule), "engine": "rule", "learner": rule, "noise": noise})


def title(rule: str) -> str:
    """What tables, figures and pages call a reference learner."""
    return f"reference learner: {rule.replace('_', ' ')}"
