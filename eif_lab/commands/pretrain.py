"""Make phi3-tiny: ``eif-lab pretrain --output DIRECTORY``, with any option of `Pretraining` as a flag."""

from __future__ import annotations

if __name__ == "__main__":
    from eif_lab.commands.interruption import run

    run("eif_lab.commands.pretrain")

import argparse
import dataclasses
import logging
import os
import sys
from pathlib import Path
from typing import Any

from eif_lab.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Run the recipe.

    Returns:
        0; 2 for a mistake in what was asked, told in one line.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait ruin a shared machine
    from eif_lab.models.language.phi3 import SHIPPED
    from eif_lab.models.tiny.pretraining import Pretraining, pretrain

    parser = argparse.ArgumentParser(prog="python -m eif_lab.commands.pretrain", description=__doc__)
    parser.add_argument("--output", type=Path, default=SHIPPED, help="directory that the result goes to (%(default)s)")
    parser.add_argument("--device", default="cpu", help="as torch names it (%(default)s)")
    for field in dataclasses.fields(Pretraining):
        kind = type(field.default)
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        parser.add_argument(f"--{field.name.replace('_', '-')}", default=field.default, help="%(default)s", **how)
    given = vars(parser.parse_args(arguments))
    directory, device = given.pop("output"), given.pop("device")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        report = pretrain(Pretraining(**given), directory, device)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    for name, mark in report["marks"].items():
        print(f"{name:18} stated {mark['stated']:.3f}  follows {mark['follows']:.3f}  (chance {mark['chance']:.3f})")
    print(f"loss {report['pretraining_loss']:.4f}, {report['parameters']:,} parameters: {directory}")
    return 0
