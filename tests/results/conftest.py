import json

import numpy as np
import pytest
import xarray as xr

from eif_lab.desiderata.verdict import Finding, Verdict


@pytest.fixture
def make_influence():
    """Influence arrays with every kind of coordinate that the rooms above the store give them."""

    def make(stimuli=6, probes=8, seeds=2, steps=2, readouts=("log_prob", "rank"), random=0):
        generator = np.random.default_rng(random)
        relation = generator.choice(["direct", "entailed", "unrelated"], size=(stimuli, probes))
        relation[:, :3] = ["direct", "entailed", "unrelated"]
        distance = generator.normal(size=(stimuli, probes))
        distance[0, 0] = np.nan
        return xr.DataArray(
            generator.normal(size=(seeds, stimuli, steps, probes, len(readouts))),
            dims=("seed", "stimulus", "step", "probe", "readout"),
            coords={
                "seed": np.arange(seeds),
                "stimulus": np.arange(stimuli),
                "step": np.arange(steps) * 2,
                "probe": np.arange(probes),
                "readout": list(readouts),
                "stimulus_id": ("stimulus", np.array([f"s{i}" for i in range(stimuli)])),
                "stimulus_label": ("stimulus", np.array(["näg", "", "a dax | is a bird"] * stimuli)[:stimuli]),
                "stimulus_class": ("stimulus", np.arange(stimuli) % 3),
                "stimulus_sigma": ("stimulus", np.linspace(0, 1, stimuli)),
                "probe_id": ("probe", np.array([f"probe-{j}" for j in range(probes)])),
                "probe_label": ("probe", np.array(["näg", "b"] * probes)[:probes]),
                "probe_class": ("probe", np.arange(probes) % 2),
                "relation": (("stimulus", "probe"), relation),
                "foil": (("stimulus", "probe"), generator.integers(-1, probes, size=(stimuli, probes))),
                "distance_class": (("stimulus", "probe"), distance),
            },
            attrs={
                "units": json.dumps({"log_prob": "nat", "rank": "seconds"}),
                "sign": "after minus before",
                "direct_influence": 0.1 + 0.2,
                "calibrated": True,
                "levels": [0, 0.5],
            },
            name="influence",
        )

    return make


@pytest.fixture
def make_verdict():
    """A verdict whose findings have the given (effect, low, high, p), all held to 0.1; that of violated is 1 - p."""

    def make(desideratum, *numbers, note="", alpha=0.05, chance=0.0):
        findings = [
            Finding(f"statistic_{k}", effect, low, high, p, 60 + k, "stimuli", 0.1, 1 - p, chance)
            for k, (effect, low, high, p) in enumerate(numbers)
        ]
        return Verdict(desideratum, f"the claim of {desideratum}", findings, alpha, {"length": 1 / 3}, note)

    return make
