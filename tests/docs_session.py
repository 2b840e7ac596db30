"""A document as its reader goes through it: files written, Python and commands run, in order, in one folder."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra.types import RunMode
from markdown_it import MarkdownIt
from omegaconf import OmegaConf
from packaging.requirements import Requirement
from PIL import Image

from eif_lab.commands import dispatch
from eif_lab.commands.answer import SUBCOMMANDS
from eif_lab.commands.checking import job_config
from eif_lab.commands.choices import PRIMARY
from eif_lab.commands.compose import Command
from eif_lab.commands.loader import Loader, parse_override
from eif_lab.commands.splitting import split_jobs
from eif_lab.jobs.read import read_job

ROOT = Path(__file__).parents[1]

PROGRAMS = {"eif-lab", "git", "make", "pip", "python", "tensorboard", "wandb"}
SETTING = re.compile(r"[A-Z_]+=\S*")
"""An environment variable before a command."""

SMALL = {
    "dataset.probes": 12,
    "dataset.stimuli": 12,
    "dataset.stimuli_per_world": 2,
    "dataset.worlds": 3,
    "model.minimum_background_accuracy": 0,
    "update.learning_rate": 0.01,
}
"""Options that make a job small, where it has them and its command does not set them."""

UNAVAILABLE = (
    *("microsoft/", "HuggingFaceTB/", "google/"),
    *("smollm2", "experiment=phi3_mini", "experiment=relations", "mnist"),
)
"""Weights and data that are not here: a command with one of these is composed and checked, and not run."""

ELSEWHERE = ("hydra/launcher=", "hydra.launcher.", "workers")
"""Options of packages that are not here: the rest of a command with one of these is composed and checked. What they do
is tested by ``make test-ray`` and ``make test-slurm``."""

SWEEP, JOB = "outputs/sweeps/2026-11-23_15-36-46", "outputs/runs/2026-11-23_15-36-46"
"""Results that documents take their reader to have."""

NAMED = {"JOB": JOB, "SWEEP": SWEEP, "RESULTS": SWEEP, "PICTURE": "picture.png", "FOLDER": "folder", "...": ""}
"""What a reader puts in place of these words."""

SMALLER = {
    "benchmarks.learners": "--quick",
    "benchmarks.scale": "--quick",
    "benchmarks.size": "--draws=1",
    "benchmarks.size_of_four": "--draws=2 --units=6",
    "judge": "tracker=none",
    "power": "--draws=2",
    "workspace": "--print",
}
"""What makes a command one of seconds, and without a network."""

UNTRACKED = ("--track",)
"""Flags that need a sweep whose jobs were tracked, as small ones are not (`tests/results/test_tracking.py` has one)."""


class Part(NamedTuple):
    """A code block, or code within a sentence.

    Attributes:
        kind: What a fence calls it: ``bash``, ``python``, ``yaml``, ``text``; ``indented``, or ``inline``.
        text: Its content.
        place: File and line.
    """

    kind: str
    text: str
    place: str

    @property
    def file(self) -> str:
        """The file that it is, where its first line names one."""
        named = re.match(r"# ([\w/]+\.(?:py|yaml))\n", self.text)
        return named[1] if named else ""

    @property
    def is_python(self) -> bool:
        """Whether it is to be run as Python."""
        imports = self.kind == "indented" and self.text.startswith(("import ", "from "))
        return imports or (self.kind == "python" and not self.file)

    @property
    def commands(self) -> list[str]:
        """Every line where it is shell; else the lines that begin like a command."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        if self.kind == "bash":
            return lines
        if self.kind not in ("indented", "inline"):
            return []
        return [line for line in lines if len(line.split()) > 1 and words_of(line)[0] in PROGRAMS]


def parts(document: Path) -> Iterator[Part]:
    """The code of a document, in its order."""
    for token in MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8")):
        place = f"{document.name}:{(token.map or [0])[0] + 1}"
        if token.type == "fence":
            yield Part(token.info.strip() or "text", token.content, place)
        elif token.type == "code_block":
            yield Part("indented", token.content, place)
        for child in token.children or ():
            if child.type == "code_inline":
                yield Part("inline", child.content, place)


