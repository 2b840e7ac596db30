"""Effects of all jobs for the page's script: one chart for each finding, one row for each dataset."""

from __future__ import annotations

import math
from typing import Any

from eif_lab.desiderata.format import spaced, statistic_text
from eif_lab.page.arrays import shorten
from eif_lab.page.facts import mark
from eif_lab.page.matrix import Matrix
from eif_lab.page.verdicts import LONGEST_TIP


def forests(told: Matrix) -> dict[str, Any]:
    """The findings that at least two jobs have.

    Returns:
        ``labels``, what rows of the matrix are called, in the order of their shapes; ``charts``, each with its
        ``title``, its ``bar`` and ``rows``: ``dataset``, ``label``, ``effect`` with the ends of its interval,
        ``chance``, ``verdict``, whether it was ``tested``, the ``bounds`` of the reference learners by rule, and a
        ``tip``. A number that is not finite is None or left out.
    """
    charts: dict[tuple[str, str], dict[str, Any]] = {}
    for dataset, row in told.jobs:
        for judged in row.verdicts.values():
            for one in judged.findings:
                if not all(math.isfinite(one[key]) for key in ("effect", "low", "high")):
                    continue
                title = f"{spaced(judged.desideratum)}: {statistic_text(one['statistic'])}"
                chart = charts.setdefault(
                    (judged.desideratum, one["statistic"]),
                    {"title": title, "bar": float(one["threshold"]), "rows": []},
                )
                bounds = {rule: float(each["effect"]) for rule, each in one["bounds"].items()}
                lines = [row.name, f"{one['bar']}: {one['interval']}", mark(one["finding_verdict"], one["finding_how"])]
                lines += [f"{each['learner']}: {each['interval']}" for each in one["bounds"].values()]
                chart["rows"].append(
                    {
                        "dataset": dataset,
                        "label": row.label,
                        **{key: float(one[key]) for key in ("effect", "low", "high")},
                        "chance": float(one["chance"]) if math.isfinite(one["chance"]) else None,
                        "verdict": one["finding_verdict"],
                        "tested": math.isfinite(one["finding_p_value"]),
                        "bounds": {rule: effect for rule, effect in bounds.items() if math.isfinite(effect)},
                        "tip": shorten("\n".join(lines), LONGEST_TIP),
                    }
                )
    labels = list(dict.fromkeys(row.label for _, row in told.jobs if not row.ended))
    return {"labels": labels, "charts": [chart for chart in charts.values() if len(chart["rows"]) > 1]}
