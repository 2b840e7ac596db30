"""Whatever is wrong with what a user gives ends in one line and exit code 2, and leaves nothing behind.

Each row of the tables is a command line (a folder to run it in, its arguments) and what its one line must contain. They
go through `eif_lab.commands.dispatch.main` in this process. What is no mistake but leaves little to judge ends in a job
that is done and says so: the last table.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from eif_lab import open_results
from eif_lab.commands import report

if TYPE_CHECKING:
    from command_line_fixtures import Ended

pytest_plugins = ["command_line_fixtures"]

Files = Callable[[Path], None]
"""Writes what a row needs into the folder that it runs in."""

# How files are given


def nothing(folder: Path) -> None:
    """Nothing is there."""


def file(name: str, content: bytes | str | list | dict) -> Files:
    """One file; what is neither bytes nor text is written as JSON."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, bytes | str) else json.dumps(content)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


def texts(*lines: dict | str | bytes, end: bytes = b"\n") -> Files:
    """``mine.jsonl`` of these lines."""
    told = [line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
            for line in lines]  # fmt: skip
    return file("mine.jsonl", b"\n".join(told) + end)


def idx(values: np.ndarray) -> bytes:
    """An array of bytes in MNIST's format: the type's code and the number of dimensions, the sizes, the values."""
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.astype(np.uint8).tobytes()


def mnist(count: int = 20, side: int = 28, classes: np.ndarray | None = None, **damaged: bytes) -> Files:
    """Unpacked files of both splits; ``images`` or ``labels`` are the bytes of the test split's instead."""
    drawn = np.random.default_rng(0).integers(0, 256, (count, side, side))
    classes = np.arange(count) % 10 if classes is None else classes

    def write(folder: Path) -> None:
        raw = folder / "data" / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for split in ("train", "t10k"):
            given = {"images": idx(drawn), "labels": idx(classes)} | (damaged if split == "t10k" else {})
            (raw / f"{split}-images-idx3-ubyte").write_bytes(given["images"])
            (raw / f"{split}-labels-idx1-ubyte").write_bytes(given["labels"])

    return write


def packed(content: bytes) -> Files:
    """All four of MNIST's archives, each with these bytes."""

    def write(folder: Path) -> None:
        for split in ("train", "t10k"):
            for part in ("images-idx3", "labels-idx1"):
                file(f"data/MNIST/raw/{split}-{part}-ubyte.gz", content)(folder)

    return write


def pictures(classes: dict[str, int], shade: Callable[[str, int], int] = lambda name, i: 40 * i + len(name)) -> Files:
    """``pictures/<class>/<i>.png`` of 8 x 8 pixels in one shade each."""

    def write(folder: Path) -> None:
        for name, count in classes.items():
            (folder / "pictures" / name).mkdir(parents=True)
            for i in range(count):
                Image.new("L", (8, 8), shade(name, i)).save(folder / "pictures" / name / f"{i}.png")

    return write


def both(*parts: Files) -> Files:
    """One after the other."""

    def write(folder: Path) -> None:
        for part in parts:
            part(folder)

    return write


def damage(act: Callable[[Path], object]) -> Files:
    """Texts of one's own, and ``act`` done to the checkpoint ``tiny``."""

    def write(folder: Path) -> None:
        TEXTS(folder)
        act(folder / "tiny")

    return write


def configured(**fields: object) -> Callable[[Path], object]:
    """Fields of ``config.json`` with other values."""

    def act(checkpoint: Path) -> None:
        config = json.loads((checkpoint / "config.json").read_text())
        (checkpoint / "config.json").write_text(json.dumps(config | fields))

    return act


def weighted(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    """The weights, changed in place."""

    def act(checkpoint: Path) -> None:
        weights = load_file(checkpoint / "model.safetensors")
        change(weights)
        save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})

    return act


def replaced(name: str, content: bytes | str) -> Callable[[Path], object]:
    """A file of the checkpoint with another content."""
    return file(name, content)


