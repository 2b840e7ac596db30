"""Hold one influence array to several desiderata, and correct their p-values over a sweep."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from eif_lab.configs import named_choice, names
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.runs import of_every_run, over_runs
from eif_lab.desiderata.selection import each_run, prepare, require, select_readout, texts
from eif_lab.desiderata.strength import NOT_ABOVE_ZERO, NOTHING_TAUGHT, TAUGHT_ALPHA, strength_of
from eif_lab.desiderata.verdict import SATISFIED, Finding, Verdict
from eif_lab.errors import NotApplicable, must_be, one_seed, rule_error, unknown_name

log = logging.getLogger(__name__)

DIMS = ("seed", "stimulus", "step", "probe", "readout")
"""Those that an influence array may have."""

OF_PAIRS = ("relation", "foil", "distance", "read")
"""How the names of the coordinates begin that are about a stimulus and a probe."""

ANNOTATE = "Try eif_lab.annotate(scores, task)."


def judge(
    influence: xr.DataArray,
    desiderata: str | Desideratum | Sequence[str | Desideratum] | None = None,
    *,
    readout: str | None = None,
    seed: int = 0,
) -> list[Verdict]:
    """Hold an array to desiderata.

    Args:
        influence: Dims (stimulus, probe), and any of seed, step and readout, with the coordinates of `annotate`. The
            last step is judged. Several seeds of the same samples are runs, each of which is judged, and the verdicts
            are those over all of them (`eif_lab.desiderata.runs`).
        desiderata: By name, as in ``conf/desideratum``, or as instances; all of them where None. One that does not
            apply is left out, which is logged.
        readout: The readout judged; the first where None.
        seed: Of what is drawn.

    Returns:
        One verdict for each desideratum that applies. Where strength is not clearly above zero they are inconclusive,
        and their ``note`` says why.

    Raises:
        ConfigError: There is no such desideratum or readout, the array is not one of `annotate`, or its seeds are of
            other samples.
        NotApplicable: The array lacks what every desideratum needs: it is finite for no stimulus, does not vary, or has
            no relations.

    Examples:
        >>> from eif_lab import annotate, load_task
        >>> task = load_task("ontology", worlds=8, stimuli_per_world=2)
        >>> noise = np.random.default_rng(0).normal(scale=0.1, size=task.relation.shape)
        >>> scores = np.isin(task.relation, ("direct", "entailed")) + noise
        >>> for verdict in judge(annotate(scores, task), "logic"):
        ...     print(verdict.desideratum, verdict.outcome())
        logic satisfied
    """
    must_be("influence", influence, xr.DataArray, "an annotated DataArray", ANNOTATE)
    must_be_numbers(influence)
    must_be_annotated(influence)
    seed = one_seed(seed)
    claims = names("desideratum") if desiderata is None else desiderata
    several = [claims] if isinstance(claims, str | Desideratum) else claims
    must_be("desiderata", several, Sequence, "names or instances of desiderata", "Try 'logic'.")
    for one in several:
        must_be("desiderata", one, str | Desideratum, "names or instances of desiderata", "Try 'logic'.")
    called = [one if isinstance(one, str) else type(one).__name__ for one in several]
    if repeated := next((name for name in called if called.count(name) > 1), ""):
        hint = "Judge those of one kind one at a time."
        raise rule_error("desiderata", "be asked once each", f"{repeated} {called.count(repeated)} times", hint)
    chosen = {
        name: named_choice("desideratum", one, field=f"desideratum.{one}") if isinstance(one, str) else one
        for name, one in zip(called, several)
    }
    first = str(np.atleast_1d(influence["readout"].values)[0]) if "readout" in influence.coords else ""
    judged = readout or first
    runs = [judge_run(run, chosen, seed, judged) for run in each_run(influence)]
    return [over_runs(each) for each in of_every_run(runs)]


def judge_run(
    influence: xr.DataArray, desiderata: Mapping[str, Desideratum], seed: int, readout: str
) -> dict[str, Verdict]:
    """The verdicts on one run, by name; the reasons of desiderata that do not apply are logged."""
    prepare(select_readout(influence, readout))  # what nothing can be said of, no desideratum need be asked about
    verdicts, reasons = evaluate_all(influence, desiderata, seed, readout)
    for name, reason in reasons.items():
        log.info("%s does not apply: %s", name, reason)
    judged = withhold_if_untaught(verdicts, strength_of(influence, readout))
    return {verdict.desideratum: verdict for verdict in judged}


def must_be_numbers(influence: xr.DataArray) -> None:
    """Refuse an array that is none of influence.

    Raises:
        ConfigError: It lacks a dimension or has another one, has no cells, or holds something else than real numbers.
    """
    if not {"stimulus", "probe"} <= set(influence.dims):
        raise rule_error("influence", "have the dims stimulus and probe", influence.dims, ANNOTATE)
    if not set(influence.dims) <= set(DIMS):
        raise rule_error("influence", f"have no dims but {', '.join(DIMS)}", influence.dims, "Select the others first.")
    if influence.dtype.kind not in "fiu" or not influence.size:
        received = f"{influence.dtype} of shape {influence.shape}"
        raise rule_error("influence", "hold at least one real number", received, ANNOTATE)


def must_be_annotated(influence: xr.DataArray) -> None:
    """Refuse an array whose coordinates are not those that a task gives.

    Raises:
        NotApplicable: The names of the samples, or their relations, are missing.
        ConfigError: A coordinate is along other dimensions, or holds something else.
    """
    from eif_lab.data.task import RELATIONS  # imports torch, which reading results does not need

    require(influence, "stimulus_id", "probe_id", "relation", hint=ANNOTATE)
    for name, coordinate in influence.coords.items():
        first, pair = str(name).partition("_")[0], {"stimulus", "probe"}
        wanted = pair if first in OF_PAIRS else {first} & pair
        if wanted and pair & set(coordinate.dims) != wanted:
            rule = f"have the dims {' and '.join(sorted(wanted))} alone"
            raise rule_error(f"influence.{name}", rule, coordinate.dims, ANNOTATE)
        if first == "foil" and coordinate.dtype.kind not in "iu":
            rule = "hold places of probes, -1 for none"
            raise rule_error(f"influence.{name}", rule, str(coordinate.dtype), ANNOTATE)
    unknown = set(texts(influence, "relation").ravel().tolist()) - set(RELATIONS)
    if unknown:
        raise unknown_name("influence.relation", sorted(unknown)[0], RELATIONS)


def withhold_if_untaught(verdicts: Sequence[Verdict], strength: Finding) -> list[Verdict]:
    """The verdicts; without p-values, and so inconclusive, where stimuli were not clearly taught what they say.

    Args:
        verdicts: Of one array.
        strength: That array's `strength_of`.
    """
    if strength.verdict(TAUGHT_ALPHA) == SATISFIED:
        return list(verdicts)
    interval = f"{strength.effect:.3g} [{strength.low:.3g}, {strength.high:.3g}]"
    p = "no p-value" if math.isnan(strength.p_value) else f"p {strength.p_value:.2g} > {TAUGHT_ALPHA:g}"
    note = f"strength {NOT_ABOVE_ZERO} ({interval}, {p}, {strength.n} {strength.unit}): {NOTHING_TAUGHT}"
    return [
        dataclasses.replace(verdict, note=note, findings=[one.without_p_values() for one in verdict.findings])
        for verdict in verdicts
    ]


def evaluate_all(
    influence: xr.DataArray, desiderata: Mapping[str, Desideratum], seed: int, readout: str = "log_prob"
) -> tuple[list[Verdict], dict[str, str]]:
    """Verdicts on the first seed, the last step and one readout.

    Args:
        influence: Dims (stimulus, probe), and any of seed, step and readout.
        desiderata: By name; a verdict goes by the name given here.
        seed: Of what is drawn.
        readout: The readout judged.

    Returns:
        The verdicts, in the order given, and the reason of each desideratum that does not apply.

    Raises:
        ConfigError: The array has no such readout.
    """
    selected = select_readout(influence, readout)
    verdicts, reasons = [], {}
    for name, desideratum in desiderata.items():
        try:
            verdicts.append(dataclasses.replace(desideratum.evaluate(selected, seed), desideratum=name))
        except NotApplicable as reason:
            reasons[name] = str(reason)
    return verdicts, reasons


def adjust(p_values: Sequence[float] | Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """p-values corrected for the false discovery rate (Benjamini-Hochberg); NaN stays NaN and counts as no test.

    Source: Benjamini and Hochberg (1995), Controlling the false discovery rate.
    """
    adjusted = np.array(p_values, dtype=float)
    tested = ~np.isnan(adjusted)
    if tested.any():
        adjusted[tested] = stats.false_discovery_control(adjusted[tested], method="bh")
    return adjusted
