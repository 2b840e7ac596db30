"""One job: a choice for each group, and the settings that belong to none.

Nothing heavy is imported here, so that the command line's help does not wait for torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eif_lab.configs import CACHE
from eif_lab.options import Options, option

if TYPE_CHECKING:
    from eif_lab.data.dataset import Dataset
    from eif_lab.desiderata.desideratum import Desideratum
    from eif_lab.influence.engines import Engine
    from eif_lab.influence.update import Update
    from eif_lab.jobs.workers import Workers
    from eif_lab.methods import Method
    from eif_lab.models.base import Model
    from eif_lab.perturbations.perturbation import Perturbation
    from eif_lab.results.trackers.tracker import Tracker


@dataclass
class Settings(Options):
    """Options that belong to no group.

    Attributes:
        readout: What is read of each probe, by name or dotted path; verdicts are about the first.
        trajectory: Whether probes are read after every step, and not after the last one alone.
        seed: Of the model, the method and what the desiderata draw.
        data_seed: Of the samples that are drawn, and of the perturbation.
        device: As torch names it.
        deterministic: Whether the same machine gives the same bits again.
        plan: Whether only the time and memory of the job are estimated, and it is not run.
        cache: The folder of arrays, models and data that jobs share.
    """

    readout: list[str] = option(["log_prob"], hint="Try [log_prob].")
    trajectory: bool = False
    seed: int = option(0, at_least=0, at_most=2**32 - 1, hint="Try 0.")
    data_seed: int = option(0, at_least=0, at_most=2**32 - 1, hint="Try 0.")
    device: str = "cpu"
    deterministic: bool = False
    plan: bool = False
    cache: str = CACHE


@dataclass(kw_only=True)
class Job(Settings):
    """One job: a choice for each group, and the settings."""

    dataset: Dataset
    model: Model
    method: Method
    perturbation: Perturbation
    update: Update
    engine: Engine
    tracker: Tracker
    workers: Workers
    desideratum: dict[str, Desideratum] = option({})


def job_name(job: Job) -> str:
    """``model dataset method perturbation``, in words that tell what was run; and that it is a prediction, if it is."""
    parts = [job.model.name, job.dataset.name, job.method.name]
    parts += [] if job.perturbation.name == "include" else [job.perturbation.name]
    return " ".join(parts + ([] if job.engine.exact else [job.engine.name]))


def names_of_choices(job: Job) -> dict[str, str]:
    """What the model, the dataset, the method and the perturbation of a job are called."""
    return {part: str(getattr(job, part).name) for part in ("model", "dataset", "method", "perturbation")}
