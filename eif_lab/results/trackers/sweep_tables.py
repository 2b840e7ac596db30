"""A sweep as a tracker shows it: jobs by desiderata, corrected over the sweep, beside the reference learners."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eif_lab.desiderata.format import spaced, statistic_text, verdict_text
from eif_lab.results.bounds import IN_NATS, Bounds
from eif_lab.results.manifest import DONE
from eif_lab.results.scalars import desideratum_key
from eif_lab.results.sweep import SweepResults

JOB, LEARNER = "job", "reference learner"
"""What a row is of."""

FINDING_COLUMNS = [
    "job", "kind", "desideratum", "verdict", "how", "verdict_alone", "statistic", "effect", "low", "high", "threshold",
    "chance", "p_adjusted", "p_violated_adjusted", "n", "unit", "strength", "explanation",
]  # fmt: skip
"""Columns of `findings`: all but ``verdict_alone`` are corrected over the sweep."""

EFFECT_COLUMNS = ["job", "effect", "low", "high", "threshold", "chance", "statistic", "verdict"]
"""Columns of `beside_learners`."""


def with_learners(sweep: SweepResults) -> pd.DataFrame:
    """The sweep's table with the rows of the bounding learners below it, and ``kind``, which tells them apart."""
    jobs, learners = sweep.table, Bounds().table(sweep.jobs)
    return pd.concat([jobs.assign(kind=JOB), learners.assign(kind=LEARNER)], ignore_index=True)


def scorecard(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each job and learner; for each desideratum that applies, its verdict and the effect of its headline.

    Args:
        table: Of `with_learners`.
    """
    names = dict.fromkeys(table.loc[table["finding"] == 0, "desideratum"])
    columns = [column for name in names for column in (name, desideratum_key("effect", name))]
    rows = []
    for (job, _), of_job in table.groupby(["job", "path"], sort=False):
        kind, status, strength = of_job[["kind", "status", "strength"]].iloc[0]
        ended = status if (of_job["desideratum"] == "").all() else DONE
        row = {"job": job, "kind": kind, "status": ended, "strength": strength}
        row |= {one.desideratum: one.status for one in of_job.itertuples() if one.desideratum}
        for one in of_job[of_job["finding"] == 0].itertuples():
            row |= {one.desideratum: verdict_text(one.verdict, one.how)}
            row |= {desideratum_key("effect", one.desideratum): one.effect}
        rows.append(row)
    return pd.DataFrame(rows, columns=["job", "kind", "status", "strength", *columns])


def findings(table: pd.DataFrame) -> pd.DataFrame:
    """Every finding of every job and learner, with the columns `FINDING_COLUMNS`.

    Args:
        table: Of `with_learners`.
    """
    return table.loc[table["status"] == DONE, FINDING_COLUMNS]


def beside_learners(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """For each desideratum one effect of every job and learner: the first that does not grow with what was taught.

    Args:
        table: Of `with_learners`.

    Yields:
        The desideratum, a title with the statistic and its bar, and the columns `EFFECT_COLUMNS`.
    """
    tested = table[(table["status"] == DONE) & ~table["statistic"].isin(IN_NATS)]
    for name, rows in tested.groupby("desideratum", sort=False):
        first = rows.groupby(["job", "path"], sort=False).head(1)
        shown = first[["statistic", "threshold"]].drop_duplicates().itertuples()
        bars = " or ".join(f"{statistic_text(one.statistic)} > {one.threshold:g}" for one in shown)
        yield str(name), f"{spaced(str(name))}: {bars}", first[EFFECT_COLUMNS]
