"""Logic: what follows from a stimulus rises, and what does not follow stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import xarray as xr
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.matched_pairs import matched_pairs, wins
from eif_lab.desiderata.relation_test import Judged, RelationMeans, RelationTest
from eif_lab.desiderata.selection import clean
from eif_lab.desiderata.verdict import Verdict
from eif_lab.options import option


@dataclass
class Logic(RelationTest):
    """One test for all knowledge domains; the array's dataset says which one it is.

    - ``auc``: ``P(I(entailed) > I(foil)) + P(equal) / 2`` over matched pairs: the foil is the one that belongs to that
      entailed probe, under the same stimulus. Pooling all entailed probes against all foils, as an ordinary ROC curve
      does, would compare probes of different wording and base probability and stimuli of different strength, which
      matching is there to remove; that pooled value is given as a detail.
    - ``reach``: mean I(entailed) / mean I(direct), both of the stimuli that have entailed probes.
    - ``converse_held``: 1 - mean I(converse) / mean I(direct), both of the stimuli that have a converse; left out where
      fewer than two worlds have one.

    Stimuli of a world can be of several kinds. In causality "P was pressed" entails "L is on", and "L is on" entails
    nothing, but has a converse. Each ratio is therefore one over the same stimuli: how well a statement was learnt that
    entails nothing says nothing about how far another one reaches, and the reverse. ``n`` is the number of worlds that
    have such stimuli.

    Each world counts once: cells are averaged within a stimulus, stimuli within a world, then worlds. Intervals: worlds
    resampled whole. p-values: sign-flip over worlds, which assumes independent worlds and, under the null, that
    (``auc``) a probe and its foil are exchangeable, so that the share of pairs won less 1/2 is symmetric about zero;
    (``reach``) the mean I(entailed) is; (``converse_held``) ``(1 - threshold) I(direct) - I(converse)`` is. Where the
    direct influence of the stimuli that a finding is about is not clearly above zero nothing was taught: that finding
    has no p-value, and a note says so. Where noise was added, the clean samples are judged.

    Details: ``influence_<relation>``, mean influence by relation over all stimuli, ``pooled_auc``, ``converse_leak``
    (mean I(converse) / mean I(direct)), and the number of ``matched_pairs``.

    Attributes:
        auc_threshold: Probability of rising above the foil that counts as following.
        reach_threshold: Share of the direct influence that must arrive at what is entailed.
        converse_threshold: Share of the direct influence that must be kept from the converse.
    """

    group: ClassVar[str] = "desideratum.logic"
    claim: ClassVar[str] = "what follows from a stimulus rises, and what does not follow stays"

    auc_threshold: float = option(0.6, at_least=0, below=1, hint="Try 0.6.")
    reach_threshold: float = option(0.1, at_least=0, hint="Try 0.1.")
    converse_threshold: float = option(0.5, at_most=1, hint="Try 0.5.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence = clean(influence)
        pairs, means = matched_pairs(influence, "entailed"), RelationMeans.measure(influence)
        entailed, foil = influence.values[pairs.rows, pairs.columns], influence.values[pairs.rows, pairs.others]
        converse = self.converse_held(means, generator)
        judged = [
            self.share_won(
                "auc",
                means,
                pairs.rows,
                wins(entailed, foil),
                threshold=self.auc_threshold,
                generator=generator,
            ),
            self.reach(means, generator),
            *([converse] if converse.finding.n >= 2 else []),
        ]
        findings, note = self.if_taught(judged, generator)
        details = {
            **means.averages(),
            "pooled_auc": statistics.auc(entailed, foil),
            "converse_leak": 1 - converse.finding.effect,
            "matched_pairs": float(len(pairs.rows)),
        }
        return Verdict("logic", self.claim, findings, self.alpha, details, note)

    def reach(self, means: RelationMeans, generator: Generator) -> Judged:
        """How much of what is stated arrives at what follows from it."""
        entailed, direct = means.together(means["entailed"], means["direct"])
        finding = self.ratio(
            "reach", entailed, direct, threshold=self.reach_threshold, unit=means.unit, generator=generator
        )
        return Judged(finding, null=entailed, direct=direct)

    def converse_held(self, means: RelationMeans, generator: Generator) -> Judged:
        """Whether what is stated stays apart from its converse."""
        converse, direct = means.together(means["converse"], means["direct"])
        finding = self.ratio(
            "converse_held",
            direct - converse,
            direct,
            threshold=self.converse_threshold,
            unit=means.unit,
            generator=generator,
        )
        return Judged(finding, null=(1 - self.converse_threshold) * direct - converse, direct=direct)
