"""The table as a markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.attribution.judgement import CONFIDENCE, STATISTICS

SETTING = ["subject", "statistic", "steps", "learning_rate"]
HEADER = ("model and data", "statistic", "steps", "learning rate", "direct influence (nat)")


def page(table: pd.DataFrame, described: Mapping[str, Any], notes: Sequence[str]) -> str:
    """The page: the machine, missing settings, and a row for each setting and statistic.

    Args:
        table: A row for each statistic of each prediction in each setting.
        described: The machine and the run.
        notes: What could not be had.
    """
    predictions = list(dict.fromkeys(map(title, table["prediction"], table["readout"])))
    head = [*HEADER, *predictions]
    lines = [
        "# Attribution methods held to exact influence",
        "",
        *(f"- {name.replace('_', ' ')}: {value}" for name, value in described.items() if value is not None),
        "",
        f"Each cell is a statistic with its {CONFIDENCE:.0%} interval, of a prediction and the influence on the "
        "log-probability of the target (or, where the column says so, on its log-odds). docs/attribution.md says what "
        "each is defined to predict.",
        "",
        *(f"- {note}" for note in notes),
        *([""] if notes else []),
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
    ]
    for (subject, statistic, steps, rate), rows in table.groupby(SETTING, sort=False):
        cells = {title(row.prediction, row.readout): cell(row) for row in rows.itertuples()}
        name, direct = subject.replace("|", "\\|"), rows["direct_influence"].iloc[0]
        setting = (name, STATISTICS[statistic], str(steps), f"{rate:.3g}", f"{direct:.3g}")
        lines.append(f"| {' | '.join([*setting, *(cells.get(name, '') for name in predictions)])} |")
    return "\n".join([*lines, ""])


def title(prediction: str, readout: str) -> str:
    """What a prediction is called, with what it is held to where that is not the log-probability."""
    return prediction if readout == "log_prob" else f"{prediction}, {readout.replace('_', '-')}"


def cell(row: Any) -> str:
    """A statistic with its interval; "undefined" where there is none."""
    if pd.isna(row.effect):
        return "undefined"
    return f"{row.effect:.2f} [{row.low:.2f}, {row.high:.2f}]"
