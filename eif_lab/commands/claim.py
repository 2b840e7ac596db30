"""The folder of a command, claimed before Hydra writes to it and held until the command ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from eif_lab.commands.answer import error_line
from eif_lab.commands.checking import job_config
from eif_lab.commands.compose import Command, task_overrides
from eif_lab.commands.loader import format_override
from eif_lab.commands.output import SWEEP_LOCK, Output, must_be_free, must_hold
from eif_lab.commands.splitting import can_split, split_jobs
from eif_lab.errors import ConfigError, rule_error
from eif_lab.results.folders import begun_overrides
from eif_lab.results.job import LOCK


class FolderKind(NamedTuple):
    """The purpose of a command's folder.

    Attributes:
        holds: ``job`` or ``sweep``.
        option: What names the folder.
        lock: The name of the lock in it.
        does: What a holder of the lock does.
    """

    holds: str
    option: str
    lock: str
    does: str


JOB = FolderKind("job", "hydra.run.dir", LOCK, "runs this job")
SWEEP = FolderKind("sweep", "hydra.sweep.dir", SWEEP_LOCK, "runs this sweep")


@contextmanager
def claim_folder(command: Command) -> Iterator[Output]:
    """The folder of a command, within this held by this process; the command's config names it from now on.

    Raises:
        ConfigError: It can't be had, or it holds what is not this command's.
    """
    kind = SWEEP if command.swept else JOB
    node = command.config.hydra.sweep if command.swept else command.config.hydra.run
    with refuse_folder(kind.option, node.dir):
        if not node.dir:
            raise rule_error(kind.option, "name a folder", node.dir, "Leave it out for a new one.")
        # a name that is made of the time is a name that nobody gave
        output = Output.claim(Path(node.dir), unique="${now:" in unresolved_value(node, "dir"))
    try:
        with refuse_folder(kind.option, node.dir, output):
            name_in_config(command, output)
            output.hold(kind.lock, kind.does)
            must_hold(output, kind.holds, kind.option)
            if output.before and command.swept:
                must_have_free_job_folders(command, output.path)
            elif output.before:
                must_be_free(output.path, job_config(command.config, kind.option), kind.option)
        yield output
    finally:
        output.release()


@contextmanager
def refuse_folder(option: str, name: str, output: Output | None = None) -> Iterator[None]:
    """Tell in one line why a folder can't be had, and leave it as it was.

    Args:
        option: What names the folder.
        name: Its name.
        output: The folder, where it is there.

    Raises:
        ConfigError: With the reason.
    """
    try:
        yield
    except (ConfigError, OSError, HydraException, OmegaConfBaseException) as error:
        if output is not None and output.lock:
            output.remove_written()
        if isinstance(error, OSError):
            rule = f"be a folder that can be made and written ({error.strerror})"
            raise rule_error(option, rule, name, "Give another folder.") from error
        raise ConfigError(error_line(error)) from error


def name_in_config(command: Command, output: Output) -> None:
    """Let the config of a command, and what each job of a sweep is composed from, name the claimed folder."""
    hydra = command.config.hydra
    with read_write(hydra), open_dict(hydra):
        (hydra.sweep if command.swept else hydra.run).dir = str(output.path)
        if command.swept:
            hydra.overrides.hydra.append(format_override("hydra.sweep.dir", str(output.path)))


def must_have_free_job_folders(command: Command, sweep: Path) -> None:
    """Refuse a sweep's folder in which another config's job stands where a job of this sweep would.

    Args:
        command: The sweep's.
        sweep: The folder.

    Raises:
        ConfigError: With the folder of the job.
    """
    config = command.config
    if not can_split(config.hydra.sweeper):
        return  # it alone knows its jobs, and each of them looks for itself
    numbered = unresolved_value(config.hydra.sweep, "subdir") == "${hydra.job.num}"
    for number, overrides in enumerate(split_jobs(config.hydra.sweeper, task_overrides(config), command.loader)):
        if numbered and begun_overrides(sweep / str(number)) in (None, tuple(overrides)):
            continue  # as far as can be seen at once; the job itself looks at all of its config
        composed = command.loader.load_job(config, number, overrides)
        wanted_config = job_config(composed, "hydra.sweep.dir", "hydra.sweep.subdir")
        must_be_free(sweep / str(composed.hydra.sweep.subdir), wanted_config, "hydra.sweep.dir")


def unresolved_value(node: DictConfig, name: str) -> str:
    """A value of a config with its interpolations unresolved."""
    return str(cast(dict[str, Any], OmegaConf.to_container(node, resolve=False))[name])
