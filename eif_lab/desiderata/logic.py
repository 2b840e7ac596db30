"""Logic: what follows from a stimulus rises, and what does not follow stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import clean, clusters, require, require_units, texts
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.schema import NotApplicable, option


@dataclass
class Logic(Desideratum):
    """The relation-based test, one for all knowledge domains.

    - ``auc``: ``P(I(entailed) > I(foil)) + P(equal) / 2`` over matched pairs: the foil is the one that belongs to that
      entailed probe, under the same stimulus. Pooling all entailed probes against all foils, as an ordinary ROC curve
      does, would compare probes of different wording and base probability and stimuli of different strength, which
      matching is there to remove; that pooled value is given as a detail.
    - ``reach``: mean I(entailed) / mean I(direct).
    - ``converse_held``: 1 - mean I(converse) / mean I(direct); left out where the domain has no converse probes.

    Each world counts once: values are averaged within a world, then over worlds. Intervals: worlds resampled whole.
    p-values: sign-flip over worlds, which assumes independent worlds and, under the null, that (``auc``) a probe and
    its foil are exchangeable, so that the share of pairs won less 1/2 is symmetric about zero; (``reach``) the mean
    I(entailed) is; (``converse_held``) ``(1 - threshold) I(direct) - I(converse)`` is. Where direct influence is not
    clearly above zero nothing was taught: no p-values are given, and a note. Where noise was added, the clean samples
    are judged.

    Details: mean influence by relation, ``pooled_auc``, ``converse_leak``, and the number of matched pairs.

    Attributes:
        domain: Name of the knowledge domain, which names the verdict.
        auc_threshold: Probability of rising above the foil that counts as following.
        reach_threshold: Share of the direct influence that must arrive at what is entailed.
        converse_threshold: Share of the direct influence that must be kept from the converse.
    """

    group: ClassVar[str] = "desideratum.logic"
    claim: ClassVar[str] = "what follows from a stimulus rises, and what does not follow stays"

    domain: str = option("ontology")
    auc_threshold: float = option(0.6, at_least=0, below=1, hint="Try 0.6.")
    reach_threshold: float = option(0.1, at_least=0, hint="Try 0.1.")
    converse_threshold: float = option(0.5, at_most=1, hint="Try 0.5.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence = clean(influence)
        measured = influence.attrs.get("domain", self.domain)
        if measured != self.domain:
            raise NotApplicable(f"{self.group}.domain must be the dataset's, got {self.domain!r}. Try {measured}.")
        rows, entailed, foil = matched_pairs(influence)
        if not len(rows):
            raise NotApplicable(
                f"{self.domain} must have entailed probes with matched foils, got none. Try a text domain."
            )
        worlds, unit = clusters(influence)
        means = relation_means(influence, worlds)
        won = wins(influence.values[rows, entailed], influence.values[rows, foil])
        means["won"] = statistics.group_means(won, worlds[rows], len(means["direct"]))
        whole = np.isfinite(means["won"]) & np.isfinite(means["direct"])
        require_units(int(whole.sum()), f"{unit} with a direct probe and a matched pair", at_least=2)
        taught = {name: values[whole] for name, values in means.items()}
        direct, note = taught["direct"], self.nothing_taught(taught["direct"], unit, generator)
        findings = [
            self.finding(
                "auc",
                numerator=taught["won"],
                denominator=np.ones_like(direct),
                flipped=taught["won"] - 0.5,
                threshold=self.auc_threshold,
                generator=generator,
            ),
            self.finding(
                "reach",
                numerator=taught["entailed"],
                denominator=direct,
                flipped=taught["entailed"],
                threshold=self.reach_threshold,
                generator=generator,
            ),
        ]
        asked = np.isfinite(taught["converse"])
        held = self.converse_held(direct[asked], taught["converse"][asked], generator)
        if asked.sum() >= 2:
            findings.append(held)
        findings = [replace(finding, unit=unit, p_value=np.nan if note else finding.p_value) for finding in findings]
        details = {
            **{f"influence_{name}": finite_mean(values) for name, values in means.items() if name != "won"},
            "pooled_auc": pooled_auc(influence, rows, entailed, foil),
            "converse_leak": 1 - held.effect,
            "matched_pairs": float(len(rows)),
        }
        return Verdict(self.domain, self.claim, findings, self.alpha, details, note)

    def finding(
        self,
        statistic: str,
        *,
        numerator: Float[np.ndarray, " worlds"],
        denominator: Float[np.ndarray, " worlds"],
        flipped: Float[np.ndarray, " worlds"],
        threshold: float,
        generator: Generator,
    ) -> Finding:
        """A ratio of means over worlds; ``flipped`` holds what is symmetric about zero under the null."""
        n = len(numerator)
        effect = float(statistics.divide(numerator.sum(), denominator.sum()))
        low, high = self.interval(
            lambda counts: statistics.divide(counts @ numerator, counts @ denominator), n, generator
        )
        p_value = statistics.sign_flip_p(flipped, self.resamples, generator)
        return Finding(statistic, effect, low, high, p_value, n, "worlds", threshold)

    def converse_held(
        self, direct: Float[np.ndarray, " worlds"], converse: Float[np.ndarray, " worlds"], generator: Generator
    ) -> Finding:
        """Whether what is stated stays apart from its converse."""
        return self.finding(
            "converse_held",
            numerator=direct - converse,
            denominator=direct,
            flipped=(1 - self.converse_threshold) * direct - converse,
            threshold=self.converse_threshold,
            generator=generator,
        )

    def nothing_taught(self, direct: Float[np.ndarray, " worlds"], unit: str, generator: Generator) -> str:
        """Why there is nothing to judge, where the stimuli do not clearly teach what they say."""
        found = self.finding(
            "direct",
            numerator=direct,
            denominator=np.ones_like(direct),
            flipped=direct,
            threshold=0.0,
            generator=generator,
        )
        if found.low > 0 and found.p_value <= self.alpha:
            return ""
        return (
            f"direct influence is not clearly above zero (mean {found.effect:.3g}, interval {found.low:.3g} to"
            f" {found.high:.3g}, p {found.p_value:.3g}, {found.n} {unit}): the verdict is about nothing"
        )


def matched_pairs(
    influence: xr.DataArray,
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Rows, columns of entailed probes, and columns of their foils.

    Raises:
        NotApplicable: The array has no coordinate ``foil``.
    """
    require(influence, "foil", hint="Choose a text domain.")
    foil = influence["foil"].transpose("stimulus", "probe").values.astype(int)
    # `foil` holds a probe's index, which is its place no longer once probes were sorted or left out.
    column = influence.indexes["probe"].get_indexer(foil.ravel()).reshape(foil.shape)
    rows, entailed = np.nonzero((texts(influence, "relation") == "entailed") & (foil >= 0) & (column >= 0))
    return rows, entailed, column[rows, entailed]


