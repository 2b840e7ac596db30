"""Who measures a job's stimuli: its own process, or actors of a Ray cluster.

Actors load the job's inputs once, from the cache that the job's own process has filled, and write the parts of their
stimuli where that process looks for measured parts. What they leave when they, or it, are killed is gone on from.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch

from eif_lab.console.progress import Bar
from eif_lab.errors import one_line, rule_error
from eif_lab.options import Options, option
from eif_lab.results.checkpoint import Checkpoint, Parts

log = logging.getLogger(__name__)


Rows = Callable[[Parts, slice], None]
"""Measures some stimuli, from the last whole part on, and keeps their parts."""

Prepare = Callable[[], AbstractContextManager[Rows]]
"""Opens a measurement, once for each worker; it can be pickled."""


@dataclass
class Workers(Options):
    """Who measures the stimuli of a job."""

    group: ClassVar[str] = "workers"

    def measure(self, prepare: Prepare, left: Checkpoint, stimuli: int) -> None:
        """Have every part measured that is not there yet.

        Args:
            prepare: What each worker begins with.
            left: Where parts are kept.
            stimuli: How many there are.

        Raises:
            ConfigError: The workers cannot be had, or what one of them raises.
        """
        raise NotImplementedError


@dataclass
class NoWorkers(Workers):
    """The job's own process measures everything."""

    def measure(self, prepare: Prepare, left: Checkpoint, stimuli: int) -> None:
        """Leave it all to the caller, which measures what nobody else has."""


@dataclass
class RayWorkers(Workers):
    """Actors of a Ray cluster, each of which measures some stimuli at a time.

    An actor that dies is started again by Ray, and goes on from its last whole part. Hosts must share the file system
    that holds the cache.

    Attributes:
        actors: How many.
        cpus: Threads of each.
        gpus: Accelerators of each.
        address: Of a running cluster, as ``ray.init`` takes it; None starts one on this machine.
        stimuli: Of one piece of work.
    """

    actors: int = option(2, at_least=1, hint="Try 2.")
    cpus: int = option(1, at_least=1, hint="Try 1.")
    gpus: float = option(0.0, at_least=0, hint="Try 1 with device=cuda.")
    address: str | None = None
    stimuli: int = option(32, at_least=1, hint="Try 32.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if find_spec("ray") is None:
            hint = "Try pip install 'eif-lab[ray]', or workers=none."
            raise rule_error("workers", "be one whose package is installed", "ray", hint)

    def measure(self, prepare: Prepare, left: Checkpoint, stimuli: int) -> None:
        """Have every part measured that is not there yet.

        Args:
            prepare: What each actor begins with.
            left: Where parts are kept.
            stimuli: How many there are.

        Raises:
            ConfigError: The cluster cannot be had, or what an actor raises.
        """
        places = left.missing("stimuli", stimuli, self.stimuli)
        if not places:
            return
        import ray
        from ray.exceptions import RayTaskError

        with self.cluster():
            number = min(self.actors, len(places))
            self.must_fit(number, ray.cluster_resources(), ray.available_resources())
            kind = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_restarts=-1, max_task_retries=-1)(Worker)
            shared = ray.put(prepare)
            folder = (left.folder / "stimuli").absolute()
            actors = [kind.remote(shared, folder, self.cpus, Path.cwd()) for _ in range(number)]
            count = sum(place.stop - place.start for place in places)
            log.info("%d Ray actors measure %d of %d stimuli", number, count, stimuli)
            try:
                self.share(actors, places)
            except RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else error from None

    def must_fit(self, actors: int, has: Mapping[str, float], free: Mapping[str, float]) -> None:
        """Refuse what the cluster has no room for, and say of what has to wait that it waits.

        Args:
            actors: How many are started.
            has: Of each of Ray's resources, such as ``CPU`` and ``GPU``.
            free: Of each resource, what nobody uses.

        Raises:
            ConfigError: Which resource is short: the actors that get none would be waited for for ever.
        """
        for name, each in (("cpus", self.cpus), ("gpus", self.gpus)):
            resource = name[:-1].upper()
            if actors * each > has.get(resource, 0):
                rule = f"be no more, for {actors} actors, than the {has.get(resource, 0):g} that the cluster has"
                raise rule_error(f"workers.{name}", rule, each, f"Try a smaller workers.{name}, or fewer actors.")
            if actors * each > free.get(resource, 0):
                log.warning("others use the cluster: this waits until it has %g %s free", actors * each, resource)

    def share(self, actors: list[Any], places: list[slice]) -> None:
        """Give each idle actor the next place, and wait for the last."""
        from ray.util import ActorPool

        total = sum(place.stop - place.start for place in places)
        done, started = 0, time.perf_counter()
        with Bar(total) as bar:
            for count in ActorPool(actors).map_unordered(lambda actor, place: actor.measure.remote(place), places):
                done += count
                bar.move(done, done / (time.perf_counter() - started))

    @contextmanager
    def cluster(self) -> Iterator[None]:
        """Within this, a cluster is there; one that was started here ends with it."""
        import ray

        if ray.is_initialized():  # a launcher's
            yield
            return
        size = {"num_cpus": self.actors * self.cpus, "include_dashboard": False} if self.address is None else {}
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.WARNING, **size)
        except (ConnectionError, ValueError, RuntimeError) as error:
            rule = f"name a cluster that can be had ({one_line(error)})"
            raise rule_error("workers.address", rule, self.address, "Try null.") from None
        try:
            yield
        finally:
            ray.shutdown()


class Worker:
    """One actor: holds the base model, and measures the stimuli that it is asked for.

    Args:
        prepare: Loads the base model and the data.
        folder: Where parts are kept.
        threads: That it computes with.
        here: Where the job runs, from which its paths are.
    """

    def __init__(self, prepare: Prepare, folder: Path, threads: int, here: Path) -> None:
        os.chdir(here)
        torch.set_num_threads(threads)
        self.folder, self.open_measurement = folder, ExitStack()  # open as long as the actor lives
        self.rows = self.open_measurement.enter_context(prepare())

    def measure(self, place: slice) -> int:
        """Measure these stimuli, from the last whole part on, and say how many they are."""
        parts = Parts(self.folder, place.start, place.stop)
        if parts.rows < place.stop - place.start:
            self.rows(parts, place)
        return place.stop - place.start
