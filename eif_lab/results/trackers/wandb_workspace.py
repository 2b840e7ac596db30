"""A project's workspace at Weights & Biases: sweeps beside learners, scorecard, verdicts by choice, heat maps.

Needs the package wandb-workspaces (``pip install 'eif-lab[workspace]'``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from eif_lab.results.scalars import (
    BESIDE_LEARNERS,
    BY_RELATION,
    DONE,
    FINDINGS,
    HEAT_MAP,
    RATE,
    SCORECARD,
    VERDICTS,
    config_key,
    desideratum_key,
)

COMPARED = ("method", "model", "dataset")
"""By what verdicts are grouped."""


def workspace(entity: str, project: str, name: str, desiderata: Sequence[str]) -> ws.Workspace:
    """The workspace, not yet saved.

    Args:
        entity: User or team.
        project: Where the runs are listed.
        name: What the workspace is called.
        desiderata: Those that get a place in it.
    """
    verdicts = [desideratum_key(what, one) for one in desiderata for what in ("verdict", "how")]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            sweeps(desiderata),
            scorecard(),
            *(comparison(part, desiderata) for part in COMPARED),
            heat_maps(),
            speed(),
        ],
        runset_settings=ws.RunsetSettings(
            pinned_columns=[f"summary:{key}" for key in ("strength", *verdicts, "pairs_per_second")]
        ),
    )


def sweeps(desiderata: Sequence[str]) -> ws.Section:
    """Each sweep as a whole: verdicts that are corrected over it, and effects, beside the reference learners.

    Args:
        desiderata: Bars for each.
    """
    tables = [wr.WeavePanelSummaryTable(table_name=name) for name in (SCORECARD, FINDINGS)]
    panels: list[Any] = [*tables, *map(beside_learners, desiderata)]
    return section("Sweeps, beside the reference learners", panels, columns=2)


def beside_learners(desideratum: str) -> wr.CustomChart:
    """The bars that a sweep's run logs of a desideratum (`eif_lab.results.trackers.sweep_tables`)."""
    chart = wr.CustomChart.from_table(
        f"{desideratum_key(BESIDE_LEARNERS, desideratum)}_table",
        chart_fields={"label": "job", "value": "effect"},
        chart_strings={"title": f"{desideratum.replace('_', ' ')}, beside the reference learners"},
    )
    chart.chart_name = "wandb/bar/v0"
    return chart


def scorecard() -> ws.Section:
    """Jobs beside each other: each finding with its interval, strength, and all in which they differ.

    The verdicts themselves are the columns of the list of runs.
    """
    panels: list[Any] = [
        wr.WeavePanelSummaryTable(table_name=VERDICTS),
        bars("strength of what was taught [nat]", "strength"),
        wr.RunComparer(diff_only="split"),
    ]
    return section("Scorecard", panels, columns=1)


def comparison(part: str, desiderata: Sequence[str]) -> ws.Section:
    """Each desideratum's mean verdict and mean effect, with their range over the runs that share a choice.

    Args:
        part: The group of choices, such as ``method``.
        desiderata: Two panels for each.
    """
    titles = {"score": "verdict (1 satisfied, 0 inconclusive, -1 violated)", "effect": "effect"}
    panels: list[Any] = [
        bars(f"{name.replace('_', ' ')}: {title}", desideratum_key(what, name), by=part)
        for name in desiderata
        for what, title in titles.items()
    ]
    return section(f"Verdict against {part}", panels, columns=2)


def heat_maps() -> ws.Section:
    """The influence arrays of all runs in one gallery, and their means by relation."""
    gallery = wr.MediaBrowser(
        title="influence: stimuli down, probes across",
        media_keys=[HEAT_MAP],
        num_columns=3,
        gallery_axis="run",
    )
    return section("Heat maps", [gallery, wr.WeavePanelSummaryTable(table_name=BY_RELATION)], columns=1)


def speed() -> ws.Section:
    """How fast runs measured, against each other and over their course."""
    panels: list[Any] = [
        bars("pairs of stimulus and probe per second", "pairs_per_second"),
        bars("pairs per second by method", "pairs_per_second", by="method"),
        bars("seconds of the whole job", "seconds"),
        wr.LinePlot(title="stimuli per second", x=DONE, y=[RATE], title_x="stimuli done"),
    ]
    return section("Speed", panels, columns=2)


def section(name: str, panels: list[Any], columns: int) -> ws.Section:
    """An open section that shows all its panels at once."""
    layout = ws.SectionLayoutSettings(columns=columns, rows=math.ceil(len(panels) / columns))
    return ws.Section(name=name, is_open=True, panels=panels, layout_settings=layout)


def bars(title: str, key: str, by: str | None = None) -> wr.BarPlot:
    """One number of the runs' summaries: a bar per run, or per choice of a group the mean and range of its runs."""
    shared = None if by is None else wr.Config(config_key(by))
    return wr.BarPlot(
        title=title,
        metrics=[key],
        groupby=shared,
        groupby_aggfunc="mean" if shared else None,
        groupby_rangefunc="minmax" if shared else None,
    )


def specification(workspace: ws.Workspace) -> dict[str, Any]:
    """The content that saving uploads, as plain containers; made without network or key."""
    view = workspace._to_model()
    return {
        "entity": view.entity,
        "project": view.project,
        "name": view.display_name,
        "spec": json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True)),
    }
