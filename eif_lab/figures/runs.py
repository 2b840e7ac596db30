"""The finished jobs that a figure is drawn from, and what each was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from eif_lab.data.worlds import domains
from eif_lab.desiderata.selection import select_readout
from eif_lab.desiderata.strength import TAUGHT_ALPHA
from eif_lab.errors import rule_error
from eif_lab.figures.style import LONGEST_LINE, fit_name, fit_words
from eif_lab.models.language.phi3 import OURS
from eif_lab.results.folders import MANIFEST
from eif_lab.results.job import ARRAY, JobResults
from eif_lab.results.manifest import DONE
from eif_lab.results.scalars import NAMED
from eif_lab.results.seeds import seeds_of
from eif_lab.results.sweep import SweepResults, open_results

DOMAINS = tuple(domain().name for domain in domains.DOMAINS)
COORDINATES = ("relation", "stimulus_id", "probe_id")
"""Attributes that every figure reads of an array."""

IMAGES = ("fashion_mnist", "mnist", "digits")

RULE = "rule"
"""The engine of a reference learner."""

CONTEXT = "context"
"""Of a background, that it stands before every probe."""

TITLES = {"fashion_mnist": "FashionMNIST", "mnist": "MNIST"}


@dataclass(frozen=True)
class Setting:
    """The setting of a job, in the words of its array and its config.

    Attributes:
        model, dataset, method, perturbation: Names.
        engine: The engine that ran, such as ``stacked`` or ``first_order``.
        view: ``probes`` or ``statements`` of a knowledge domain; empty otherwise.
        background: Where what is known beforehand is: ``taught``, in the ``context``, or ``known``; empty where that
            is no option of the data.
        noise: The kind of noise; empty where none was added.
        seed, data_seed: Of base training and method, and of the draw of samples.
        images: Whether the samples have classes.
    """

    model: str
    dataset: str
    method: str
    perturbation: str
    engine: str
    view: str
    background: str
    noise: str
    seed: int
    data_seed: int
    images: bool

    @property
    def exact(self) -> bool:
        """Whether updates were run, not predicted."""
        return self.engine != "first_order"

    @property
    def draw(self) -> tuple[int, int]:
        """Both seeds: arrays of one model and dataset are over the same samples where these are equal."""
        return self.seed, self.data_seed

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts jobs as figures show them: images, then knowledge domains, and exact before predicted."""
        known = [*IMAGES, *DOMAINS]
        place = known.index(self.dataset) if self.dataset in known else len(known)
        return place, self.dataset, self.model, not self.exact, self.noise, self.draw


def setting(job: JobResults) -> Setting:
    """The setting of a job."""
    names, config = job.influence.attrs, job.manifest.config
    seed, data_seed = seeds_of(config)
    perturbation = str(names["perturbation"])
    noise = (config.get("perturbation") or {}).get("noise") or "gaussian" if perturbation == "noise" else ""
    dataset = config.get("dataset") or {}
    return Setting(
        model=str(names["model"]),
        dataset=str(names["dataset"]),
        method=str(names["method"]),
        perturbation=perturbation,
        engine=job.manifest.engine,
        view=str(dataset.get("view") or ""),
        background=str(dataset.get("background") or ""),
        noise=str(noise),
        seed=seed,
        data_seed=data_seed,
        images="stimulus_class" in job.influence.coords,
    )


def find_jobs(folders: Iterable[str | Path]) -> list[JobResults]:
    """The jobs in the folders, each a job or a sweep, that ended with an array, in the order of figures.

    Raises:
        ConfigError: A folder holds no results, no job ended with an array, or a job lacks what figures show.
    """
    folders = list(folders)
    opened = [open_results(folder) for folder in folders]
    jobs = [job for one in opened for job in (one.jobs if isinstance(one, SweepResults) else [one])]
    done = [job for job in jobs if job.manifest.status == DONE]
    if not done:
        reasons = "; ".join(dict.fromkeys(job.manifest.reason for job in jobs))
        raise rule_error("results path", "hold a job that is done", [str(folder) for folder in folders], reasons)
    for job in done:
        require_fields(job)
    return sorted(done, key=lambda job: setting(job).order)


