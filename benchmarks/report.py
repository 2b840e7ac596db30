"""Rows of results: printed as they come, and written with the machine's description."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import Neighbours, machine
from benchmarks.timing import Ratio


@dataclass(frozen=True)
class Row:
    """One result.

    Attributes:
        what: What was measured, in words.
        value: The number; None where it could not be measured.
        unit: Of the value: ``x`` for a ratio.
        goal: ``<= 1.15`` or ``>= 10``; empty where there is none.
        low, high: The smallest and the largest round.
        fastest: The ratio of the fastest times.
        seconds: Median times of what was compared, by name.
        note: What a reader must know, or why there is no value.
    """

    what: str
    value: float | None
    unit: str = "x"
    goal: str = ""
    low: float | None = None
    high: float | None = None
    fastest: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def met(self) -> str:
        """``yes``, ``no``, or nothing where there is no goal or no value."""
        if not self.goal or self.value is None:
            return ""
        relation, bound = self.goal.split()
        return "yes" if (self.value <= float(bound)) == (relation == "<=") or self.value == float(bound) else "no"


def ratio_row(what: str, ratio: Ratio, goal: str = "", seconds: dict[str, float] | None = None, note: str = "") -> Row:
    """A row from a ratio of times."""
    median, low, high, fastest = ratio
    return Row(what, median, goal=goal, low=low, high=high, fastest=fastest, seconds=seconds or {}, note=note)


def attempt(what: str, rows: Iterator[Row], goal: str = "") -> Iterator[Row]:
    """The rows as they are measured; where that fails, one that says why."""
    try:
        yield from rows
    except Exception as error:  # a table with a gap that is explained is better than none
        yield Row(what, None, goal=goal, note=f"not measured: {reason(error)}")


def reason(error: Exception) -> str:
    """An error as one short line that names no path of this machine."""
    lines = str(error).strip().splitlines() or [""]
    text = re.sub(r"(?:/[\w.\-]+){2,}/?", "<path>", f"{type(error).__name__}: {lines[-1]}")
    return text[:200]


class Report:
    """Collects rows, prints and writes each as it comes: a machine may be taken away at any time.

    Args:
        path: Without suffix: ``.json`` and ``.md`` are written.
        title: What the markdown page is called.
        command: How to repeat it.
        judged: Whether goals apply; they are for the full sizes.
    """

    def __init__(self, path: Path, title: str, command: str, judged: bool = True) -> None:
        self.path, self.title, self.command, self.judged = path, title, command, judged
        self.parts: dict[str, list[Row]] = {}
        self.others: dict[str, float | None] = {}
        self.later: dict[str, str] = {}
        self.started = time.perf_counter()
        self.machine = self.now = machine()

    @classmethod
    def kept(cls, path: Path, title: str) -> Report:
        """The table that was written before, so that parts of it can be measured again on the same kind of machine.

        Raises:
            ValueError: There is none, or it was written on another kind of machine.
        """
        if not Path(f"{path}.json").exists():
            raise ValueError(f"{path}.json is not there")
        table = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        report = cls(path, title, table["machine"].pop("command"))
        for name in SAME:
            if (found := table["machine"].get(name)) != report.machine[name]:
                raise ValueError(f"{path}.json has {name} {found!r}, not {report.machine[name]!r}")
        report.started -= 60 * table["machine"].pop("minutes")
        report.machine = table["machine"]
        for part, found in table["parts"].items():
            report.others[part], report.later[part] = found["others"], found.get("later", "")
            report.parts[part] = [Row(**{cell: row[cell] for cell in row if cell != "met"}) for row in found["rows"]]
        return report

    def add(self, part: str, rows: Iterator[Row]) -> None:
        """Measure one part; each row is written as it comes, in the place of what the table had of this part."""
        print(f"\n{part}", flush=True)
        self.parts[part] = []
        self.later[part] = "" if self.now is self.machine else f"{self.now['date']}, commit {self.now['commit']}"
        neighbours = Neighbours()
        for measured in rows:
            row = measured if self.judged else replace(measured, goal="")
            self.parts[part].append(row)
            self.others[part] = neighbours.share()
            print("  " + "  ".join(cell for cell in cells(row) if cell), flush=True)
            self.write()
        print("  " + "".join(self.noise(part)), flush=True)

    def write(self) -> None:
        """Write both files with all rows measured so far."""
        minutes = round((time.perf_counter() - self.started) / 60, 1)
        described = self.machine | {"command": self.command, "minutes": minutes}
        parts = {
            part: {
                "others": self.others[part],
                "later": self.later[part],
                "rows": [asdict(row) | {"met": row.met} for row in rows],
            }
            for part, rows in self.parts.items()
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{self.path}.json").write_text(
            json.dumps({"machine": described, "parts": parts}, indent=1) + "\n", encoding="utf-8"
        )
        Path(f"{self.path}.md").write_text(self.markdown(described), encoding="utf-8")

    def markdown(self, described: dict[str, Any]) -> str:
        """The page."""
        lines = [f"# {self.title}", ""]
        lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in described.items() if value is not None]
        for part, rows in self.parts.items():
            lines += [
                "",
                f"## {part}",
                "",
                *self.noise(part),
                "| " + " | ".join(HEADER) + " |",
                "|" + " --- |" * len(HEADER),
            ]
            lines += ["| " + " | ".join(cell.replace("|", "/") for cell in cells(row)) + " |" for row in rows]
        return "\n".join([*lines, ""])

    def noise(self, part: str) -> list[str]:
        """When it was measured, where not with the rest, and what else ran meanwhile, where the system tells."""
        share, later = self.others[part], self.later[part]
        told = [f"Measured by itself: {later}."] * bool(later)
        told += [] if share is None else [f"Other programs took {share:.0%} of the cores meanwhile."]
        return [" ".join(told), ""] * bool(told)


SAME = ("processor", "instructions", "cores", "threads", "threads_wait", "accelerator", "system", "versions")
"""Of a machine, what parts of one table have in common."""

HEADER = ("what", "median", "smallest to largest round", "fastest", "goal", "met", "seconds (medians)", "note")


def cells(row: Row) -> list[str]:
    """The row's cells, in the header's order."""
    value = "none" if row.value is None else f"{three_digits(row.value)} {row.unit}".replace(" x", "x")
    rounds = "" if row.low is None or row.high is None else f"{three_digits(row.low)} to {three_digits(row.high)}"
    fastest = "" if row.fastest is None else three_digits(row.fastest)
    times = ", ".join(f"{name} {three_digits(seconds)}" for name, seconds in row.seconds.items())
    return [row.what, value, rounds, fastest, row.goal, row.met, times, row.note]


def three_digits(value: float) -> str:
    """Three significant digits; whole numbers from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
