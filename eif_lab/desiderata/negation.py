"""Negation: what a stimulus contradicts falls, and does not rise with what it entails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.matched_pairs import matched_pairs, negated_pairs, wins
from eif_lab.desiderata.relation_test import Judged, RelationMeans, RelationTest
from eif_lab.desiderata.selection import clean
from eif_lab.desiderata.verdict import SATISFIED, Verdict
from eif_lab.options import option


@dataclass
class Negation(RelationTest):
    """Blindness to negation, for every domain whose stimuli contradict some of their probes.

    - ``contradicted_auc``: ``P(I(contradicted) < I(foil)) + P(equal) / 2`` over matched pairs: the foil is the same
      sentence about something that the stimulus does not speak of, under the same stimulus. It takes away what any
      training on such a sentence does to all sentences of that form.
    - ``gap``: (mean I(entailed) - mean I(contradicted)) / mean I(direct) over the pairs of probes of which one negates
      the other (``probe_negates``); left out where fewer than two worlds have such a pair.

    As in `Logic`, both ends of a ratio are taken from the same stimuli, each world counts once, and intervals resample
    whole worlds. p-values: sign-flip over worlds, which assumes independent worlds and that, under the null,
    (``contradicted_auc``) a contradicted probe and its foil are exchangeable, (``gap``) what follows and its negation
    are, as they would be for a network that does not read the "not". Where direct influence is not clearly above zero
    nothing was taught: no p-value, and a note. Where noise was added, the clean samples are judged.

    Details:

    - ``negation_leak``: mean I(contradicted) / mean I(direct) of the same stimuli, with its interval
      ``negation_leak_low``, ``negation_leak_high``; above zero where the opposite of what was taught rises.
    - ``rising_together``: Spearman correlation, over stimuli, of I(entailed) with I(its negation); near 1 where the two
      are moved as one, near -1 where one falls as the other rises.
    - ``negation_blindness``: mean I(contradicted) / mean I(entailed) over those pairs: 1 is blind, 0 or less is not.
      NaN where what is entailed does not clearly rise, since nothing is then learnt to be blind about.
    - ``influence_<relation>``, mean influence by relation over all stimuli, and the numbers of ``matched_pairs`` and
      ``negated_pairs``.

    Attributes:
        auc_threshold: Probability of falling below the foil that counts as being contradicted.
        gap_threshold: Share of the direct influence that must lie between what follows and its negation.
    """

    group: ClassVar[str] = "desideratum.negation"
    claim: ClassVar[str] = "what a stimulus contradicts falls, and does not rise with what it entails"

    auc_threshold: float = option(0.6, at_least=0, below=1, hint="Try 0.6.")
    gap_threshold: float = option(0.1, at_least=0, hint="Try 0.1.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence = clean(influence)
        pairs, means = matched_pairs(influence, "contradicted"), RelationMeans.measure(influence)
        contradicted, foil = influence.values[pairs.rows, pairs.columns], influence.values[pairs.rows, pairs.others]
        negated = negated_pairs(influence)
        follows = means.of_pairs(negated.rows, influence.values[negated.rows, negated.columns])
        denied = means.of_pairs(negated.rows, influence.values[negated.rows, negated.others])
        gap = self.gap(means, follows, denied, generator)
        judged = [
            self.share_won(
                "contradicted_auc",
                means,
                pairs.rows,
                wins(foil, contradicted),
                threshold=self.auc_threshold,
                generator=generator,
            ),
            *([gap] if gap.finding.n >= 2 else []),
        ]
        findings, note = self.if_taught(judged, generator)
        details = {
            **means.averages(),
            **self.leak(means, generator),
            "rising_together": rising_together(follows, denied),
            "negation_blindness": self.blindness(means, follows, denied),
            "matched_pairs": float(len(pairs.rows)),
            "negated_pairs": float(len(negated.rows)),
        }
        return Verdict("negation", self.claim, findings, self.alpha, details, note)

    def gap(
        self,
        means: RelationMeans,
        follows: Float[np.ndarray, " stimulus"],
        denied: Float[np.ndarray, " stimulus"],
        generator: Generator,
    ) -> Judged:
        """How far what follows is above its negation."""
        above, direct = means.together(follows - denied, means["direct"])
        finding = self.ratio("gap", above, direct, threshold=self.gap_threshold, unit=means.unit, generator=generator)
        return Judged(finding, null=above, direct=direct)

    def leak(self, means: RelationMeans, generator: Generator) -> dict[str, float]:
        """How much of what is stated arrives at its opposite, with the interval."""
        contradicted, direct = means.together(means["contradicted"], means["direct"])
        low, high = self.interval(
            lambda counts: statistics.divide(counts @ contradicted, counts @ direct), len(direct), generator
        )
        effect = float(statistics.divide(contradicted.sum(), direct.sum()))
        return {"negation_leak": effect, "negation_leak_low": low, "negation_leak_high": high}

    def blindness(
        self,
        means: RelationMeans,
        follows: Float[np.ndarray, " stimulus"],
        denied: Float[np.ndarray, " stimulus"],
    ) -> float:
        """What the negation of a consequence gains for each nat of the consequence; NaN where that gains nothing."""
        raised, beside = means.together(follows, denied)
        if len(raised) < 2 or self.mean_above_zero(raised, means.unit).verdict(self.alpha) != SATISFIED:
            return float("nan")
        return float(beside.sum() / raised.sum())


def rising_together(follows: Float[np.ndarray, " stimulus"], denied: Float[np.ndarray, " stimulus"]) -> float:
    """Spearman correlation over the stimuli that have both; NaN where either does not vary."""
    both = np.isfinite(follows) & np.isfinite(denied)
    x, y = follows[both][:, None], denied[both][:, None]
    once = np.ones((1, len(x)))
    return float(statistics.row_spearman(x, y, np.ones(x.shape, dtype=bool), once)[0])