def require_fields(job: JobResults) -> None:
    """Refuse a job whose array or manifest lacks what every job of this package has and figures show.

    Raises:
        ConfigError: Which field it lacks.
    """
    manifest = job.manifest
    there = {
        **{f"{ARRAY} attribute {name}": name in job.influence.attrs for name in NAMED},
        **{f"{ARRAY} coordinate {name}": name in job.influence.coords for name in COORDINATES},
        **{f"{MANIFEST} {name}": bool(manifest[name]) for name in ("seeds", "unit", "engine", "stimuli", "probes")},
        f"{MANIFEST} base_model": manifest.base_model.name is not None,
        f"{MANIFEST} update": manifest.update.steps is not None,
    }
    if absent := [name for name, known in there.items() if not known]:
        raise rule_error("results path", f"hold jobs with {', '.join(absent)}", str(job.path), "Run the job again.")


def select_jobs(jobs: Sequence[JobResults], what: str, fits: Callable[[Setting], bool]) -> list[JobResults]:
    """The jobs that fit; reference learners, which bound what a model does, are among them where there is no model.

    Args:
        jobs: To choose from.
        what: What is chosen, for the error.
        fits: The choice.

    Raises:
        ConfigError: None does.
    """
    fitting = [job for job in jobs if fits(setting(job))]
    if not fitting:
        raise rule_error("results path", f"hold {what}", [job.manifest.name for job in jobs])
    return [job for job in fitting if setting(job).engine != RULE] or fitting


def leave_out_context(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs whose background is not in the context; all of them where each has it there."""
    return [job for job in jobs if setting(job).background != CONTEXT] or list(jobs)


def must_be_one_model(jobs: Sequence[JobResults]) -> None:
    """Refuse jobs of several models, where a figure shows methods side by side and names one model above them.

    Raises:
        ConfigError: Their models.
    """
    models = list(dict.fromkeys(setting(job).model for job in jobs))
    if len(models) > 1:
        raise rule_error("results path", "hold jobs of one model", models, "Give the folders of one model at a time.")


def judged_array(job: JobResults) -> xr.DataArray:
    """The job's array (stimulus, probe) that was judged: first seed, last step, first readout."""
    array = job.influence
    return select_readout(array, str(array["readout"].values[0])).transpose("stimulus", "probe").load()


def taught_nothing(job: JobResults) -> bool:
    """Whether the job's strength is not clearly above zero; False of a job of before, of which that is not known."""
    strength = job.manifest.strength
    known = "p_value" in strength
    return known and (strength["p_value"] is None or not strength["p_value"] <= TAUGHT_ALPHA)


def finding(job: JobResults, desideratum: str, statistic: str | None = None) -> pd.Series | None:
    """The row of ``verdicts.parquet`` for a statistic, or for the headline; None where it was not judged.

    Args:
        job: Whose.
        desideratum: Its name in the job.
        statistic: Of several the one meant.
    """
    rows = job.verdicts[(job.verdicts["desideratum"] == desideratum) & (job.verdicts["status"] == DONE)]
    if statistic is not None:
        rows = rows[rows["statistic"] == statistic]
    return rows.iloc[0] if len(rows) else None


def model_title(job: JobResults) -> str:
    """The model's name, which says of one that comes with the package that it is not Microsoft's."""
    name = setting(job).model
    return f"{name} (ours, not Phi-3)" if name in OURS else {"cnn": "CNN"}.get(name, fit_name(name, LONGEST_LINE))


def dataset_title(job: JobResults) -> str:
    """The dataset's name as it is written."""
    name = setting(job).dataset
    return TITLES.get(name, fit_words(name))


def data_title(job: JobResults) -> str:
    """The dataset's name, and where the background is unless it is in the weights."""
    return dataset_title(job) + (", background in the context" if setting(job).background == CONTEXT else "")
