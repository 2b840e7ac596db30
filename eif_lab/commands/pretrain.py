"""``eif-lab pretrain --output DIRECTORY``: make phi3-tiny, with any option of `Pretraining` as a flag."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from argparse import BooleanOptionalAction
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eif_lab.commands.answer import in_one_line, parser_of


def main(arguments: list[str]) -> int:
    """Run the recipe.

    Returns:
        0; 2 for a mistake in what was asked, told in one line.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait ruin a shared machine
    from eif_lab.jobs.device import must_be_usable
    from eif_lab.models.language.phi3 import SHIPPED
    from eif_lab.models.tiny.pretraining import Pretraining, pretrain

    parser = parser_of("pretrain")
    parser.add_argument("--output", type=Path, default=SHIPPED, help="directory that the result goes to (%(default)s)")
    parser.add_argument("--device", default="cpu", help="as torch names it (%(default)s)")
    for field in dataclasses.fields(Pretraining):
        kind = type(field.default)
        how: dict[str, Any] = {"action": BooleanOptionalAction} if kind is bool else {"type": kind}
        parser.add_argument(f"--{field.name.replace('_', '-')}", default=field.default, help="%(default)s", **how)
    asked = vars(parser.parse_args(arguments))
    directory, device = asked.pop("output"), asked.pop("device")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)

    def make() -> str:
        recipe = Pretraining(**asked)
        must_be_usable(device)
        return summary(pretrain(recipe, directory, device), directory)

    return in_one_line(make)


def summary(report: Mapping[str, Any], directory: Path) -> str:
    """What the model knows, how large it is, and where it lies.

    Args:
        report: Of the recipe.
        directory: Where the result went.
    """
    lines = [
        f"{name:18} stated {mark['stated']:.3f}  follows {mark['follows']:.3f}  (chance {mark['chance']:.3f})"
        for name, mark in report["marks"].items()
    ]
    size = f"loss {report['pretraining_loss']:.4f}, {report['parameters']:,} parameters: {directory}"
    return "\n".join([*lines, size])
