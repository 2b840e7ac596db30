"""``eif-lab figures FIGURE RESULTS ...``: draw a figure of the paper, with its caption."""

from __future__ import annotations

import importlib
from pathlib import Path

from eif_lab.commands.answer import make_parser, print_result
from eif_lab.figures.caption import caption
from eif_lab.figures.runs import find_jobs
from eif_lab.figures.style import paper_style, save

FIGURES = (
    "symmetry",
    "asymmetry",
    "noise",
    "distance",
    "sparsity",
    "domains",
    "prompting",
    "two-by-two",
    "relations",
    "forgetting",
    "strength",
    "methods",
    "first-order",
    "seeds",
)


def draw_figure(name: str, folders: list[Path], output: Path) -> Path:
    """Draw one figure from the jobs in some folders, and write it with its caption.

    Args:
        name: One of `FIGURES`.
        folders: Jobs or sweeps.
        output: Where ``<name>.png``, ``<name>.pdf`` and ``<name>.md`` go.

    Raises:
        ConfigError: The folders do not hold what the figure shows.
    """
    module = importlib.import_module(f"eif_lab.figures.{name.replace('-', '_')}")
    jobs = module.select(find_jobs(folders))
    with paper_style():
        return save(module.draw(jobs), caption(f"figure-{name}", module.SHOWS, jobs), output, name)


def main(arguments: list[str]) -> int:
    """Draw what the command line asks for.

    Returns:
        0; 2 for a mistake, reported in one line.
    """
    parser = make_parser("figures")
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("results", nargs="+", type=Path, help="folders of jobs or sweeps")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/figures"), help="where the figure goes (%(default)s)"
    )
    args = parser.parse_args(arguments)
    return print_result(lambda: draw_figure(args.figure, args.results, args.output))
