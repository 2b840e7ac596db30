"""What reference learners reach on a job's own stimuli and probes, drawn beside what the model did."""

from __future__ import annotations

from collections.abc import Sequence

from eif_lab.desiderata.evaluation import evaluate_all
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.verdict import Finding
from eif_lab.errors import NotApplicable
from eif_lab.figures.runs import judged_array
from eif_lab.learners import imitate
from eif_lab.results.bounds import NOISE
from eif_lab.results.job import JobResults


def of_learners(job: JobResults, rules: Sequence[str]) -> dict[str, dict[str, Finding]]:
    """The findings of `Logic` on reference learners, by rule and statistic.

    Their cells have noise of a tenth of the strength. A rule that the samples are not for is left out.

    Args:
        job: Whose stimuli, probes and relations are imitated; its influence does not matter.
        rules: Names of `eif_lab.learners.RULES`.
    """
    array, found = judged_array(job), {}
    for rule in rules:
        try:
            learner = imitate(array, rule, NOISE)
        except NotApplicable:
            continue
        verdicts, _ = evaluate_all(learner, {"logic": Logic()}, 0)
        found[rule] = {one.statistic: one for verdict in verdicts for one in verdict.findings}
    return found