def wins(entailed: Float[np.ndarray, " pairs"], foil: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """1 where the entailed probe rises above its foil, 1/2 where they are equal, else 0."""
    return (np.sign(entailed - foil) + 1) / 2


def relation_means(
    influence: xr.DataArray, worlds: Int[np.ndarray, " stimulus"]
) -> dict[str, Float[np.ndarray, " worlds"]]:
    """Mean influence on the probes of each relation, world by world; NaN where a world has none."""
    from eif_lab.data.task import RELATIONS

    relation = texts(influence, "relation")
    count = int(worlds.max(initial=-1)) + 1
    means = {}
    for name in RELATIONS:
        rows, columns = np.nonzero(relation == name)
        means[name] = statistics.group_means(influence.values[rows, columns], worlds[rows], count)
    return means


def pooled_auc(
    influence: xr.DataArray,
    rows: Int[np.ndarray, " pairs"],
    entailed: Int[np.ndarray, " pairs"],
    foil: Int[np.ndarray, " pairs"],
) -> float:
    """ROC AUC of all entailed probes against all their foils, regardless of which belongs to which."""
    return statistics.auc(influence.values[rows, entailed], influence.values[rows, foil])


def finite_mean(values: Float[np.ndarray, " worlds"]) -> float:
    """Mean over the worlds that have a value; NaN where none has."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")
