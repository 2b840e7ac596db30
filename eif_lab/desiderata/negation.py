"""Negation: what a stimulus contradicts falls, and does not rise with what it entails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import xarray as xr
from numpy.random import Generator
from scipy import stats

from eif_lab.desiderata.matched_pairs import discrimination
from eif_lab.desiderata.relation_test import GuardedFinding, RelationEffects, RelationTest
from eif_lab.desiderata.selection import clean, require_units
from eif_lab.desiderata.statistics import divide
from eif_lab.desiderata.verdict import Verdict
from eif_lab.options import option


@dataclass
class Negation(RelationTest):
    """Whether a negation is read, for every domain whose stimuli contradict some of their probes.

    As in `Logic`, every influence is taken less its control:

    - ``fall``: minus the mean of what is contradicted, in the readout's unit; its bar is 0. The control takes away
      what any training on such a sentence does to all sentences of that form, so that a fall which all of them share
      is none.
    - ``gap``: what is entailed less what is contradicted, over the strength, all three of the stimuli that have both;
      left out where fewer than two worlds have such a stimulus. A network that does not read the "not" raises both
      alike.

    Units, tests and what happens where nothing was taught are those of `Logic`.

    Details: ``negation_leak``, what is contradicted over the strength of the same stimuli, above zero where the
    opposite of what was taught rises; ``rising_together``, the Spearman correlation, over stimuli, of what is entailed
    with what is contradicted, near 1 where the two are moved as one and near -1 where one falls as the other rises;
    ``influence_<relation>``, ``strength``; and what `eif_lab.desiderata.matched_pairs.discrimination` returns, ``auc``
    being how often what is contradicted falls below its foil.

    Attributes:
        gap_threshold: Share of the strength that must lie between what follows and what is contradicted.
    """

    group: ClassVar[str] = "desideratum.negation"
    claim: ClassVar[str] = "what a stimulus contradicts falls, and does not rise with what it entails"

    gap_threshold: float = option(0.2, at_least=0, hint="Try 0.2.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence = clean(influence)
        return self.verdict(RelationEffects.measure(influence), discrimination(influence, "contradicted", sign=-1))

    def verdict(self, influence: RelationEffects, details: Mapping[str, float] = MappingProxyType({})) -> Verdict:
        """The verdict on how stimuli moved their own probes.

        Args:
            influence: Their influence by relation.
            details: Added to the verdict's own.
        """
        influence.require("contradicted")
        contradicted, strength = influence.world_means(influence["contradicted"], influence.strength)
        require_units(len(strength), f"{influence.unit} with a contradicted and a stated probe", at_least=2)
        fall = GuardedFinding(self.mean("fall", -contradicted, influence.unit), strength)
        findings, note = self.withhold_untaught([fall, *self.gap(influence)], influence.unit)
        details = {
            **influence.averages(),
            "strength": float(strength.mean()),
            "negation_leak": float(divide(contradicted.sum(), strength.sum())),
            "rising_together": rising_together(influence),
            **details,
        }
        return Verdict("negation", self.claim, findings, self.alpha, details, note)

    def gap(self, influence: RelationEffects) -> list[GuardedFinding]:
        """How far what follows is above what is contradicted; nothing where fewer than two worlds have both."""
        entailed, contradicted, strength = influence.world_means(
            influence["entailed"], influence["contradicted"], influence.strength
        )
        if len(strength) < 2:
            return []
        apart = entailed - contradicted
        finding = self.ratio("gap", apart, strength, unit=influence.unit, threshold=self.gap_threshold)
        return [GuardedFinding(finding, strength)]


def rising_together(influence: RelationEffects) -> float:
    """Spearman correlation over the stimuli that have both; NaN where there are fewer than two or either is
    constant.
    """
    both = np.isfinite(influence["entailed"]) & np.isfinite(influence["contradicted"])
    follows, denied = influence["entailed"][both], influence["contradicted"][both]
    if len(follows) < 2 or np.ptp(follows) == 0 or np.ptp(denied) == 0:
        return float("nan")
    return float(stats.spearmanr(follows, denied).statistic)