def truncated(checkpoint: Path) -> None:
    """Half of the weights' file."""
    whole = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(whole[: len(whole) // 2])


STIMULUS = {"kind": "stimulus", "id": "a", "target": "a dax is a blick ."}
PROBE = {"kind": "probe", "id": "a", "target": "a dax is a blick ."}
OTHER = {"kind": "probe", "id": "p", "prompt": "a dax can", "target": " fly"}
WORLD = [STIMULUS | {"world": 0}, PROBE]
FACT = {"kind": "background", "world": 0, "text": "a blick can fly ."}
ASKED = {"kind": "question", "world": 0, "prompt": "a blick can", "target": " fly", "candidates": [" fly", " swim"]}
TEXTS = texts(STIMULUS, PROBE, OTHER)
LONG = "a dax is a blick . " * 40
PASSAGE = {f"{sort}_{part}": ["x"] for sort in ("mem", "gen", "hard_gen") for part in ("input", "target")}
KNOWN = {"id": "1", "context": "Max is a dog.", "question": "Max is a cat", "answer": "A", "explanation": []}

MINE = "model=phi3 dataset=jsonl dataset.path=mine.jsonl"
TINY = f"{MINE} model.checkpoint=tiny"
IDX = "dataset=mnist dataset.root=data dataset.download=fetched dataset.stimuli=2 dataset.probes=2"
PICTURES = "dataset=image_folder dataset.path=pictures dataset.size=[8,8] dataset.stimuli=2 dataset.probes=2"
SOON = "update.learning_rate=0.1 model.channels=[4] model.hidden=8"
ROOT = "model=phi3 dataset.root=data"

CONFIGS = {
    # how choices and options are given
    "a group that is none": (nothing, "modle=cnn", "modle must be an option, one of .*Did you mean model?"),
    "no choice": (nothing, "dataset=", "dataset must be one of .*got ''"),
    "a choice of another group": (nothing, "method=cnn", "method must be one of adapter, full, .*got 'cnn'"),
    "a nested choice that is none": (nothing, "desideratum=[symetry]", "got 'symetry'. Did you mean symmetry?"),
    "an experiment that is none": (nothing, "experiment=mnist", "experiment must be one of .*got 'mnist'"),
    "an option of a tuner that is no number": (
        nothing, "method=peft method.tuner=LOHA +method.options.alpha=nan", "method.options.alpha must be a finite"),
    "more jobs than can be meant": (
        nothing, "-m 'seed=range(9,1000)' 'data_seed=range(1000)'", "the sweep must have at most 100,000 jobs, got 99"),
    "one folder for two jobs": (
        nothing, "-m seed=1,2 hydra.sweep.subdir=one", "hydra.sweep.subdir must give each job a folder"),
    "a job's folder in another's": (
        nothing, "-m cache=a,a/b hydra.sweep.subdir='${cache}'", "hydra.sweep.subdir must give each job a folder"),
    "a job's folder that is hidden": (
        nothing, "-m seed=1,2 hydra.sweep.subdir='.f/${seed}'", "hydra.sweep.subdir must name a folder below"),
    "a job's folder in an array's": (
        nothing, "-m seed=1,2 hydra.sweep.subdir='${seed}/a.zarr'", "hydra.sweep.subdir must name a folder below"),
    "no output folder": (nothing, "hydra.run.dir=", "hydra.run.dir must name a folder"),
    "a job's folder elsewhere": (
        nothing, "-m seed=1,2 hydra.sweep.subdir=../other", "hydra.sweep.subdir must name a folder below"),
    "the old name of an engine": (nothing, "engine=lowrank", "engine must be called factored, .*got 'lowrank'. Try"),
    "a misspelt engine": (nothing, "-m engine=auto,factred", "engine must be one of .*Did you mean factored"),
    "a misspelt subcommand": (nothing, "reprot sweep", "the subcommand must be one of .*Did you mean report"),
    "a group without its choice": (nothing, "model", "the first word must be a subcommand .*Try model=... or eif-lab"),
    "a launcher that is none": (nothing, "-m hydra/launcher=slrum", "hydra/launcher must be one of .*got 'slrum'"),
    "a group taken away": (nothing, "~update", "update must be a choice from conf/ .*got None"),
    "an option taken away that is none": (nothing, "~model.hiddn", "model.hiddn"),
    "an option that is none, added": (nothing, "+typo=1", "typo must be an option, one of"),
    "an option that is none": (nothing, "typo=1", "typo must be an option, one of"),
    "a misspelt option": (nothing, "model.hiden=3", "got '3'. Did you mean model.hidden?"),
    "a misspelt option, added": (nothing, "method=lora +method.rnk=3", "got 3. Did you mean method.rank?"),
    "an option of PEFT's, not added": (nothing, "method=peft method.options.r=4", "Try +method.options.r=4"),
    "an option given twice over": (nothing, "+seed=1", "item is already at 'seed'"),
    "an option of an option": (nothing, "+seed.value=1", "seed must be a whole number, got {'value': 1}. Try 0."),
    "a name that is not UTF-8": (nothing, "cache=caf\udce9", "must be in UTF-8, got 'cache=caf\\udce9'. Rename"),
    "an unbalanced bracket": (nothing, "model.channels=[4", "Try eif-lab --help"),
    "a key without a name": (nothing, "=3", "Try eif-lab --help"),
    "values without a sweep": (nothing, "seed=0,1", "seed must have one value, unless .*got '0,1'. Try "),
    "choices without a sweep": (nothing, "model=cnn,phi3", "model must have one value, unless .*Try eif-lab -m"),
    "choices in brackets": (nothing, "model=[cnn,phi3]", "model must be one of cnn, learner, phi3, .*, got"),
    "a number for a choice": (nothing, "workers=-1", "workers must be one of none, ray, got -1"),
    "a group that is needed, taken away": (nothing, "~model", "model must be an option that can be left out, got '~mo"),
    "an option that is needed, taken away": (nothing, "~seed", "seed must be an option that can be left out"),
    "a job twice over": (nothing, "-m seed=0,1,0", "the sweep must have each job once, got 'seed=0.*Leave the second"),
    "a cache where no folder can be": (nothing, "cache=/dev/null/x", "cache must be a folder that can be made and wri"),
    "a cache that is a file": (file("mine", "x"), "cache=mine", "cache must be a folder that can be made and written"),
    "an interpolation of nothing": (nothing, "cache='${nowhere}'", "'nowhere' not found"),
    "an interpolation of itself": (nothing, "cache='${cache}'", "cache"),
    "an environment variable that is not set": (nothing, "cache='${oc.env:NO_SUCH}'", "'NO_SUCH' not found"),
    "a resolver that is none": (nothing, "cache='${shell:ls}'", "Unsupported interpolation type shell"),
    "a value left open": (nothing, "model.hidden=???", "model.hidden must be given, got '???'. Try 128."),
    "a flag that is none": (nothing, "--multi-run", "flag must be one of .*got '--multi-run'. Did you mean --multirun"),
    "a flag without its value": (nothing, "tracker=none --config-name", "--config-name/-cn: expected one argument"),
    "options on both sides of a flag": (nothing, "tracker=none -m seed=1", "overrides must stand together, before or"),
    "a config that is none": (nothing, "--config-name=main", "Cannot find primary config 'main'"),
    "a folder of configs that is none": (nothing, "--config-dir=nowhere", "nowhere"),
    "a pickled job": (nothing, "--experimental-rerun=config.pickle", "must be left out, since it loads a pickle"),
    "a sweep of no job": (nothing, "-m seed=range(0,0)", "the sweep must have at least one job, got 'seed=range(0,0)"),
    "an output folder that is a file": (file("out", ""), "hydra.run.dir=out", "out"),
    # classes
    "a class that is no path": (nothing, "dataset._target_=.x.Y", "dataset._target_ must name a class that can be imp"),
    "a class of no module": (nothing, "dataset._target_=no.such.Set", "that can be imported (No module named 'no')"),
    "a module of one's own that breaks": (
        file("broken_set.py", "1 / 0"), "dataset._target_=broken_set.Mine", "(division by zero), got 'broken_set.Mine"),
    "a function for a class": (nothing, "dataset._target_=os.system", "name a class of options"),
    "the base of all options": (nothing, "dataset._target_=eif_lab.options.Options", "name a class of options"),
    "a class of another group": (
        nothing, "method._target_=eif_lab.influence.update.Update", "name a class whose group is method"),
    "a part for the whole": (nothing, "model._target_=eif_lab.models.base.Training", "whose group is model"),
    # types
    "nothing for a group": (nothing, "method=null", "Config group override must be a string or a list."),
    "text for a whole number": (
        nothing, "method=lora method.rank=abc", "method.rank must be a whole number, got 'abc'. Try 8."),
    "text for a number": (
        nothing, "update.learning_rate=fast", "update.learning_rate must be a number or null, got 'fast'."),
    "text in a list of numbers": (
        nothing, "model.channels=[4,x]", "model.channels[1] must be a list of a whole number, got 'x'."),
    "a project that W&B does not take": (
        nothing, "tracker=wandb tracker.project=me/influence", "tracker.project must hold none of"),
    "a tag that W&B does not take": (nothing, f"tracker=wandb tracker.tags=[{'t' * 65}]", "tracker.tags must each"),
    "a number for a group": (nothing, "tracker=3", "tracker must be one of csv, none, tensorboard, wandb, got 3. Try"),
    "a number for nested options": (nothing, "model.training=5", "model.training must hold options (steps, .*got 5."),
    "nothing for nested options": (nothing, "model.training=null", "model.training must hold options (.*got None."),
    "a list for a number": (nothing, "seed=[1,2]", "seed must be a whole number, got [1, 2]"),
    "nothing for a number": (nothing, "seed=null", "seed must be a whole number, got None. Try 0."),
    "a share for a whole number": (nothing, "update.steps=1.5", "update.steps must be a whole number, got 1.5"),
    "text for a switch": (nothing, "trajectory=perhaps", "trajectory must be true or false, got 'perhaps'"),
    "one for a list": (nothing, "readout=log_prob", "readout must be a list of text, got 'log_prob'. Try [log_prob]."),
    "a mapping for a list": (nothing, "model.channels={a:1}", "Error merging override model.channels={a:1}."),
    "a number for options by name": (nothing, "method=peft method.options=3", "method.options must be"),
    # values
    "a readout that is none": (
        nothing, "readout=[logprob]", "readout must be one of correct, log_odds, log_prob, prob, rank, got 'logprob'."),
    "a seed below zero": (nothing, "seed=-1", "seed must be at least 0, got -1. Try 0."),
    "a seed beyond all numbers": (nothing, "seed=99999999999999999999999", "seed must be"),
    "a rank of zero": (nothing, "method=lora method.rank=0", "method.rank must be at least 1, got 0. Try 8."),
    "no training": (nothing, "model.training.steps=0", "model.training.steps must be at least 1, got 0."),
    "a data set that is not there": (
        nothing, "dataset=mnist dataset.root=data dataset.download=fetched", "dataset.root must hold MNIST/raw"),
    "more than the digits have": (nothing, "dataset.stimuli=5000", "dataset.stimuli must be at most 898"),
    "an endless rate": (
        nothing, "update.learning_rate=inf", "update.learning_rate must be a finite number, got inf."),
    "no strength": (nothing, "perturbation=noise perturbation.levels=[]", "perturbation.levels must hold at least one"),
    "a level of two": (nothing, "desideratum.symmetry.alpha=2", "alpha must be below 1, got 2.0."),
    "no readout": (nothing, "readout=[]", "readout must name at least one readout, and each once, got []. Try [log"),
    "a readout twice": (nothing, "readout=[rank,rank]", "and each once, got ['rank', 'rank']. Try [log_prob]."),
    "a seed that is too large": (nothing, "seed=4294967296", "seed must be at most 4294967295, got 4294967296. Try 0."),
    "no stimulus": (nothing, "dataset.stimuli=0", "dataset.stimuli must be at least 1, got 0. Try 120."),
    "no probe": (nothing, "dataset.probes=0", "dataset.probes must be at least 1, got 0. Try 120."),
    "a negative rate": (nothing, "update.learning_rate=-1", "update.learning_rate must be at least 0, got -1.0."),
    "a rate that is no number": (nothing, "update.learning_rate=nan", "must be a finite number, got nan"),
    "momentum of one": (nothing, "update.momentum=1", "update.momentum must be below 1, got 1.0. Try 0.9."),
    "a clip of zero": (nothing, "update.gradient_clip=0", "update.gradient_clip must be above 0, got 0.0. Try 1.0"),
    "a former option": (nothing, "update.direct_influence=1", "since update.strength stands in its place, got '1'."),
    "more than there is to gain": (nothing, "update.headroom=1", "update.headroom must be below 1, got 1.0"),
    "a share above one": (nothing, "model=phi3 model.minimum_background_accuracy=1.1", "must be at most 1, got 1.1"),
    "a precision that is none": (nothing, "model=phi3 model.dtype=float8", "model.dtype must be one of float32, bfloa"),
    "strengths that are the same": (nothing, "perturbation=noise perturbation.levels=[1,1]", "must differ from each"),
    "a strength below zero": (nothing, "perturbation=noise perturbation.levels=[-1]", "levels must be above 0, got -1"),
    "more than the whole image": (
        nothing, "perturbation=noise perturbation.noise=occlusion perturbation.levels=[2]", "be shares of at most 1"),
    "a template without places": (
        nothing, "model=phi3 method=prompt method.template=hello", "method.template must be statement, question, chat"),
    "no memory": (nothing, "engine.memory_budget=0", "engine.memory_budget must be above 0, got 0.0. Try 2 (GiB)."),
    "too few units": (nothing, "desideratum.symmetry.least_units=1", "least_units must be at least 3, got 1"),
    "a wording that is none": (nothing, "model=phi3 dataset.wording=3", "dataset.wording must be at most 2, got 3"),
    "a tuner that is none": (nothing, f"method=peft method.tuner=NOPE {SOON}", "method.tuner must be one of"),
    "a layer that is none": (
        nothing, f"method=lora method.target_modules=[foo] {SOON}", "method.target_modules must name at least one"),
    # what does not go together
    "momentum for Adam": (
        nothing, "update=adam update.momentum=0.9", "update.momentum must be 0 with optimizer=adam, got 0.9."),
    "a sweep of texts for images": (nothing, "--multirun dataset=ontology", "dataset must hold images for model=cnn"),
    "texts for images": (nothing, "dataset=reversal", "dataset must hold images for model=cnn, got 'reversal' (texts)"),
    "a prompt of images": (nothing, "method=prompt", "method must be one for images with model=cnn, got 'prompt'"),
    "a prediction without training": (
        nothing, "model=phi3 method=prompt engine=first_order", "engine must be an exact one with method=prompt"),
    "leaving out without training": (
        nothing, "model=phi3 method=prompt perturbation=exclude", "perturbation must take each stimulus alone"),
    "other words for an image": (nothing, f"perturbation=template {SOON}", "perturbation"),
    "letters for pixels": (
        nothing, "perturbation=noise perturbation.noise=character", "noise must be one of gaussian, salt_and_pepper"),
    "leaving out the only one": (
        nothing, f"perturbation=exclude dataset.stimuli=1 {SOON}", "perturbation must have at least 2 stimuli"),
    "a device that is not there": (nothing, "device=cuda:99", "device must be one that torch can use here"),
    "a device that is none": (nothing, "device=tpux", "device must be one that torch can use here"),
    "a device without numbers": (nothing, "device=meta", "device must be one that torch can use here"),
    "an optimizer that factored cannot do": (
        nothing, f"update=adam engine=factored {SOON}", "engine must be one that can do this"),
    "a rate that rounding takes away": (
        nothing, f"{SOON} update.learning_rate=1e-30", "update.learning_rate must be large enough"),
    "an image too small for the blocks": (nothing, "model.channels=[4,4,4,4]", "must have at most 3 blocks"),
}  # fmt: skip

FILES = {
    # texts of one's own
    "no path": (nothing, "model=phi3 dataset=jsonl", "dataset.path must name a file, got None"),
    "no file": (nothing, MINE, "dataset.path must name a file, got 'mine.jsonl'"),
    "a folder for a file": (file("mine.jsonl/x", ""), MINE, "dataset.path must name a file, got 'mine.jsonl'"),
    "an empty file": (file("mine.jsonl", ""), MINE, "mine.jsonl must have a JSON object on each .*an empty file"),
    "an empty line": (texts(STIMULUS, "", PROBE), MINE, "mine.jsonl:2: line must be a JSON object, got an empty line"),
    "an empty line at the end": (texts(STIMULUS, PROBE, ""), MINE, "mine.jsonl:3: line must be a JSON object, got an"),
    "a line cut off": (texts(STIMULUS, '{"kind": "pro', end=b""), MINE, "mine.jsonl:2: line must be a JSON object"),
    "Latin letters": (texts(STIMULUS, '{"kind": "é"}'.encode("latin-1")), MINE, "mine.jsonl:2: line must be UTF-8"),
    "two bytes a letter": (file("mine.jsonl", json.dumps(STIMULUS).encode("utf-16")), MINE, "mine.jsonl:1: line must"),
    "a packed file": (file("mine.jsonl", gzip.compress(b"x")), MINE, "mine.jsonl:1: line must be UTF-8, got byte 0x8b"),
    "half of a surrogate pair": (
        texts('{"kind": "stimulus", "id": "a", "target": "\\ud800"}', PROBE), MINE, "mine.jsonl:1: line must hold tex"),
    "a text that ends early": (texts(STIMULUS | {"id": "a\0"}, PROBE), MINE, "mine.jsonl:1: line must hold text witho"),
    "nesting without end": (texts("[" * 100_000), MINE, "mine.jsonl:1: line must be a JSON object"),
    "a kind that is no text": (texts(STIMULUS | {"kind": ["probe"]}), MINE, "mine.jsonl:1: kind must be one of"),
    "a world beyond all numbers": (
        texts(STIMULUS | {"world": 10**30}, PROBE), MINE, "mine.jsonl:1: stimulus.world must be a whole number from 0"),
    "a stimulus twice": (texts(STIMULUS, STIMULUS, PROBE), MINE, "mine.jsonl:2: stimulus.id must differ from that of"),
    "a probe twice": (texts(STIMULUS, PROBE, PROBE), MINE, "mine.jsonl:3: probe.id must differ from that of line 2"),
    "a fact twice": (
        texts(*WORLD, FACT, FACT), MINE, "mine.jsonl:4: background.text must say something else than line 3, got 'a b"),
    "a question twice": (
        texts(*WORLD, FACT, ASKED, ASKED), MINE, "mine.jsonl:5: question.target must say something else than line 4"),
    "no stimulus in it": (texts(PROBE), MINE, "mine.jsonl must have a line of kind stimulus, got none"),
    "no probe in it": (texts(STIMULUS), MINE, "mine.jsonl must have a line of kind probe, got none"),
    "nothing to negate": (TEXTS, f"{MINE} perturbation=relabel", "perturbation=relabel needs a data set whose statem"),
    "nothing to reword": (TEXTS, f"{MINE} perturbation=template", "perturbation=template needs"),
    "a stimulus that is too long": (
        damage(lambda tiny: texts(STIMULUS | {"target": LONG}, OTHER)(tiny.parent)), TINY, "context of at least"),
    "a probe that is too long": (
        damage(lambda tiny: texts(STIMULUS, OTHER | {"prompt": LONG})(tiny.parent)), TINY, "context of at least"),
    "a fact that is too long": (
        damage(lambda tiny: texts(*WORLD, FACT | {"text": LONG}, ASKED)(tiny.parent)),
        f"{TINY} dataset.background=taught", "context of at least"),
    # MNIST's files
    "no files": (nothing, IDX, "dataset.root must hold MNIST/raw or its files must be downloadable, got 'data'"),
    "images cut off": (
        mnist(images=idx(np.zeros((20, 28, 28)))[:-1]), IDX, "dataset.root must hold whole idx files .*t10k-images-id"),
    "images and a byte more": (mnist(images=idx(np.zeros((20, 28, 28))) + b"x"), IDX, "must hold whole idx files"),
    "labels cut off in the header": (mnist(labels=b"\0\0\x08"), IDX, "must hold whole idx files .*t10k-labels-idx1"),
    "a file that is empty": (mnist(images=b""), IDX, "dataset.root must hold whole idx files"),
    "a file of another format": (mnist(images=b"\x89PNG" + bytes(99)), IDX, "dataset.root must hold whole idx files"),
    "images for labels": (mnist(labels=idx(np.zeros((20, 28, 28)))), IDX, "must hold whole idx files .*1 dimension"),
    "numbers of four bytes": (
        mnist(labels=bytes([0, 0, 12, 1, 0, 0, 0, 20]) + bytes(80)), IDX, "must hold whole idx files .*uint8"),
    "images of another size": (mnist(side=27), IDX, "hold images of 28 x 28 pixels in .*got (27, 27)"),
    "fewer labels than images": (mnist(labels=idx(np.zeros(19))), IDX, "hold a label for each image .*got '19 for 20'"),
    "a label that is no class": (mnist(labels=idx(np.full(20, 10))), IDX, "hold labels below 10 .*got 10. Remove"),
    "no image": (mnist(images=idx(np.zeros((0, 28, 28))), labels=idx(np.zeros(0))), IDX, "dataset.root must hold"),
    "a wrong checksum": (packed(gzip.compress(b"x")), IDX, "dataset.root must hold MNIST/raw or its files must be dow"),
    "more than there are": (mnist(), IDX.replace("stimuli=2", "stimuli=21"), "dataset.stimuli must be at most 20"),
    # pictures of one's own
    "no folder": (nothing, PICTURES, "dataset.path must be a folder with at least two folders, .*got 'pictures'"),
    "one class": (pictures({"cat": 4}), PICTURES, "be a folder with at least two folders, one for each class"),
    "a class of one image": (
        pictures({"cat": 4, "dog": 1}), PICTURES, "dataset.path must have at least two images in 'dog', got 1"),
    "text among pictures": (
        both(pictures({"cat": 2, "dog": 2}), file("pictures/cat/notes.txt", "mine")),
        PICTURES, "dataset.path must hold images only (.*, got 'pictures/cat/notes.txt'. Remove the file."),
    "a picture cut off": (
        both(pictures({"cat": 2, "dog": 2}), file("pictures/dog/9.png", b"\x89PNG\r\n\x1a\n\0\0")),
        PICTURES, "hold images only .*dog/9.png"),
    "a size of one number": (nothing, f"{PICTURES} dataset.size=[8]", "dataset.size must be a height and a width"),
    "no height": (nothing, f"{PICTURES} dataset.size=[0,8]", "dataset.size must be at least 1, got 0. Try [28,28]."),
    "more pictures than there are": (
        pictures({"cat": 2, "dog": 2}), f"{PICTURES} dataset.probes=3", "dataset.probes must be at most 2"),
    # published sets
    "no set": (nothing, f"{ROOT} dataset=prontoqa", "dataset.root must be a folder that holds knowledge/prontoqa"),
    "a set that is no JSON": (
        file("data/knowledge/prontoqa/dev.json", "{"), f"{ROOT} dataset=prontoqa", "dev.json must be JSON in UTF-8"),
    "a record without a field": (
        file("data/knowledge/prontoqa/dev.json", [{"id": "1"}]), f"{ROOT} dataset=prontoqa",
        "must have 'context' in every record, got none in record 0"),
    "a record that is no mapping": (
        file("data/knowledge/prontoqa/dev.json", [3]), f"{ROOT} dataset=prontoqa", "must have 'id' in every record"),
    "a record of other types": (
        file("data/knowledge/prontoqa/dev.json", [KNOWN | {"context": 3}]), f"{ROOT} dataset=prontoqa",
        "dev.json must hold records as they were published, got TypeError"),
    "a chain without a fact": (
        file("data/knowledge/prontoqa/dev.json", [KNOWN]), f"{ROOT} dataset=prontoqa dataset.theories=1",
        "dev.json must hold records as they were published, got ValueError"),
    "no record": (
        file("data/knowledge/prontoqa/dev.json", []), f"{ROOT} dataset=prontoqa", "dataset.theories must be at most 0"),
    "a sentence of no grammar": (
        file("data/knowledge/proofwriter/train.json", [KNOWN | {"context": "Lo!"}]),
        f"{ROOT} dataset=proofwriter dataset.theories=1", "has no such sentence"),
    "a passage that is no text": (
        both(*(file(f"data/knowledge/fictional_knowledge/fictional_knowledge{end}.json",
                    [PASSAGE | {"train_context": None, "paraphrases": []}]) for end in ("", "_paraphrased"))),
        f"{ROOT} dataset=fictional_knowledge", "must hold records as they were published, got TypeError"),
    "a relation without subjects": (
        file("data/knowledge/relations/factual/capital.json",
             {"prompt_templates": [], "prompt_templates_zs": [], "properties": {}, "samples": [{}]}),
        f"{ROOT} dataset=relations", "capital.json must hold records as they were published, got KeyError"),
}  # fmt: skip

CHECKPOINTS = {
    "no such folder": (TEXTS, f"{MINE} model.checkpoint=./none", "model.checkpoint must be a directory that exists"),
    "a file for a checkpoint": (
        both(TEXTS, file("mine", "x")), f"{MINE} model.checkpoint=./mine", "model.checkpoint must be a directory that"),
    "an empty name": (TEXTS, f"{MINE} model.checkpoint=''", "model.checkpoint must be a directory or a name, got ''"),
    "a name that the hub cannot have": (TEXTS, f"{MINE} model.checkpoint='a b'", "model.checkpoint must be a director"),
    "a name that nobody delivers": (TEXTS, f"{MINE} model.checkpoint=nobody/nothing", "Try a local directory."),
    "no config": (damage(lambda tiny: (tiny / "config.json").unlink()), TINY, "must hold a config.json, got 'tiny'"),
    "a config that is no JSON": (damage(replaced("config.json", "{")), TINY, "be readable by transformers"),
    "a config that is a list": (damage(replaced("config.json", "[]")), TINY, "be readable by transformers"),
    "an architecture that is none": (damage(configured(model_type="phi99")), TINY, "be readable by transformers"),
    "a model that only reads": (
        damage(configured(model_type="bert", architectures=["BertModel"])), TINY, "be a causal language model, this o"),
    "sizes that do not go together": (damage(configured(num_attention_heads=5)), TINY, "model.checkpoint must be read"),
    "other sizes than the weights": (damage(configured(hidden_size=16)), TINY, "model.checkpoint must be readable"),
    "more layers than weights": (
        damage(configured(num_hidden_layers=3)), TINY, "model.checkpoint must hold all weights, model.layers.2"),
    "no weights": (damage(lambda tiny: (tiny / "model.safetensors").unlink()), TINY, "model.checkpoint must be readab"),
    "weights cut off": (damage(truncated), TINY, "model.checkpoint must be readable by transformers"),
    "weights that are none": (damage(replaced("model.safetensors", b"x" * 64)), TINY, "must be readable by transforme"),
    "a weight missing": (
        damage(weighted(lambda weights: weights.pop("lm_head.weight"))), TINY, "all weights, lm_head.weight is missin"),
    "a weight of NaN": (
        damage(weighted(lambda weights: weights["lm_head.weight"][0, 0].fill_(torch.nan))), TINY,
        "model.checkpoint must hold finite numbers, lm_head.weight has NaN or infinity, got 'tiny'"),
    "weights too large to compute with": (
        damage(weighted(lambda weights: weights["lm_head.weight"].mul_(1e38))), TINY,
        "model must read every probe as a finite number, tiny does not for"),
    "no tokenizer": (
        damage(lambda tiny: [path.unlink() for path in tiny.glob("token*")]), TINY, "model.checkpoint must"),
    "a tokenizer that is no JSON": (damage(replaced("tokenizer.json", "{")), TINY, "model.checkpoint must be readable"),
    "more tokens than embeddings": (
        damage(lambda tiny: (configured(vocab_size=8)(tiny), weighted(lambda weights: weights.update(
            {name: weights[name][:8].clone() for name in ("lm_head.weight", "model.embed_tokens.weight")}))(tiny))),
        TINY, "model.checkpoint must have an embedding for each token of its tokenizer, which gives"),
    "a chat template that breaks out": (
        damage(replaced("chat_template.jinja", "{{ ''.__class__.__mro__ }}")), f"{TINY} model.chat_template=true",
        "model.chat_template must be one that can be filled in"),
    "flash attention without it": (damage(lambda tiny: None), f"{TINY} model.attention=flash_attention_2", "model.che"),
    "training that diverges": (
        nothing, f"{SOON} model.training.learning_rate=1e30", "model must read every probe as a finite number, cnn do"),
}  # fmt: skip

MANIFEST = {"format": 1, "name": "a job", "status": "failed", "reason": "broken"}

RESULTS = {
    "no folder": (nothing, "results", "results path must be a job (a folder with manifest.json)"),
    "a folder without a job": (file("results/x", ""), "results", "results path must be a job"),
    "a manifest that is no JSON": (file("results/manifest.json", "{"), "results", "must be a job's manifest, got JSON"),
    "a manifest in other letters": (file("results/manifest.json", b"\xe9"), "results", "must be a job's manifest, got"),
    "a manifest that is a list": (file("results/manifest.json", [1]), "results", "must be a job's manifest, got TypeE"),
    "a manifest without a name": (
        file("results/manifest.json", {"format": 1}), "results", "must be a job's manifest, got ValueError("),
    "a later version's manifest": (
        file("results/manifest.json", MANIFEST | {"format": 99}), "results", "format must be at most 3, got 99. Upgra"),
    "no claims": (file("results/manifest.json", MANIFEST), "results --claims claims.json", "claims.json"),
    "claims that are no JSON": (
        both(file("results/manifest.json", MANIFEST), file("claims.json", "{")),
        "results --claims claims.json", "claims must be JSON, got 'claims.json'"),
    "claims in other letters": (
        both(file("results/manifest.json", MANIFEST), file("claims.md", b"\xe9")),
        "results --claims claims.md", "claims must be text in UTF-8, got 'claims.md'"),
    "claims of other columns": (
        both(file("results/manifest.json", MANIFEST), file("claims.json", [{"claim": "x"}])),
        "results --claims claims.json", "claims must be a list of rows with claim, what, effect"),
}  # fmt: skip


# What is asked of a row


def whole(path: Path) -> bool:
    """Whether what was left is fine: a base model that is made, the lock beside it, the folders that lead there."""
    models = Path("outputs/cache/models").absolute()
    made = [entry for entry in models.glob("*") if (entry / "report.json").exists() or entry.suffix == ".lock"]
    return path in (models, *models.parents) or any(entry in (path, *path.parents) for entry in made)


def says(message: str, text: str) -> bool:
    """Whether the text has the parts of ``told``, which ``.*`` divides, in that order."""
    return re.search(".*".join(map(re.escape, message.split(".*"))), text) is not None


def must_be_one_line(ended: Ended, message: str) -> None:
    """Exit code 2, one line that says what is wrong, and nothing left but what is whole."""
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended
    assert says(message, ended.err), ended.err
    assert re.search(r" must .*got |Try ", ended.err), ended.err
    assert "Traceback" not in ended.out
    assert not [path for path in ended.left if not whole(path)]


@pytest.mark.parametrize("row", RESULTS)
def test_bad_results_make_no_page_and_are_told_in_one_line(row, ends):
    files, arguments, message = RESULTS[row]
    ended = ends(files, lambda: report.main(arguments.split()))
    assert (ended.code, len(ended.err.splitlines()), ended.left) == (2, 1, []), ended
    assert says(message, ended.err), ended.err


def test_the_tables_are_as_long_as_they_should_be():
    assert len(CONFIGS | FILES | CHECKPOINTS) == len(CONFIGS) + len(FILES) + len(CHECKPOINTS) >= 100


@pytest.mark.parametrize("row", CONFIGS)
def test_a_bad_command_line_ends_in_one_line_and_leaves_nothing(row, command):
    files, arguments, message = CONFIGS[row]
    must_be_one_line(command(files, arguments), message)


@pytest.mark.parametrize("row", FILES | CHECKPOINTS)
def test_a_bad_file_ends_in_one_line_and_leaves_nothing(row, job):
    files, arguments, message = (FILES | CHECKPOINTS)[row]
    must_be_one_line(job(files, arguments), message)


# What is no mistake, but leaves little to judge

STATES = {
    "one stimulus": (nothing, f"dataset.stimuli=1 dataset.probes=9 {SOON}", "at least"),
    "one stimulus and one probe": (nothing, f"dataset.stimuli=1 dataset.probes=1 {SOON}", "influence must vary"),
    "one text and itself": (texts(STIMULUS, PROBE), f"{TINY} update.learning_rate=0.01", "influence must vary"),
    "one class": (mnist(classes=np.full(20, 3)), f"{IDX.replace('=2', '=6')} {SOON}", "number of classes"),
    "the same picture over and over": (
        pictures({"cat": 8, "dog": 8}, lambda *_: 99), f"{PICTURES.replace('=2', '=6')} {SOON}", "number of classes"),
    "a rate of zero": (nothing, f"dataset.stimuli=6 dataset.probes=6 {SOON} update.learning_rate=0", "must vary"),
    "a rate at which every stimulus diverges": (
        nothing, f"dataset.stimuli=6 dataset.probes=6 {SOON} update.learning_rate=1e38", "6 stimuli diverged"),
}  # fmt: skip


@pytest.mark.parametrize("row", STATES)
def test_data_that_leave_little_to_judge_end_in_a_job_that_says_so(row, job, tmp_path):
    files, arguments, message = STATES[row]
    ended = job(files, arguments)
    assert (ended.code, ended.err) == (0, ""), ended
    assert "Traceback" not in ended.out
    results = open_results(tmp_path / "outputs" / "runs" / "job")
    assert results.manifest["status"] == "done"
    said = " ".join(map(str, [*results.verdicts.get("note", []), *results.verdicts.get("reason", []), ended.out]))
    assert says(message, said), said


def test_stimuli_that_diverge_are_named_and_the_others_are_what_they_are_alone(command, tmp_path):
    """Black teaches a net that is blind to it nothing but the head's bias, which no rate below overflow can break."""
    shades = pictures({"black": 4, "white": 4}, lambda name, i: 0 if name == "black" else 200 + i)
    ended = command(shades, f"{PICTURES.replace('=2', '=4')} {SOON} update.learning_rate=1e30 hydra.run.dir=job")
    assert (ended.code, ended.err) == (0, ""), ended
    job = open_results(tmp_path / "job")
    array = job.influence.squeeze(["seed", "step", "readout"])
    black = array.stimulus_label.values == "black"
    assert np.isnan(array.values[~black]).all() and np.isfinite(array.values[black]).all()
    assert job.manifest["diverged"] == (~black).sum() == 2
    assert all(name in ended.out for name in array.stimulus_id.values[~black])
    # one step moves the bias of the right class up and of the wrong one down, so far that nothing else counts
    gain = array.values[black]
    assert (gain[:, array.probe_label.values == "black"] >= 0).all()
    assert (gain[:, array.probe_label.values == "white"] < -1e29).all()
