"""Attempts: code hidden in what is loaded, archives that climb out of their folder, secrets in what is written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import shlex
import shutil
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from packaging.requirements import Requirement
from PIL import Image

from eif_lab import open_results
from eif_lab.commands import report, status
from eif_lab.console.tables import print_finished, print_job, print_sweep
from eif_lab.data.images.mnist import MNIST
from eif_lab.errors import ConfigError
from eif_lab.files.checksums import write_checked
from eif_lab.models.language.hub import load_checkpoint
from eif_lab.results.job import write_job
from eif_lab.results.sweep import write_sweep

pytest_plugins = ["command_line_fixtures"]

ROOT = Path(__file__).parents[1]


class Malicious:
    """What runs when it is unpickled: it makes the folder ``ran``."""

    def __init__(self, ran: Path) -> None:
        self.ran = str(ran)

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (self.ran,)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Is there once a pickle or somebody's code has been run."""
    return tmp_path / "ran"


@pytest.fixture
def checkpoint(tmp_path: Path, small_checkpoint: Path) -> Path:
    """A checkpoint to be tampered with."""
    return Path(shutil.copytree(small_checkpoint, tmp_path / "checkpoint"))


def test_the_pickle_of_these_attempts_does_run_where_it_is_loaded(ran):
    pickle.loads(pickle.dumps(Malicious(ran)))
    assert ran.is_dir()


# Pickles


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_for_weights_is_refused_and_not_run(checkpoint, ran, name):
    (checkpoint / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Malicious(ran)}, checkpoint / name)
    with pytest.raises(ConfigError, match=r"^model.checkpoint must be readable by transformers"):
        load_checkpoint(str(checkpoint))
    assert not ran.exists()


def test_a_pickle_beside_safe_weights_is_not_even_opened(checkpoint, ran):
    torch.save({"lm_head.weight": Malicious(ran)}, checkpoint / "pytorch_model.bin")
    load_checkpoint(str(checkpoint))
    assert not ran.exists()


def test_a_pickle_for_an_interrupted_training_is_refused_and_not_run(tmp_path, ran, caplog):
    from eif_lab.models.base import Training
    from eif_lab.models.training import remaining_batches, train

    packed = io.BytesIO()
    torch.save({"global_step": 1, "state_dict": Malicious(ran)}, packed)
    place = tmp_path / "checkpoints" / "last.ckpt"
    rows = torch.utils.data.TensorDataset(torch.zeros(2, 1), torch.zeros(2, 1))
    batches, loss = remaining_batches(torch.utils.data.DataLoader(rows)), torch.nn.functional.mse_loss
    for content in (packed.getvalue(), pickle.dumps(Malicious(ran))):
        write_checked(place, content)  # whoever can write there can also write a checksum
        train(torch.nn.Linear(1, 1), loss, batches, Training(steps=1), directory=tmp_path, title="anew")
        assert "training starts anew" in caplog.text and not ran.exists()
        caplog.clear()


def test_a_pickle_in_the_place_of_mnist_is_refused_and_not_run(tmp_path, ran, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    for part in ("raw", "processed"):  # where torchvision looks first, and where it looked in earlier versions
        for name in ("training.pt", "test.pt", *(f"{split}-images-idx3-ubyte" for split in ("train", "t10k"))):
            (tmp_path / "MNIST" / part).mkdir(parents=True, exist_ok=True)
            torch.save(Malicious(ran), tmp_path / "MNIST" / part / name)
    with pytest.raises(ConfigError, match=r"^dataset.root must hold"):
        MNIST(root=str(tmp_path), download=str(tmp_path)).load(0)
    assert not ran.exists()


PICKLED = {"id": "pickle", "protocol": 5}


@pytest.mark.parametrize(
    ("version", "name", "codecs"),
    [
        (2, ".zarray", {"filters": [PICKLED]}),
        (2, ".zarray", {"compressor": PICKLED}),
        (3, "zarr.json", {"codecs": [{"name": "numcodecs.pickle", "configuration": {"protocol": 5}}]}),
    ],
    ids=["filter", "compressor", "codec"],
)
def test_a_pickle_in_a_stored_array_is_refused_and_not_run(tmp_path, ran, version, name, codecs):
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "name": "job", "status": "done"}))
    store = zarr.open_group(tmp_path / "influence.zarr", mode="w", zarr_format=version)
    array = store.create_array(
        "influence", shape=(1,), dtype="i8", dimension_names=["stimulus"] if version == 3 else None
    )
    array.attrs["_ARRAY_DIMENSIONS"] = ["stimulus"]
    array[:] = 1
    place = tmp_path / "influence.zarr" / "influence"
    (place / name).write_text(json.dumps(json.loads((place / name).read_text()) | codecs))
    for chunk in (path for path in place.rglob("*") if path.is_file() and not path.suffix and path.name[0] != "."):
        chunk.write_bytes(pickle.dumps(Malicious(ran)))
    with pytest.raises(Exception):  # noqa: B017 - whatever zarr says of codecs that it has not
        _ = open_results(tmp_path).influence.values
    assert not ran.exists()


