"""What a config names is held to the contract of its group before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from eif_lab.configs import CONF
from eif_lab.errors import ConfigError
from eif_lab.jobs.read import read_job
from eif_lab.methods.method import Method
from eif_lab.options import Options, options_of


@dataclass
class Loose(Options):
    """Has what a dataset has, but is none."""

    group: ClassVar[str] = "dataset"
    kind: ClassVar[str] = "image"
    name: str = "loose"

    def load(self, seed):
        raise AssertionError("nothing is loaded")


@dataclass
class Silent(Options):
    """A tracker that cannot start a run."""

    group: ClassVar[str] = "tracker"


@dataclass
class Whispered(Method):
    """A method of a channel that does not exist."""

    channel: ClassVar[str] = "whisper"


@dataclass
class Named(Options):
    """Names a file by its contents."""

    def identity(self):
        return "0123"


@pytest.mark.parametrize(
    ("group", "kind", "message"),
    [
        ("dataset", "Loose", "dataset._target_ must name a Dataset (eif_lab.data.dataset.Dataset), got"),
        ("tracker", "Silent", "tracker._target_ must name a Tracker (eif_lab.results.trackers.tracker.Tracker), got"),
        ("method", "Whispered", "method.channel must be one of context, weights, got 'whisper'"),
    ],
)
def test_a_choice_that_breaks_the_contract_of_its_group_is_told_in_one_line(group, kind, message):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", ["tracker=none"]), resolve=True)
    with pytest.raises(ConfigError) as error:
        read_job(config | {group: {"_target_": f"{__name__}.{kind}"}})
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_an_identity_is_part_of_a_key_only_where_there_is_one():
    assert options_of(Named()) == {"class": "Named", "identity": "0123"}
    assert options_of(Loose()) == {"class": "Loose", "name": "loose"}
