"""``eif-lab report DIRECTORY``: one HTML page about a job or a sweep.

A results folder may be somebody else's: nothing that it names is run, and no folder that it names is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from eif_lab.commands.answer import make_parser, print_result
from eif_lab.errors import rule_error

if TYPE_CHECKING:
    from eif_lab.results.job import JobResults
    from eif_lab.results.sweep import SweepResults
    from eif_lab.results.trackers.tracker import SweepTracker

CLAIM_KEYS = ("claim", "what", "effect", "low", "high", "verdict", "agrees")


def main(arguments: list[str]) -> int:
    """Write the page.

    Returns:
        0; 2 for a mistake in the command line, reported in one line.
    """
    parser = make_parser("report")
    parser.add_argument("directory", type=Path, help="what a finished run or sweep left")
    parser.add_argument("--output", type=Path, help="the page (<directory>/report.html)")
    parser.add_argument("--claims", type=Path, help="claims.json or claims.md, shown as the last section")
    folders = "a folder that pictures may be taken from, beside EIF_LAB_DATA; may be repeated"
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="FOLDER", help=folders)
    modules = "a module of yours whose datasets the results name, which is imported; may be repeated"
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help=modules)
    beside = "print the verdicts, and beside them those of the two bounding reference learners"
    parser.add_argument("--learners", action="store_true", help=beside)
    record = "have the tracker of a sweep's jobs (W&B) record it as a whole: verdicts as corrected, beside the learners"
    parser.add_argument("--track", action="store_true", help=record)
    args = parser.parse_args(arguments)
    from eif_lab.page.page import write_page
    from eif_lab.page.pictures import Pictures
    from eif_lab.results.sweep import open_results

    def write() -> str:
        claims = None if args.claims is None else read_claims(args.claims)
        output = args.output or args.directory / "report.html"
        for folder in args.data:
            if not folder.is_dir():
                raise rule_error("--data", "be a folder", str(folder))
        pictures = Pictures(args.data, args.plugin)
        results = open_results(args.directory)
        trackers = sweep_trackers(results, pictures.trusted) if args.track else []
        size = write_page(results, output, claims, pictures)
        if args.learners:
            print_with_learners(results, pictures.trusted)
        for tracker in trackers:
            tracker.record_sweep(cast("SweepResults", results))
        return f"page: {output} ({size / 1e6:.1f} MB)"

    return print_result(write)


def print_with_learners(results: JobResults | SweepResults, trusted: Sequence[str]) -> None:
    """Print the verdicts of a job or a sweep, and beside them those on the two bounding reference learners.

    Args:
        results: As `eif_lab.results.sweep.open_results` gives them.
        trusted: Modules and packages whose desiderata may be imported.
    """
    import pandas as pd

    from eif_lab.console.tables import print_job, print_sweep
    from eif_lab.results.bounds import Bounds
    from eif_lab.results.job import JobResults

    bounds = Bounds(trusted)
    if isinstance(results, JobResults):
        print_job(results, learners=bounds.of(results))
    else:
        print_sweep(pd.concat([results.table, bounds.table(results.jobs)]))


def sweep_trackers(results: JobResults | SweepResults, trusted: Sequence[str]) -> list[SweepTracker]:
    """The trackers of a sweep's jobs that record it as a whole, each once.

    Args:
        results: As `eif_lab.results.sweep.open_results` gives them.
        trusted: Modules and packages whose trackers may be imported.

    Raises:
        ConfigError: It is no sweep, or no tracker of its jobs records sweeps.
    """
    from eif_lab.options import choice
    from eif_lab.results.job import JobResults
    from eif_lab.results.trackers.tracker import SweepTracker

    if isinstance(results, JobResults):
        raise rule_error("--track", "be given for a sweep, since a job has a run of its own", str(results.path))
    chosen = [job.manifest.config.get("tracker") for job in results.jobs]
    different = [one for place, one in enumerate(chosen) if one and one not in chosen[:place]]
    trackers = [choice("tracker", one, trusted) for one in different]
    able = [one for one in trackers if isinstance(one, SweepTracker)]
    if not able:
        rule = "be given for jobs whose tracker records sweeps, as tracker=wandb does"
        raise rule_error("--track", rule, str(results.path), "Try tracker=wandb, and give the sweep again.")
    return able


def read_claims(file: Path) -> str | list[dict[str, Any]]:
    """The table of claims: rows where the file is JSON, else its text.

    Raises:
        ConfigError: The JSON is no list of rows with the keys of a claim.
        OSError: The file cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise rule_error("claims", "be text in UTF-8", str(file), f"{error}.") from None
    if file.suffix != ".json":
        return text
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise rule_error("claims", "be JSON", str(file), f"{error}.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(CLAIM_KEYS) <= set(row) for row in rows):
        raise rule_error("claims", f"be a list of rows with {', '.join(CLAIM_KEYS)}", str(file), "Make it again.")
    return rows
