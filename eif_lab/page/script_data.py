"""Data for the page's script: the arrays of the first jobs, their samples and their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eif_lab.data.task import RELATIONS
from eif_lab.desiderata.selection import texts
from eif_lab.page.arrays import describe_array, sample_table, shares
from eif_lab.page.contents import Budget, Contents
from eif_lab.page.pictures import Pictures, Sheet
from eif_lab.results.job import JobResults
from eif_lab.results.trackers.heat_map import ANCHORS, UNDEFINED


def describe_arrays(
    jobs: Sequence[JobResults], names: Sequence[str], budget: Budget, pictures: Pictures, contents: Contents
) -> dict[str, Any]:
    """Data for the page's script: the arrays of the first jobs that have one, their samples and pictures."""
    stored = [(job, name) for job, name in zip(jobs, names) if job.has_array][: budget.arrays]
    sizes = [
        job.influence.sizes["stimulus"] * job.influence.sizes["probe"]
        for job, _ in stored
        for _ in range(job.influence.sizes["readout"])
    ]
    granted = iter(shares(sizes, budget.cells))
    described = [
        describe_samples_and_array(job, name, granted, budget=budget, contents=contents, pictures=pictures)
        for job, name in stored
    ]
    return {
        "jobs": described,
        "relations": [*RELATIONS, "undeclared"],
        "colours": ANCHORS.astype(int).tolist(),
        "undefined": list(UNDEFINED),
    }


def describe_samples_and_array(
    job: JobResults, name: str, granted: Iterable[int], *, budget: Budget, contents: Contents, pictures: Pictures
) -> dict[str, Any]:
    """One job for the script; see `describe_arrays`."""
    influence = job.influence
    cells = [count for _, count in zip(range(influence.sizes["readout"]), granted)]
    described, shown = describe_array(influence, cells, budget.characters, contents)
    ids = {dim: texts(influence, f"{dim}_id") for dim in ("stimulus", "probe")}
    wanted = [*ids["stimulus"], *ids["probe"][shown], *ids["probe"]]
    # only images have classes
    pictured = "stimulus_class" in influence.coords
    config = job.manifest.config
    sheet, note = pictures.draw(config, [str(one) for one in wanted], budget.pictures) if pictured else (None, "")
    samples = {}
    for dim, names in ids.items():
        table = sample_table(influence, dim, budget.characters)
        if sheet is not None:
            table["pictures"] = [sheet.places.get(str(one), -1) for one in names]
        samples[dim] = contents.add(table)
    return {
        "name": name,
        "path": str(job.path),
        **described,
        "samples": samples,
        "sheet": sheet and describe_sheet(sheet, contents),
        "pictures_note": note,
    }


def describe_sheet(sheet: Sheet, contents: Contents) -> dict[str, Any]:
    """Where the script finds the pictures."""
    place = {"tile": sheet.tile, "columns": sheet.columns, "rows": sheet.rows}
    return {"picture": contents.add_picture(sheet.content), **place}
