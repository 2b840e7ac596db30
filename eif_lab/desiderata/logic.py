"""Logic: what follows from a stimulus rises, and what does not follow stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import xarray as xr
from numpy.random import Generator

from eif_lab.desiderata.matched_pairs import discrimination
from eif_lab.desiderata.relation_test import GuardedFinding, RelationEffects, RelationTest
from eif_lab.desiderata.selection import clean, require_units
from eif_lab.desiderata.verdict import Verdict
from eif_lab.options import option


@dataclass
class Logic(RelationTest):
    """One test for all knowledge domains; the array's dataset says which one it is.

    Every influence is taken less its control, the matched foils under the same stimulus
    (`eif_lab.data.contrast.less_control`), so that what any such training does to any such sentence cancels:

    - ``gain``: the mean of what is entailed, in the readout's unit; its bar is 0.
    - ``reach``: gain over the strength of the same stimuli, which is what they were taught, less its control too.
    - ``converse_held``: 1 less the converse over the strength, both of the stimuli that have a converse; left out where
      fewer than two worlds have one.

    Stimuli of a world can be of several kinds: one entails something, another has a converse only. Each ratio is
    therefore one over the same stimuli: how well a statement was learnt that entails nothing says nothing about how far
    another one reaches, and the reverse. ``n`` is the number of worlds that have such stimuli.

    Each world counts once: cells are averaged within a stimulus, stimuli within a world, then worlds. ``gain`` is
    tested by t over worlds, the ratios by Fieller's test. Where the strength of the stimuli that a finding is about is
    not clearly above zero, nothing was taught: that finding has no p-value, and a note says so. Where noise was added,
    the clean samples are judged.

    Details: ``influence_<relation>``, mean influence by relation over all stimuli with nothing subtracted;
    ``strength``, of the stimuli that ``gain`` is about; ``auc``, ``auc_same_subject``, ``auc_same_words``,
    ``lexical_auc`` and ``matched_pairs``, see `eif_lab.desiderata.matched_pairs.discrimination`.

    Attributes:
        reach_threshold: Share of the strength that must arrive at what is entailed.
        converse_threshold: Share of the strength that must be kept from the converse.
    """

    group: ClassVar[str] = "desideratum.logic"
    claim: ClassVar[str] = "what follows from a stimulus rises, and what does not follow stays"

    reach_threshold: float = option(0.1, at_least=0, hint="Try 0.1.")
    converse_threshold: float = option(0.5, at_most=1, hint="Try 0.5.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence = clean(influence)
        return self.verdict(RelationEffects.measure(influence), discrimination(influence, "entailed"))

    def verdict(self, influence: RelationEffects, details: Mapping[str, float] = MappingProxyType({})) -> Verdict:
        """The verdict on how stimuli moved their own probes.

        Args:
            influence: Their influence by relation.
            details: Added to the verdict's own.
        """
        influence.require("entailed")
        entailed, strength = influence.world_means(influence["entailed"], influence.strength)
        require_units(len(strength), f"{influence.unit} with an entailed and a stated probe", at_least=2)
        reach = self.ratio("reach", entailed, strength, unit=influence.unit, threshold=self.reach_threshold)
        tested = [
            GuardedFinding(self.mean("gain", entailed, influence.unit), strength),
            GuardedFinding(reach, strength),
            *self.converse_held(influence),
        ]
        findings, note = self.withhold_untaught(tested, influence.unit)
        details = {**influence.averages(), "strength": float(strength.mean()), **details}
        return Verdict("logic", self.claim, findings, self.alpha, details, note)

    def converse_held(self, influence: RelationEffects) -> list[GuardedFinding]:
        """Whether the converse stays; nothing where fewer than two worlds have one."""
        converse, strength = influence.world_means(influence["converse"], influence.strength)
        if len(strength) < 2:
            return []
        kept = strength - converse
        finding = self.ratio("converse_held", kept, strength, unit=influence.unit, threshold=self.converse_threshold)
        return [GuardedFinding(finding, strength)]