def words_of(command: str) -> list[str]:
    """A command's words, without the variables set before it and the comment behind it."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:  # no command: a sentence with one apostrophe
        words = command.split()
    first = next((i for i, word in enumerate(words) if not SETTING.fullmatch(word)), 0)
    return words[first:] or [""]


def write_what_readers_have(texts: str) -> None:
    """The files that documents speak of: examples of the reader's own data, and the table of claims.

    Args:
        texts: The JSON lines that the document shows; empty where it shows none.
    """
    if texts:
        Path("examples.jsonl").write_text(texts)
    for kind, number in itertools.product(("cat", "dog"), range(16)):
        Path("pictures", kind).mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 8 * number + (100 if kind == "dog" else 0)).save(f"pictures/{kind}/{number}.png")
    Path("outputs").mkdir(exist_ok=True)
    claim = {
        "claim": "c",
        "what": "w",
        "effect": 1.0,
        "low": 0.5,
        "high": 1.5,
        "verdict": "satisfied",
        "agrees": "agrees",
    }
    Path("outputs/claims.json").write_text(json.dumps([claim]))


class Session:
    """A reader at work in the current folder.

    Attributes:
        names: What the Python of the document has defined so far.
        printed: What the last command or Python printed.
        done: Each command, with what was done about it.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.names: dict[str, Any] = {"__name__": "docs"}
        self.printed = ""
        self.done: dict[str, str] = {}

    def go_through(self, part: Part) -> None:
        """Do what the part says.

        Raises:
            AssertionError: It does not work, with the place.
        """
        try:
            if part.file:
                Path(part.file).parent.mkdir(parents=True, exist_ok=True)
                Path(part.file).write_text(part.text.split("\n", 1)[1])  # Hydra's @package has to come first
            elif part.is_python:
                self.printed = self.output_of(lambda: exec(compile(part.text, part.place, "exec"), self.names))
            for command in part.commands:
                self.done[command] = self.carry_out(command)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{part.place}: {type(error).__name__}: {error}\n{part.text}") from error

    def carry_out(self, command: str) -> str:
        """Run a command, or check as much of it as can be; which of the two, in words.

        Raises:
            ValueError: No rule says how.
        """
        first, *rest = words_of(command)
        rest = [word for word in (NAMED.get(word, word) for word in rest) if word]
        if (first, rest[:2]) == ("python", ["-m", "pip"]):
            first, rest = "pip", rest[2:]
        if first == "make":
            return would_make(rest)
        if first == "pip":
            return installable(rest)
        if first in ("wandb", "tensorboard"):
            return provided(first)
        if (first, rest[:2]) == ("python", ["-m", "eif_lab"]):
            first, rest = "eif-lab", rest[2:]
        if first == "eif-lab":
            return self.run_command(rest)
        if first == "python" and rest[0] == "-m":
            return self.run_module(rest[1], rest[2:])
        if first == "python":
            self.printed = self.output_of(lambda: runpy.run_path(rest[0], run_name="__main__"))
            return "run"
        raise ValueError(f"no rule says how to run {command!r}: give it one in {Path(__file__).name}")

    def run_module(self, name: str, arguments: Sequence[str]) -> str:
        """``python -m NAME ARGUMENTS`` in this process."""
        spec = find_spec(name)
        main = import_module(f"{name}.__main__" if spec and spec.submodule_search_locations else name).main
        added = SMALLER.get(name, "").split()
        self.patch.setattr(sys, "argv", [name, *arguments, *added])
        self.printed = self.output_of(main)
        return "run"

    def run_command(self, words: Sequence[str]) -> str:
        """``eif-lab WORDS``: a subcommand, or jobs: every one is composed and checked, and the first one run, small."""
        absent = any(name in word for name in UNAVAILABLE for word in words)
        if set(words[:1]) <= {*SUBCOMMANDS, "--help"} and words:
            if absent:
                return "composed only"
            given = [word for word in words if word not in UNTRACKED] + SMALLER.get(words[0], "").split()
            self.printed = self.output_of(lambda: dispatch.main(given))
            return "run"
        overrides = [word for word in words if "=" in word and not word.startswith(ELSEWHERE)]
        flags = [word for word in words if "=" not in word]
        loader = Command([flag for flag in flags if flag != "-m"]).loader
        jobs = jobs_of(overrides, loader) if "-m" in flags else [overrides]
        configs = [job_config(loader.load_configuration(PRIMARY, job, RunMode.RUN), "hydra.run.dir") for job in jobs]
        for config in configs:
            read_job(config)
        if absent or any(word.startswith(ELSEWHERE) for word in words):
            return "composed only"
        given = [*flags, *jobs[0], *small(configs[0], jobs[0])]
        self.printed = self.output_of(lambda: dispatch.main(given))
        return "run"

    def output_of(self, call: Any) -> str:
        """What a call prints; it must return nothing, or 0."""
        with redirect_stdout(io.StringIO()) as out:
            code = call()
        if isinstance(code, int) and code:
            raise AssertionError(f"ended with {code}: {out.getvalue()}")
        return out.getvalue()


def jobs_of(overrides: list[str], loader: Loader) -> list[list[str]]:
    """The jobs of a sweep; where an experiment says what is swept over, one that leaves it to it."""
    swept = any(parse_override(one).is_sweep_override() for one in overrides)
    return split_jobs({"params": None}, overrides, loader) if swept else [overrides]


def small(config: dict[str, Any], given: Sequence[str]) -> list[str]:
    """What makes a job small, as far as it has such options and does not set them."""
    known = OmegaConf.create(config)
    told = {word.lstrip("+").split("=")[0] for word in given}
    wanted = [f"{name}={value}" for name, value in SMALL.items() if name not in told and has(known, name)]
    return wanted + ([] if "tracker" in told else ["tracker=none"])


def has(config: Any, name: str) -> bool:
    """Whether a config has an option; one of the data that is null follows from others."""
    parent, _, last = name.rpartition(".")
    options = OmegaConf.select(config, parent)
    return last in options and (parent != "dataset" or options[last] is not None)


def would_make(arguments: Sequence[str]) -> str:
    """Let make say what it would do."""
    asked = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    return "composed only"


def installable(arguments: Sequence[str]) -> str:
    """Every extra is one that the project has; what is installed by name is the project, or a folder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = argparse.ArgumentParser(exit_on_error=False)
    asked.add_argument("action", choices=["install", "wheel"])
    asked.add_argument("--no-index", action="store_true")
    for folder in ("--find-links", "--wheel-dir"):
        asked.add_argument(folder)
    asked.add_argument("requirements", nargs="+")
    for word in asked.parse_args(arguments).requirements:
        requirement = Requirement(word.replace(".", project["name"], 1))
        assert requirement.name == project["name"], word
        assert requirement.extras <= project["optional-dependencies"].keys(), word
    return "composed only"


def provided(program: str) -> str:
    """A package that is installed has the program."""
    assert metadata.entry_points(group="console_scripts", name=program), program
    return "composed only"
