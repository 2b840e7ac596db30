"""``eif-lab pretrain --output DIRECTORY``: make phi3-tiny or phi3-stored, with any option of its recipe as a flag."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from argparse import ArgumentError, ArgumentParser, BooleanOptionalAction
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eif_lab.commands.answer import make_parser, print_result


def main(arguments: list[str]) -> int:
    """Run the recipe.

    Returns:
        0; 2 for a mistake in the command line, reported in one line.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait ruin a shared machine
    from eif_lab.jobs.device import must_be_usable
    from eif_lab.models.language.phi3 import OURS, STORED, TINY
    from eif_lab.models.tiny.pretraining import pretrain
    from eif_lab.models.tiny.recipe import Pretraining, Storing
    from eif_lab.models.tiny.stored_training import pretrain_stored

    recipes: dict[str, tuple[Any, Any]] = {TINY: (Pretraining, pretrain), STORED: (Storing, pretrain_stored)}
    parser = make_parser("pretrain")
    parser.add_argument("--recipe", choices=list(recipes), default=TINY, help="which model is made (%(default)s)")
    parser.add_argument("--output", type=Path, help="directory that the result goes to (that of the package)")
    parser.add_argument("--device", default="cpu", help="as torch names it (%(default)s)")
    options, make = recipes[choose_recipe(arguments, list(recipes))]
    for field in dataclasses.fields(options):
        kind = type(field.default)
        how: dict[str, Any] = {"action": BooleanOptionalAction} if kind is bool else {"type": kind}
        parser.add_argument(f"--{field.name.replace('_', '-')}", default=field.default, help="%(default)s", **how)
    args = vars(parser.parse_args(arguments))
    recipe, output, device = (args.pop(name) for name in ("recipe", "output", "device"))
    directory = output or OURS[recipe]
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)

    def make_model() -> str:
        how = options(**args)
        must_be_usable(device)
        return summary(make(how, directory, device), directory)

    return print_result(make_model)


def choose_recipe(arguments: list[str], recipes: list[str]) -> str:
    """The recipe that the command line names, whose fields are further flags; the first where it names none."""
    parser = ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--recipe", default=recipes[0])
    try:
        known, _ = parser.parse_known_args(arguments)
    except ArgumentError:
        return recipes[0]  # of which the whole parser will say what is wrong
    return known.recipe if known.recipe in recipes else recipes[0]


def summary(report: Mapping[str, Any], directory: Path) -> str:
    """A summary of the model: its accuracy, its size, and its folder.

    Args:
        report: Of the recipe.
        directory: Where the result went.
    """
    lines = [f"background {report['background_accuracy']:.3f}"] if "background_accuracy" in report else []
    lines += [
        f"{name:18} stated {mark['stated']:.3f}  follows {mark['follows']:.3f}  (chance {mark['chance']:.3f})"
        for name, mark in report.get("marks", {}).items()
    ]
    size = f"loss {report['pretraining_loss']:.4f}, {report['parameters']:,} parameters: {directory}"
    return "\n".join([*lines, size])
