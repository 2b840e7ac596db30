"""Tasks, and influence that their relations decide."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import numpy as np

from eif_lab.desiderata.evaluation import evaluate_all

DESIDERATA = {
    "symmetry": "Symmetry",
    "distance_decay": "DistanceDecay",
    "sparsity": "Sparsity",
    "noise_invariance": "NoiseInvariance",
    "logic": "Logic",
    "negation": "Negation",
}
LOGICAL = {"direct": 1.0, "entailed": 0.8, "contradicted": -0.8}
RATES = (1e-4, 1e-2)


def judge(array):
    chosen = {n: getattr(import_module(f"eif_lab.desiderata.{n}"), c)() for n, c in DESIDERATA.items()}
    return evaluate_all(array, chosen, 0)


def moved(task, strengths, scatter=0.05, random=0):
    """Influence that a relation decides, and a little noise."""
    generator = np.random.default_rng(random)
    means = np.vectorize(lambda relation: strengths.get(relation, 0.0))(task.relation)
    return means + scatter * generator.normal(size=means.shape)


@cache
def knowledge(domain, view="probes", worlds=6):
    module = import_module(f"eif_lab.data.worlds.{domain}")
    return getattr(module, domain.capitalize())(worlds=worlds, view=view).load(0)