# Code of others


def tampered(checkpoint: Path, ran: Path, **config: object) -> None:
    """The checkpoint with code of its own, named by its configurations."""
    (checkpoint / "mine.py").write_text(f"import os\nos.mkdir({str(ran)!r})\n")
    for name, key, kind in (
        ("config.json", "AutoConfig", "mine.Config"),
        ("config.json", "AutoModelForCausalLM", "mine.Model"),
        ("tokenizer_config.json", "AutoTokenizer", ["mine.Tokenizer", "mine.Tokenizer"]),
    ):
        told = json.loads((checkpoint / name).read_text())
        told["auto_map"] = told.get("auto_map", {}) | {key: kind}
        (checkpoint / name).write_text(json.dumps(told | config))


def test_code_that_a_checkpoint_ships_is_not_run(checkpoint, ran):
    tampered(checkpoint, ran)
    load_checkpoint(str(checkpoint))  # its architecture is known without
    assert not ran.exists()


def test_a_checkpoint_that_needs_its_own_code_is_refused(checkpoint, ran):
    tampered(checkpoint, ran, model_type="mine", tokenizer_class="Mine")
    with pytest.raises(ConfigError, match=r"^model.checkpoint must be readable by transformers"):
        load_checkpoint(str(checkpoint))
    assert not ran.exists()


def results_of_a_stranger(folder: Path, **manifest: object) -> Path:
    """A job on images whose manifest says what is given."""
    square, samples = ("seed", "stimulus", "step", "probe", "readout"), ["a/0.png", "b/0.png"]
    coords: dict = {"seed": [0], "step": [1], "readout": ["log_prob"]}
    coords["relation"] = ("stimulus", "probe"), [["direct"] * 2] * 2
    for dim in ("stimulus", "probe"):
        coords |= {f"{dim}_{name}": (dim, samples) for name in ("id", "label")} | {f"{dim}_class": (dim, [0, 1])}
    influence = xr.DataArray(np.eye(2, dtype=np.float32)[None, :, None, :, None], dims=square, coords=coords)
    write_job(folder, {"name": "cnn", "status": "done", **manifest}, influence, [], {})
    return folder


INCLUDE = {"_target_": "eif_lab.perturbations.include.Include"}


