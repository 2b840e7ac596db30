"""Influence arrays with every coordinate that a measurement would have, built from their relations and distances."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import xarray as xr
from knowledge_arrays import ontology, worlds

from eif_lab.desiderata.distance_decay import DistanceDecay
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.negation import Negation
from eif_lab.desiderata.noise_invariance import NoiseInvariance
from eif_lab.desiderata.sparsity import Sparsity
from eif_lab.desiderata.symmetry import Symmetry

LEVELS = (0.0, 0.5, 1.0)


def array(values, stimuli, probes, relation, distances=None):
    """A (stimulus, probe) array; ``stimuli`` and ``probes`` hold per-sample values by name."""
    n, m = values.shape
    coords = {"stimulus": np.arange(n), "probe": np.arange(m), "relation": (("stimulus", "probe"), relation)}
    for dim, samples in (("stimulus", stimuli), ("probe", probes)):
        coords |= {f"{dim}_{name}": (dim, np.asarray(column)) for name, column in samples.items()}
    for name, distance in (distances or {}).items():
        coords[f"distance_{name}"] = (("stimulus", "probe"), distance)
    attrs = {"units": json.dumps({"log_prob": "nat"}), "distance": next(iter(distances), "") if distances else ""}
    return xr.DataArray(values, dims=("stimulus", "probe"), coords=coords, attrs=attrs)


def images(seed, classes=8, samples=4, probes=None, jitter=0.02):
    """Images on a line, near others of their class; the oracle influence falls with the distance between them.

    ``probes`` below the number of samples leaves the last samples out as probes.
    """
    random = np.random.default_rng(seed)
    label = np.repeat(np.arange(classes), samples)
    position = 3.0 * label + random.uniform(-1, 1, len(label))
    distance = np.abs(position[:, None] - position[None, :])
    same_class = label[:, None] == label[None, :]
    relation = np.where(same_class, "entailed", "unrelated")
    np.fill_diagonal(relation := relation.astype("U12"), "direct")
    noise = random.normal(size=distance.shape)
    values = np.exp(-distance) + jitter * (noise + noise.T) / 2
    ids = np.array([f"image-{i:03d}" for i in range(len(label))])
    described = {"id": ids, "label": label.astype(str), "class": label}
    columns = slice(0, probes)
    return array(
        values[:, columns],
        described,
        {name: column[columns] for name, column in described.items()},
        relation[:, columns],
        {"position": distance[:, columns], "class": 1.0 - same_class[:, columns]},
    )


def noisy_images(seed, classes=2, samples=6, blind=False, jitter=0.02):
    """Images at several noise levels, as stimuli and as probes; the oracle's noise costs stimuli more than probes."""
    random = np.random.default_rng(seed)
    source = np.tile(np.arange(classes * samples), len(LEVELS))
    sigma = np.repeat(LEVELS, classes * samples)
    label = source // samples
    same_class, same_source = (column[:, None] == column[None, :] for column in (label, source))
    relation = np.where(same_class, "entailed", "unrelated").astype("U12")
    relation[np.eye(len(source), dtype=bool)] = "direct"
    strength = random.uniform(0.5, 1.5, classes * samples)[source]
    kept = np.ones((len(sigma), len(sigma))) if blind else np.exp(-sigma)[:, None] * np.exp(-sigma / 4)[None, :]
    values = np.where(same_class, np.where(same_source, 2.0, 1.0), 0.1) * strength[:, None] * kept
    values[np.eye(len(source), dtype=bool)] = 2.0 * strength
    described = {
        "id": np.array([f"image-{s:03d}-{a:g}" for s, a in zip(source, sigma)]),
        "label": label.astype(str),
        "class": label,
        "sigma": sigma,
        "source": np.array([f"image-{s:03d}" for s in source]),
    }
    values = values + jitter * random.normal(size=values.shape)
    position = random.uniform(size=classes * samples)[source]
    distances = {"class": 1.0 - same_class, "pixel": np.abs(position[:, None] - position[None, :])}
    return array(values, described, described, relation, distances)


ORACLES = {
    "symmetry": (Symmetry, images),
    "distance_decay": (DistanceDecay, partial(images, classes=10)),
    "sparsity": (Sparsity, images),
    "noise_invariance": (NoiseInvariance, noisy_images),
    "logic": (Logic, worlds),
    "negation": (Negation, ontology),
}
"""For each desideratum its class and the maker of its oracle."""


def shuffled(influence, seed):
    """The same values, dealt to the cells at random."""
    values = influence.values.copy()
    np.random.default_rng(seed).shuffle(values.reshape(-1))
    return influence.copy(data=values)


def white(influence, seed):
    """Independent normal values in place of the array's."""
    return influence.copy(data=np.random.default_rng(seed).normal(size=influence.shape))
