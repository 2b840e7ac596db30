"""Weights & Biases: one run per job, live while it works, offline without a key or a network."""

from __future__ import annotations

import logging
import netrc
import os
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eif_lab.errors import rule_error
from eif_lab.options import Options, option
from eif_lab.results.trackers.careful import first_line, shortened
from eif_lab.results.trackers.none import SilentRun
from eif_lab.results.trackers.tracker import Run

if TYPE_CHECKING:
    import wandb

    from eif_lab.results.sweep import SweepResults

log = logging.getLogger(__name__)

LONGEST_TAG, LONGEST_NAME = 64, 128
"""Characters that W&B takes in a tag, and in the name of a project, a user, a group or a run."""

NOT_IN_NAMES = "/\\#?%:"
"""Characters that W&B does not take in the name of a project or a user, because both are part of an address."""

MODES = ("online", "offline", "disabled", "dryrun", "run", "shared")
"""Values that W&B takes as ``WANDB_MODE``."""


@dataclass
class Wandb(Options):
    """Weights & Biases (https://wandb.ai), or a server of one's own that speaks the same (``WANDB_BASE_URL``).

    Attributes:
        project: Where the runs are listed.
        entity: User or team; null for the key's own.
        mode: ``online``, ``offline`` (``wandb sync`` uploads later) or ``auto``: what ``WANDB_MODE`` says, else online
            where a key is configured, else offline.
        run_group: What the jobs of a sweep share; null for the sweep's name.
        tags: Words beside those that the job brings.
        init_timeout: Seconds to wait for the server before going on offline.
        finish_timeout: Seconds to wait for uploads at a job's end; what is left can be uploaded by ``wandb sync``.
    """

    group: ClassVar[str] = "tracker"
    leaves: ClassVar[tuple[str, ...]] = ("wandb",)

    project: str = option("eif_lab")
    entity: str | None = option(None)
    mode: str = option("auto", one_of=("auto", "online", "offline"), hint="Try auto.")
    run_group: str | None = option(None)
    tags: list[str] = field(default_factory=list)
    init_timeout: float = option(20.0, above=0, hint="Try 20.")
    finish_timeout: float = option(60.0, above=0, hint="Try 60.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for part, hint in (("project", "Try eif_lab."), ("entity", "Try null."), ("run_group", "Try null.")):
            name = getattr(self, part)
            if name is not None and not 1 <= len(name) <= LONGEST_NAME:
                raise rule_error(f"tracker.{part}", f"have 1 to {LONGEST_NAME} characters", name, hint)
            if part != "run_group" and name is not None and set(name) & set(NOT_IN_NAMES):
                raise rule_error(f"tracker.{part}", f"hold none of {' '.join(NOT_IN_NAMES)}", name, hint)
        for tag in self.tags:
            if not 1 <= len(tag) <= LONGEST_TAG:
                raise rule_error("tracker.tags", f"each have 1 to {LONGEST_TAG} characters", tag, "Try fewer words.")
        variable = os.environ.get("WANDB_MODE")
        if self.mode == "auto" and variable and variable not in MODES:
            raise rule_error("WANDB_MODE", f"be one of {', '.join(MODES)}", variable, "Try offline, or unset it.")

    def start(
        self, *, name: str, group: str, tags: list[str], config: dict[str, Any], directory: Path, run_id: str
    ) -> Run:
        """Start a run or go on with it; falls back to offline, and at last to no tracking, with one line on why."""
        arguments = {
            "project": self.project,
            "entity": self.entity,
            "name": shortened(name, LONGEST_NAME),
            "group": self.run_group or shortened(group, LONGEST_NAME),
            "tags": list(dict.fromkeys([*self.tags, *(shortened(tag, LONGEST_TAG) for tag in tags if tag)])),
            "config": config,
            "dir": str(directory),
            "id": run_id,
            "resume": "allow",
        }
        # Whatever breaks inside the tracker must not cost a measurement: the job goes on without it.
        try:
            from eif_lab.results.trackers.wandb_run import WandbRun

            # W&B would take the system's folder for temporary files instead of one that is not there.
            Path(directory).mkdir(parents=True, exist_ok=True)
            return WandbRun(self._open(arguments), name, config, Path(directory))
        except Exception as error:
            log.warning("W&B cannot start (%s); %s goes on untracked", first_line(error), name)
            return SilentRun()

    def record_sweep(self, sweep: SweepResults) -> None:
        """Log a sweep as one more run in the group of its jobs: corrected verdicts, beside the reference learners."""
        name, begun = sweep.path.name, min(job.manifest.created for job in sweep.jobs)
        run = self.start(
            name=f"sweep {name}",
            group=name,
            tags=["sweep"],
            config={"jobs": len(sweep)},
            directory=sweep.path,
            # the same where an interrupted sweep goes on, another where its folder was made anew
            run_id=f"{zlib.crc32(f'{sweep.path.absolute()} {begun}'.encode()):08x}",
        )
        if isinstance(run, SilentRun):
            return
        from eif_lab.results.trackers.wandb_run import WandbRun

        assert isinstance(run, WandbRun)
        with run:
            run.log_sweep(sweep)

    def _open(self, arguments: dict[str, Any]) -> wandb.Run:
        import wandb

        server = _service()
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # failures of its telemetry
        mode = self.mode if self.mode != "auto" else os.environ.get("WANDB_MODE") or server.mode
        keyed = bool(server.api_key or server.identity_token_file) or _in_netrc(server.base_url)
        if mode == "online" and (keyed or self.mode == "online"):
            trouble = (
                _why_unreachable(server.base_url, self.init_timeout) if keyed else "no key, `wandb login` stores one"
            )
            if not trouble:
                try:
                    return self._init(arguments, "online")
                except (wandb.Error, TimeoutError) as error:
                    trouble = first_line(error)
                    wandb.teardown()  # its service still holds the run's id
                    _service()
            log.warning("W&B is not reachable (%s); %s is tracked offline", trouble, arguments["name"])
        return self._init(arguments, "offline" if mode == "online" else mode)

    def _init(self, arguments: dict[str, Any], mode: Any) -> wandb.Run:
        import wandb

        settings = wandb.Settings(
            silent=True,
            init_timeout=self.init_timeout,
            finish_timeout=self.finish_timeout,
            finish_timeout_raises=True,
            # Without this, a run that is open in this process would take this one's data.
            reinit="create_new",
        )
        return wandb.init(**arguments, mode=mode, settings=settings)


def _service() -> wandb.Settings:
    """Start W&B's service, unless it runs, and tell what holds for all runs of this process."""
    import wandb

    with _no_stderr():
        # Silent for the whole process, because some of W&B's lines come before a run has settings of its own.
        return wandb.setup(wandb.Settings(silent=True)).settings


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Within this, a process that is started has no stderr: W&B's service logs there where it cannot write its log."""
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _in_netrc(server: str) -> bool:
    """Whether netrc holds a key for ``server``."""
    path = os.path.expanduser(os.environ.get("NETRC") or "~/.netrc")
    try:
        return netrc.netrc(path).authenticators(urllib.parse.urlsplit(server).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _why_unreachable(server: str, timeout: float) -> str:
    """Why ``server`` cannot be reached, asked before W&B does, which retries until its timeout; empty if it can."""
    try:
        urllib.request.urlopen(server, timeout=timeout).close()
    except urllib.error.HTTPError:
        return ""
    except OSError as error:
        address = urllib.parse.urlsplit(server)
        public = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()  # without a password
        return f"{public}, {first_line(error)}"
    return ""
