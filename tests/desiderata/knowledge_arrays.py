"""Influence arrays of statements about worlds, built from what each stimulus says about its probes and their foils."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from eif_lab.data.task import FOILS

CASES = {
    "ontology": (("direct", "entailed", "contradicted", "converse"),),
    "inheritance": (("direct", "entailed", "entailed", "contradicted"),),
    "causality": (("direct", "entailed"), ("direct", "converse")),
    "compositionality": (("direct", "direct", "entailed"),),
    "implication": (
        ("direct", "entailed", "contradicted"),
        ("direct", "contradicted", "entailed", "entailed"),
        ("direct", "converse"),
    ),
    "reversal": (("direct", "entailed"),),
    "negation": (("direct", "contradicted"),),
    "worlds": (("direct", "entailed", "converse"),),
}
"""By domain, the stimuli of a world, and the relation of each probe that has three foils of its own."""

LOGICAL = [name for name, cases in CASES.items() if "entailed" in str(cases)]
DENYING = [name for name, cases in CASES.items() if "contradicted" in str(cases)]
ORACLE = {"direct": 1.0, "entailed": 0.7, "contradicted": -0.5, "converse": 0.1, "foil": 0.0, "unrelated": 0.0}
DISTANCE = {"direct": 0.0, "entailed": 1.0, "contradicted": 1.0, "converse": 2.0, "foil": 3.0}
OTHER_WORLD = 8.0


def domain(name, seed, count=8, jitter=0.05, strength=(1.0, 1.0, 1.0), **taught):
    """Worlds of a domain.

    Args:
        name: One of `CASES`.
        seed: Of noise, and of how well each stimulus is learnt, evenly from 0.5 to 1.5.
        count: Number of worlds.
        jitter: Standard deviation of a cell's noise.
        strength: How well each kind of stimulus is learnt.
        taught: Influence by relation, or by the name of a foil where the three are not moved alike.
    """
    random, taught = np.random.default_rng(seed), ORACLE | taught
    stimuli = [(world, case) for world in range(count) for case in range(len(CASES[name]))]
    probes = [
        (world, case, relation, k, foil)
        for world, case in stimuli
        for k, relation in enumerate(CASES[name][case])
        for foil in ("", *FOILS)
    ]
    shape = len(stimuli), len(probes)
    own = np.array([[one[:2] == other[:2] for other in probes] for one in stimuli])
    of_probe = np.array(["foil" if foil else relation for *_, relation, _, foil in probes])
    relation = np.where(own, of_probe, "unrelated")
    moved = np.array(
        [taught.get(foil, taught["foil"]) if foil else taught[relation] for *_, relation, _, foil in probes]
    )
    learnt = np.array([strength[case] for _, case in stimuli]) * random.uniform(0.5, 1.5, len(stimuli))
    values = np.where(own, moved, taught["unrelated"]) * learnt[:, None] + jitter * random.normal(size=shape)
    judged = own & (of_probe != "foil")
    same_world = np.array([[one[0] == other[0] for other in probes] for one in stimuli])
    coords = {
        "probe": np.arange(len(probes)),
        "relation": (("stimulus", "probe"), relation),
        "distance_path": (
            ("stimulus", "probe"),
            np.where(own, np.vectorize(DISTANCE.get)(of_probe), np.where(same_world, 4.0, OTHER_WORLD)),
        ),
        "stimulus_id": ("stimulus", [f"s{world:03d} {case}" for world, case in stimuli]),
        "stimulus_label": ("stimulus", [f"the n{w}x{case} is d{w}x{case}" for w, case in stimuli]),
        "stimulus_world": ("stimulus", [world for world, _ in stimuli]),
        "probe_id": ("probe", [f"p{world:03d} {case} {k} {foil}" for world, case, _, k, foil in probes]),
        "probe_label": ("probe", [sentence(*probe) for probe in probes]),
        "probe_world": ("probe", [world for world, *_ in probes]),
    }
    for behind, foil in enumerate(FOILS, start=1):
        coords[f"foil_{foil}"] = (("stimulus", "probe"), np.where(judged, np.arange(len(probes)) + behind, -1))
    attrs = {"units": json.dumps({"log_prob": "nat"}), "distance": "path", "domain": name}
    return xr.DataArray(values, dims=("stimulus", "probe"), coords=coords, attrs=attrs)


def sentence(world, case, relation, k, foil):
    """A cloze; what is stated has the words of the stimulus, what follows its subject only."""
    answer = f"d{world}x{case}" if relation == "direct" else f"a{world}x{case}x{k}"
    subject = f"n{world}x{case}" if foil in ("", "same_subject") else f"b{world}x{case}"
    return f"the {subject} is |{answer if foil in ('', 'same_words') else f'o{world}x{case}x{k}'}"


def worlds(seed, count=8, jitter=0.05, **taught):
    """One stimulus a world, with what it states, entails and is the converse of."""
    return domain("worlds", seed, count, jitter, **taught)


def ontology(seed, **options):
    """Worlds with a probe of every relation."""
    return domain("ontology", seed, **options)
