"""How far reference learners reach on a job's own stimuli and probes, drawn beside what the model did."""

from __future__ import annotations

from collections.abc import Sequence

from eif_lab.desiderata.relation_test import RelationEffects
from eif_lab.desiderata.selection import clean, prepare
from eif_lab.errors import NotApplicable
from eif_lab.figures.runs import judged_array
from eif_lab.learners import imitate
from eif_lab.results.bounds import NOISE
from eif_lab.results.job import JobResults

RELATIONS = {"reach": "entailed", "converse_held": "converse"}
"""By the statistic of `eif_lab.desiderata.logic`, whose influence it is about."""


def of_learners(job: JobResults, rules: Sequence[str]) -> dict[str, dict[str, float]]:
    """What reference learners do to what is entailed and to the converse, each less its controls, by rule and
    statistic.

    In shares of the strength that a learner of the relations is taught, which is 1. To divide by a learner's own would
    not do: by this measure words alone are taught nothing. Cells have noise of a tenth. A rule that the samples are not
    for, or a relation that they do not have, is left out.

    Args:
        job: Whose stimuli, probes and relations are imitated; its influence does not matter.
        rules: Names of `eif_lab.learners.RULES`.
    """
    array, found = judged_array(job), {}
    for rule in rules:
        try:
            moved = RelationEffects.measure(clean(prepare(imitate(array, rule, NOISE))))
        except NotApplicable:
            continue
        means = {statistic: moved.world_means(moved[relation])[0] for statistic, relation in RELATIONS.items()}
        found[rule] = {statistic: float(mean.mean()) for statistic, mean in means.items() if len(mean)}
    return found
