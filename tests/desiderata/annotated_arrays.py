"""Influence arrays with every coordinate that a measurement would have, built from their relations and distances."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from eif_lab.desiderata.distance_decay import DistanceDecay
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.negation import Negation
from eif_lab.desiderata.noise_invariance import NoiseInvariance
from eif_lab.desiderata.sparsity import Sparsity
from eif_lab.desiderata.symmetry import Symmetry

FORMS = ("direct", "entailed", "foil", "converse", "unrelated", "unrelated")
LEVELS = (0.0, 0.5, 1.0)


def array(values, stimuli, probes, relation, distances=None, foil=None):
    """A (stimulus, probe) array; ``stimuli`` and ``probes`` hold per-sample values by name."""
    n, m = values.shape
    coords = {"stimulus": np.arange(n), "probe": np.arange(m), "relation": (("stimulus", "probe"), relation)}
    for dim, samples in (("stimulus", stimuli), ("probe", probes)):
        coords |= {f"{dim}_{name}": (dim, np.asarray(column)) for name, column in samples.items()}
    for name, distance in (distances or {}).items():
        coords[f"distance_{name}"] = (("stimulus", "probe"), distance)
    coords["foil"] = (("stimulus", "probe"), np.full((n, m), -1) if foil is None else foil)
    attrs = {"units": json.dumps({"log_prob": "nat"}), "distance": next(iter(distances), "") if distances else ""}
    return xr.DataArray(values, dims=("stimulus", "probe"), coords=coords, attrs=attrs)


def images(seed, classes=3, samples=5, probes=None, jitter=0.05):
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
    described = {
        "id": np.array([f"image-{s:03d}-{a:g}" for s, a in zip(source, sigma)]),
        "label": label.astype(str),
        "class": label,
        "sigma": sigma,
        "source": np.array([f"image-{s:03d}" for s in source]),
    }
    values = values + jitter * random.normal(size=values.shape)
    return array(values, described, described, relation, {"class": 1.0 - same_class})


def worlds(seed, count=8, jitter=0.05, **taught):
    """One stimulus a world, with a probe of every form; ``taught`` is the influence by relation."""
    taught = {"direct": 1.0, "entailed": 0.7, "foil": 0.0, "converse": 0.1, "unrelated": 0.0} | taught
    random = np.random.default_rng(seed)
    world, form = np.repeat(np.arange(count), len(FORMS)), np.tile(FORMS, count)
    own = np.arange(count)[:, None] == world[None, :]
    relation = np.where(own, form[None, :], "unrelated")
    foil = np.where(relation == "entailed", np.arange(len(world)) + 1, -1)
    distance = np.where(own, np.tile([0.0, 1.0, 3.0, 2.0, 4.0, 4.0], count), 8.0)
    values = np.vectorize(taught.get)(relation) * random.uniform(0.5, 1.5, (count, 1))
    stimuli = {
        "id": [f"s{i:03d}" for i in range(count)],
        "label": np.arange(count).astype(str),
        "world": np.arange(count),
    }
    probes = {"id": [f"p{w:03d}{k}" for k, w in enumerate(world)], "label": form, "world": world}
    values = values + jitter * random.normal(size=values.shape)
    return array(values, stimuli, probes, relation, {"path": distance}, foil)


ONTOLOGY = {
    "a dax is a blick": {
        "a dax is a blick": "direct",
        "a dax can fly": "entailed",
        "a dax can swim": "foil",
        "a dax can not fly": "contradicted",
        "a dax can not swim": "foil",
        "a blick is a dax": "converse",
    }
}
DOMAINS = {
    "ontology": ONTOLOGY,
    "inheritance": {
        "a bird is zug": {
            "a bird is zug": "direct",
            "a robin is zug": "entailed",
            "a trout is zug": "foil",
            "a robin is not zug": "contradicted",
            "a trout is not zug": "foil",
            "an animal is zug": "foil",
        }
    },
    "transitivity": {
        "a is above b": {
            "a is above b": "direct",
            "a is above c": "entailed",
            "a is above d": "foil",
            "c is above a": "contradicted",
            "d is above a": "foil",
            "b is above a": "converse",
        }
    },
    "causality": {
        "p was pressed": {"p was pressed": "direct", "l is on": "entailed", "m is on": "foil"},
        "k is on": {"k is on": "direct", "o was pressed": "converse", "n was pressed": "foil"},
    },
    "compositionality": {
        "a dax is red and a cube": {
            "a dax is red": "direct",
            "a dax is a cube": "direct",
            "a dax is a red cube": "entailed",
            "a wug is a red cube": "foil",
            "a dax is a red ball": "foil",
        }
    },
    "implication": {
        "a dax is glim": {
            "a dax is glim": "direct",
            "a dax is brop": "entailed",
            "a wug is brop": "foil",
            "a dax is not brop": "contradicted",
            "a wug is not brop": "foil",
        },
        "a fep is not brop": {
            "a fep is not brop": "direct",
            "a fep is not glim": "entailed",
            "a lat is not glim": "foil",
            "a fep is glim": "contradicted",
            "a lat is glim": "foil",
        },
        "a zof is brop": {"a zof is brop": "direct", "a zof is glim": "converse", "a nim is glim": "foil"},
    },
    "reversal": {
        "dax is king of zug": {
            "dax is king of zug": "direct",
            "king of zug is dax": "entailed",
            "king of wug is dax": "foil",
        }
    },
    "negation": {
        "a dax is not red": {
            "a dax is not red": "direct",
            "a dax is red": "contradicted",
            "a wug is red": "foil",
            "a dax is not blue": "foil",
        }
    },
}
"""By domain, the stimuli of a world and what each says about its own probes; what else there is is unrelated to it. A
probe that has a matched foil stands right before it."""

LOGICAL = [name for name, cases in DOMAINS.items() if "entailed" in str(cases)]
DENYING = [name for name, cases in DOMAINS.items() if "contradicted" in str(cases)]
ORACLE = {"direct": 1.0, "entailed": 0.7, "contradicted": -0.5, "converse": 0.1, "foil": 0.0, "unrelated": 0.0}


def domain(name, seed, count=8, jitter=0.05, strength=None, **taught):
    """Worlds of a domain; ``taught`` is the influence by relation, ``strength`` how well each stimulus is learnt."""
    cases, taught, random = DOMAINS[name], ORACLE | taught, np.random.default_rng(seed)
    stimuli = [(world, said) for world in range(count) for said in cases]
    probes = [(world, said, probe) for world, said in stimuli for probe in cases[said]]
    texts = [probe for *_, probe in probes]
    shape = len(stimuli), len(probes)
    relation, foil = np.full(shape, "unrelated", dtype="U12"), np.full(shape, -1)
    for i, (world, said) in enumerate(stimuli):
        for j, (other, made_for, probe) in enumerate(probes):
            if (world, said) == (other, made_for):
                relation[i, j] = cases[said][probe]
                if relation[i, j] in ("entailed", "contradicted"):
                    foil[i, j] = j + 1
    learnt = np.array([(strength or {}).get(said, 1.0) for _, said in stimuli]) * random.uniform(0.5, 1.5, len(stimuli))
    values = np.vectorize(taught.get)(relation) * learnt[:, None] + jitter * random.normal(size=shape)
    positive = [probe.replace(" not", "") if " not " in probe else "" for probe in texts]
    described = {
        "id": [f"{world:03d} {probe}" for (world, *_), probe in zip(probes, texts)],
        "label": texts,
        "world": [world for world, *_ in probes],
        "negates": [f"{world:03d} {probe}" if probe else "" for (world, *_), probe in zip(probes, positive)],
    }
    said = {
        "id": [f"{world:03d} {said}" for world, said in stimuli],
        "label": [said for _, said in stimuli],
        "world": [world for world, _ in stimuli],
    }
    made = array(values, said, described, relation, {}, foil)
    return made.assign_attrs(domain=name)


def ontology(seed, **options):
    """Worlds with a probe of every form."""
    return domain("ontology", seed, **options)


ORACLES = {
    "symmetry": (Symmetry, images),
    "distance_decay": (DistanceDecay, images),
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
