"""What is checked is what will be run: the loader that composes once for many jobs, held to Hydra's own."""

from __future__ import annotations

import os
import pickle
import shlex
import subprocess
import sys

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from eif_lab.commands.compose import Command
from eif_lab.commands.loader import format_override, parse_override

ROWS = [
    "",
    "seed=3 data_seed=4",
    "data_seed=${seed} seed=7",
    "method=lora method.rank=3 method.rank=4",
    "method=lora ++method.rank=3 +method.extra={a: 1, b: [2, x]}",
    "method=lora ~method.rank ~cache",
    "method=peft +method.options.r=2",
    "method=lora +method.target=[a,b] readout=[log_prob,rank] 'readout=[prob]'",
    "experiment=cnn_mnist dataset=digits dataset.stimuli=9",
    "experiment=cnn_mnist seed=2 model.training.steps=5",
    "+method@other=lora +other.more=1",
    "desideratum=[symmetry,logic] desideratum.symmetry.alpha=0.1",
    "+method={extra: 3} ++method.extra=4 seed=1",
    "++method.extra=4 seed=1 +method={extra: 3}",
    "cache=${hydra:runtime.cwd}/c hydra.run.dir=x +hydra.job.env_set.A=b ++hydra.job.env_set={B:c}",
    "dataset=mnist dataset.root=${oc.env:HOME} 'update.learning_rate=1e-3'",
    "hydra.job.config.override_dirname.exclude_keys=[seed] seed=3 device=cuda",
    "hydra={job: {num: 3}} seed=1",
    "model=phi3 dataset=ontology dataset.worlds=null",
]
REFUSED = [
    *("method=nope", "method.rnak=3", "+seed=3", "~nope", "~seed=5", "seed@pkg=3", "nope@pkg=3", "method=lora,full"),
    *("seed.x=2", "+experiment=cnn_mnist", "~desideratum", "method={nome:x} seed=2", "hydra.job.env_set={A:b} seed=1"),
]


def words(row):
    """The overrides of a row, between which only blanks stand."""
    return shlex.split(row.replace(", ", ",").replace(": ", ":"))


@pytest.fixture(scope="module")
def command():
    return Command([])


def composed(loader, overrides, mode=RunMode.RUN):
    """A whole config, Hydra's part included, before interpolations are resolved; or what refuses it."""
    try:
        return OmegaConf.to_container(loader.load_configuration("config", overrides, mode))
    except HydraException as error:
        return type(error), str(error), str(error.__cause__)


@pytest.mark.parametrize("row", [*ROWS, *REFUSED])
def test_a_config_composed_from_what_is_kept_is_the_one_that_hydra_composes(row, command):
    hydras = ConfigLoaderImpl(command.loader.config_search_path)
    for overrides in (words(row), [*words(row), "update.steps=2"], [*words(row), "update.steps=3"]):
        expected = composed(hydras, overrides)
        assert composed(command.loader, overrides) == expected
        assert isinstance(expected, tuple) == (row in REFUSED)


def test_the_values_of_one_job_are_not_found_in_the_next(command):
    one = command.loader.load_configuration("config", ["seed=1", "readout=[rank]"], RunMode.RUN)
    one.readout.append("prob")
    again = command.loader.load_configuration("config", ["seed=2"], RunMode.RUN)
    assert (again.seed, list(again.readout), one.seed) == (2, ["log_prob"], 1)


def test_a_change_of_a_file_during_a_sweep_changes_no_job_of_it(tmp_path):
    (tmp_path / "method").mkdir()
    mine = tmp_path / "method" / "mine.yaml"
    mine.write_text("_target_: eif_lab.methods.lora.LoRA\nname: lora\nrank: 2\n")
    loader = Command([f"--config-dir={tmp_path}"]).loader
    ranks = []
    for seed in range(2):
        ranks.append(loader.load_configuration("config", ["method=mine", f"seed={seed}"], RunMode.RUN).method.rank)
        mine.write_text("_target_: nowhere.Nothing\n")
    assert ranks == [2, 2]


def test_another_process_reads_the_configs_itself(command, tmp_path):
    command.loader.load_configuration("config", ["seed=1"], RunMode.RUN)
    sent = tmp_path / "loader"
    sent.write_bytes(pickle.dumps(command.loader))
    assert sent.stat().st_size < 5000
    code = (
        "import pickle, sys\n"
        "from hydra.types import RunMode\n"
        "loader = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(loader.load_configuration('config', ['seed=2'], RunMode.RUN).seed)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(sent)], capture_output=True, text=True, timeout=120)
    assert (result.stdout, result.stderr) == ("2\n", "")


@pytest.mark.parametrize("text", ["outputs/x", "a b", "a,b", "x=(1)", "ä", "it's", "3", "null", "", "[a]", os.sep])
def test_any_text_can_be_an_override(text):
    assert parse_override(format_override("hydra.sweep.dir", text)).value() == text