@pytest.mark.parametrize("group", ["dataset", "perturbation"])
def test_a_report_runs_no_code_that_a_manifest_names(tmp_path, ran, monkeypatch, group):
    plugin = tmp_path / f"from-a-colleague-{group}"
    plugin.mkdir()
    (plugin / "evil.py").write_text(f"import os\nos.mkdir({str(ran)!r})\n")
    config = {"seed": 0, "dataset": {"_target_": "eif_lab.data.images.digits.Digits"}, "perturbation": INCLUDE}
    folder = results_of_a_stranger(tmp_path / "job", config=config | {group: {"_target_": f"{plugin.name}.evil.X"}})
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` does with the current folder
    assert report.main([str(folder)]) == 0
    assert not ran.exists()
    report.main([str(folder), "--plugin", f"{plugin.name}.evil"])
    assert ran.exists()  # there was something to run


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\r\x08", "\u202egnp"])
def test_a_terminal_obeys_no_text_of_a_manifest(tmp_path, text, capsys):
    fields = {"name": f"job {text}", "reason": text, "overrides": [f"model={text}"]}
    write_job(tmp_path / "sweep" / "1", {**fields, "status": "failed"}, None, [], {})
    shutil.copytree(tmp_path / "sweep" / "1", tmp_path / "sweep" / text)
    print_sweep(write_sweep(tmp_path / "sweep"))
    print_job(open_results(tmp_path / "sweep" / "1"))
    print_finished(open_results(tmp_path / "sweep" / "1"))
    assert status.main([str(tmp_path / "sweep")]) == 0
    (tmp_path / "sweep" / text / "manifest.json").write_text("{")
    print_sweep(write_sweep(tmp_path / "sweep"))
    assert report.main([str(tmp_path / "sweep" / text)]) == 2
    printed = capsys.readouterr()
    assert not set(text) & set("\x1b\x07\x9b\r\x08\u202e") & set(printed.out + printed.err)
    assert "job" in printed.out and "must be a job's manifest" in printed.err


# Archives


def climbing(kind: str) -> bytes:
    """An archive whose one member is to be written outside the folder that it is unpacked in."""
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("../../../ran", b"")
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("../../../ran"))
    return packed.getvalue()


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("published", [False, True], ids=["wrong checksum", "right checksum"])
def test_an_archive_writes_nothing_outside_its_folder(tmp_path, monkeypatch, kind, published):
    source = "torchvision.datasets.MNIST"
    names = [f"{split}-{part}-ubyte.gz" for split in ("train", "t10k") for part in ("images-idx3", "labels-idx1")]
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in names:
        (raw / name).write_bytes(climbing(kind))
    monkeypatch.setattr(f"{source}.mirrors", ["http://127.0.0.1:9/"])
    if published:
        monkeypatch.setattr(f"{source}.resources", [(name, hashlib.md5(climbing(kind)).hexdigest()) for name in names])
    with pytest.raises(ConfigError, match=r"^dataset.root must hold"):
        MNIST(root=str(tmp_path / "data"), download=str(tmp_path / "fetched")).load(0)
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= {"data", "fetched"} and not list(tmp_path.rglob("ran"))


# Paths

ADDRESSES = ["a::b", "memory:", "x?y#z%20", "two words, ü"]
"""Names of folders that some library takes for an address, or for a part of one."""


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_path_that_looks_like_an_address_is_a_path(command, tmp_path, monkeypatch, name):
    """Those of results, cache, data, and the folder that the command runs in."""
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)

    def pictures(folder: Path) -> None:
        for label in ("cat", name):
            (folder / name / name / "data" / label).mkdir(parents=True)
            for i in range(4):
                Image.new("L", (8, 8), 40 * i + len(label)).save(folder / name / name / "data" / label / f"{i}.png")

    given = [f'hydra.run.dir="{name}/run"', f'cache="{name}/cache"', f'dataset.path="{name}/data"']
    tiny = "dataset=image_folder dataset.size=[8,8] dataset.stimuli=4 dataset.probes=4 model.channels=[4]"
    ended = command(pictures, shlex.join([*tiny.split(), "model.hidden=8", "update.learning_rate=0.1", *given]))
    assert (ended.code, ended.err) == (0, ""), ended
    assert np.isfinite(open_results(tmp_path / name / name / "run").influence.values).all()
    assert list((tmp_path / name / name / "cache" / "influence").glob("*/influence.zarr/zarr.json"))
    assert report.main([f"{name}/run", "--output", f"{name}/page.html"]) == 0
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} == {name}


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_training_is_gone_on_with_in_a_folder_that_looks_like_an_address(tmp_path, monkeypatch, name):
    from eif_lab.models.base import Training
    from eif_lab.models.checkpoints import last_checkpoint
    from eif_lab.models.training import remaining_batches, train

    rows = torch.utils.data.TensorDataset(torch.randn(8, 3), torch.randn(8, 1))

    def trained(folder: Path, at: int) -> torch.Tensor:
        torch.manual_seed(0)
        net, batches = torch.nn.Linear(3, 1), torch.utils.data.DataLoader(rows, generator=torch.Generator())
        calls = iter(range(99))

        def loss(output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
            if next(calls) == at:
                raise KeyboardInterrupt
            return torch.nn.functional.mse_loss(output, wanted)

        options = Training(steps=8, checkpoint_every=2)
        train(net, loss, remaining_batches(batches), options, directory=folder, title="a training")
        return net.weight.detach()

    folder = tmp_path / name
    (tmp_path / "plain").mkdir()
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(KeyboardInterrupt):
        trained(folder, at=5)
    assert last_checkpoint(folder)["global_step"] == 4
    assert torch.equal(trained(folder, at=-1), trained(tmp_path / "plain", at=-1))
    assert not list(folder.iterdir())


def test_a_checkpoint_in_the_folder_that_a_command_runs_in_is_not_gone_on_from(tmp_path, monkeypatch, ran):
    """Under Slurm, Lightning would load the latest ``hpc_ckpt_*.ckpt`` that it finds there."""
    from eif_lab import measure_influence

    torch.save({"state_dict": Malicious(ran)}, tmp_path / "hpc_ckpt_1.ckpt")
    monkeypatch.chdir(tmp_path)
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "job", "SLURM_JOB_ID": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"):
        monkeypatch.setenv(name, "0")
    x, y = torch.randn(2, 3), torch.tensor([0, 1])
    net, update = torch.nn.Linear(3, 2), {"learning_rate": 0.1}
    found = measure_influence(net, torch.nn.functional.cross_entropy, (x, y), (x, y), update=update, engine="reference")
    assert np.isfinite(found.values).all() and not ran.exists()


# What is said of all this


def test_the_page_on_trust_names_tests_that_there_are():
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "threat_model.md").read_text(encoding="utf-8"))
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 15 and not [name for name in named if f"def {name}(" not in written]


# Secrets

SECRETS = {
    name: f"{number:08x}5ec2e75ec2e75ec2e75ec2e75ec2e7ff"
    for number, name in enumerate(
        ["WANDB_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "PASSWORD"]
    )
}


@pytest.mark.parametrize("tracker", ["none", "wandb"])
def test_no_secret_of_the_environment_is_written_or_printed(command, tmp_path, monkeypatch, tracker):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine api.wandb.ai login user password 5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e7dead\n")
    for name, value in {**SECRETS, "HOME": str(home), "NETRC": str(home / ".netrc"), "WANDB_MODE": "offline"}.items():
        monkeypatch.setenv(name, value)
    tiny = "dataset.stimuli=6 dataset.probes=6 model.channels=[4] model.hidden=8 update.learning_rate=0.1"
    ended = command(lambda folder: None, f"{tiny} tracker={tracker}")
    assert ended.code == 0, ended
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != home / ".netrc"]
    names = {path.name for path in files}
    assert {"manifest.json", "job.log"} <= names and (tracker == "none") != any(n.endswith(".wandb") for n in names)
    for content in (*(path.read_bytes() for path in files), ended.out.encode(), ended.err.encode()):
        assert b"5ec2e75ec2e7" not in content


def test_a_password_in_a_servers_address_is_not_told(caplog):
    from eif_lab.results.trackers.wandb import _why_unreachable

    told = _why_unreachable("http://someone:5ec2e75ec2e7@127.0.0.1:9", timeout=1)
    assert "127.0.0.1:9" in told and "5ec2e75ec2e7" not in told


# Dependencies


def locked() -> dict[str, tuple[str, int]]:
    """What requirements.lock pins: name to (version, number of hashes)."""
    pins: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text()):
        if not block.startswith("#"):
            pin = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", block)
            assert pin, f"not pinned: {block.splitlines()[0]}"
            pins[re.sub(r"[-_.]+", "-", pin[1]).lower()] = pin[2], block.count("--hash=sha256:")
    return pins


def test_every_locked_package_is_held_to_a_hash():
    assert len(locked()) > 50 and all(hashes for _, hashes in locked().values())


def test_the_lock_holds_what_the_project_declares():
    """An audit for known holes (pip-audit) asks a server, so that it is not among the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = locked()
    extras = project["optional-dependencies"]
    wanted_by_dev = [Requirement(line) for line in (*project["dependencies"], *extras["dev"])]
    own = [extra for one in wanted_by_dev if one.name == project["name"] for extra in one.extras]
    for wanted in (*wanted_by_dev, *(Requirement(line) for extra in own for line in extras[extra])):
        if wanted.name == project["name"]:
            continue
        assert wanted.name.lower() in pins, f"{wanted.name} is not locked: make lock"
        version, _ = pins[wanted.name.lower()]
        assert wanted.specifier.contains(version), f"{wanted} is locked at {version}: make lock"
