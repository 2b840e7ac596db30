"""One job, top to bottom: data, model, influence, verdicts, sinks."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from eif_lab.data.images import feature_distance
from eif_lab.data.knowledge import word_overlap
from eif_lab.data.task import Samples, Task, Texts
from eif_lab.desiderata import evaluate_all
from eif_lab.desiderata.direct import direct_influence
from eif_lab.desiderata.verdict import SATISFIED, Finding, Verdict
from eif_lab.determinants import key_of
from eif_lab.influence.agreement import agreement
from eif_lab.influence.annotate import annotate
from eif_lab.influence.auto import Auto
from eif_lab.influence.batch import Batch
from eif_lab.influence.calibrate import MOST_STIMULI, calibrate, near
from eif_lab.influence.choices import AMONG
from eif_lab.influence.context import measure_context
from eif_lab.influence.first_order import FirstOrder
from eif_lab.influence.loop import Loop
from eif_lab.influence.lowrank import LowRank
from eif_lab.influence.measure import OnChunk, measure_influence
from eif_lab.influence.readout import UNITS, log_prob
from eif_lab.influence.reference import Reference
from eif_lab.influence.rounding import COUNTS, LostToRounding
from eif_lab.influence.stacked import Stacked
from eif_lab.influence.update import Update
from eif_lab.methods.method import trained_summary
from eif_lab.models.base import BaseModel, weights_hash
from eif_lab.models.encoding import IGNORED, spell_out
from eif_lab.results.console import Bar
from eif_lab.results.provenance import package_versions, provenance
from eif_lab.results.rows import DONE
from eif_lab.results.scalars import NAMED, config_key, summarise
from eif_lab.results.store import ArrayCache, write_manifest, write_results
from eif_lab.results.tracking import Run
from eif_lab.results.unfinished import Parts, Unfinished, unfinished
from eif_lab.schema import ConfigError, Job, rule_error

log = logging.getLogger(__name__)

LARGEST_SHIFT = 1e-3
"""In nats: what a method may change by being there, before it is trained."""

MOST_NAMED = 8
"""Stimuli that diverged whose names are told; the array has them all."""

DIRECT_ALPHA = 0.05
"""Level at which direct influence must be above zero for verdicts to be about something."""


def run_job(job: Job, config: Mapping[str, Any], directory: Path, group: str, overrides: list[str]) -> None:
    """Run one job and write its directory.

    Args:
        job: The validated options.
        config: The same as plain containers, for the record.
        directory: The job's own.
        group: The sweep's name.
        overrides: What the job differs in from the defaults.
    """
    with disk_trouble(job.cache, directory):
        run_undisturbed(job, config, directory, group, overrides)


FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def disk_trouble(*folders: str | Path) -> Iterator[None]:
    """Turn a full disk, or a folder that this user may not read or write, into one line.

    Args:
        folders: Where a job writes.

    Raises:
        ConfigError: With the system's own reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            rule, hint = "have room", "Make room: the same command then goes on from what is stored."
        elif error.errno in FORBIDDEN:
            rule, hint = "be yours to read and write", "Try folders of your own, with cache=... and hydra.run.dir=..."
        else:
            raise
        told = " and ".join(map(str, folders_of(error, folders)))
        raise ConfigError(f"{told} must {rule}, got {error}. {hint}") from error


def folders_of(error: OSError, folders: Sequence[str | Path]) -> Sequence[str | Path]:
    """The folder that a file is in which gave trouble; all where the system named no file, or one elsewhere."""
    if not isinstance(error.filename, str):
        return folders
    place = Path(error.filename).absolute()
    return [folder for folder in folders if place.is_relative_to(Path(folder).absolute())] or folders


def run_undisturbed(job: Job, config: Mapping[str, Any], directory: Path, group: str, overrides: list[str]) -> None:
    """As `run_job`, on a disk that is well."""
    started = time.perf_counter()
    name = job_name(job)
    names = {config_key(part): getattr(job, part).name for part in NAMED}
    cache = ArrayCache(Path(job.cache) / "influence")
    key = key_of(job)
    influence = cache.find(key)
    # before a tracker has begun a run, because what the user got wrong shows here at the latest
    with deterministic_algorithms(job.deterministic):
        inputs = load(job) if influence is None else None
    if inputs is not None:
        key = key_of(job)  # what was downloaded just now has an identity now
    tags, told = list(names.values()), {**config, **names}
    with unfinished(cache, key, needed=inputs is not None) as left:
        if inputs is not None:
            influence = cache.find(key)  # another process may have measured it meanwhile
        with job.tracker.start(
            name=name, group=group, tags=tags, config=told, directory=directory, run_id=left.run_id
        ) as run:
            if influence is None:
                assert inputs is not None
                with deterministic_algorithms(job.deterministic):
                    influence = measured(job, inputs, run, left)
                cache.put(key, influence)
            else:
                log.info("influence array %s: found in %s%s", key, cache.root, measured_elsewhere(influence))
            verdicts, found = judged(job, influence, cache)
            write_results(directory, influence, *verdicts)
            found["seconds"] = time.perf_counter() - started
            run.finish(influence, verdicts[0], summary(verdicts[0], found))
        asked = {"name": name, "config": config, "overrides": overrides, "seeds": [job.seed], "array": key}
        # not before the tracker knows all: a job without a manifest is given again, and its run continued
        write_manifest(directory, {**asked, "status": DONE, **found})
        left.remove()


def measured_elsewhere(influence: xr.DataArray) -> str:
    """Under which other packages a stored array was measured, in words; empty where these are the ones at hand."""
    then = (json.loads(influence.attrs["record"]).get("measured") or {}).get("versions") or {}
    now = package_versions()
    other = [f"{name} {version}" for name, version in then.items() if now.get(name) != version]
    return f", measured under {', '.join(other)}" if other else ""


Judged = tuple[list[Verdict], dict[str, str]]
"""Verdicts, and why desiderata have none."""


def judged(job: Job, influence: xr.DataArray, cache: ArrayCache) -> tuple[Judged, dict[str, Any]]:
    """What the desiderata say of an array, and the manifest's part on what was found.

    Args:
        job: The options.
        influence: The array.
        cache: Where the exact array of a prediction is, or the other way round.
    """
    record = json.loads(influence.attrs["record"])
    log_record(record)
    finding = Finding(**record["direct_influence"])
    verdicts, missing = evaluate_all(influence, job.desideratum, job.seed, job.readout[0])
    if finding.verdict(DIRECT_ALPHA) != SATISFIED:
        note = f"direct influence is not clearly above zero ({interval(finding)}): this verdict is about nothing"
        verdicts = [about_nothing(verdict, note) for verdict in verdicts]
    return (verdicts, missing), {"first_order": distance_from_exact(job, influence, cache), **record}


def summary(verdicts: Sequence[Verdict], found: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and verdicts of a job by which runs are sorted."""
    speed = {name: found[name] for name in ("pairs_per_second", "seconds")}
    far = {f"first_order/{name}": value for name, value in (found["first_order"] or {}).items()}
    return summarise(Finding(**found["direct_influence"]), verdicts, **speed) | far


def distance_from_exact(job: Job, influence: xr.DataArray, cache: ArrayCache) -> dict[str, Any] | None:
    """How far the first-order array of this job is from the exact one, in its first readout; None until both are there.

    Whichever of the two comes second finds the other in the cache.
    """
    if not job.method.trains:
        return None
    others = (Auto(), LowRank(), Stacked(), Loop(), Reference()) if not job.engine.exact else (FirstOrder(),)
    found = (cache.find(key_of(dataclasses.replace(job, engine=other))) for other in others)
    other = next((array for array in found if array is not None), None)
    if other is None:
        return None
    both = (other, influence) if job.engine.exact else (influence, other)
    far = agreement(*(array.sel(readout=job.readout[0]) for array in both))
    log.info(
        "first order against exact: Spearman %.3f, Pearson %.3f, relative error %.3g, same sign %.1f %% of %d cells",
        far.spearman, far.pearson, far.relative_error, 100 * far.sign_agreement, far.cells,
    )  # fmt: skip
    return far.describe()


def job_name(job: Job) -> str:
    """``model dataset method perturbation``, in words that tell what was run; and that it is a prediction, if it is."""
    parts = [job.model.name, job.dataset.name, job.method.name]
    parts += [] if job.perturbation.name == "include" else [job.perturbation.name]
    return " ".join(parts + ([] if job.engine.exact else [job.engine.name]))


@dataclass(frozen=True)
class Inputs:
    """All that a measurement needs.

    Attributes:
        task: Perturbed, without the worlds that were not learnt.
        clean: The stimuli before the perturbation, but for neutral ones.
        stimuli: Encoded.
        probes: Likewise; where a readout compares candidates, a row for each of them.
        candidates: Which probe each row answers; None where each row is a probe.
        distances: Named (stimuli, probes) arrays; the first is the default.
        base: The base model; its module now holds the method.
        model: The module to call, with exactly what moves requiring a gradient; nothing does where stimuli are read.
        record: What is known so far for the manifest.
    """

    task: Task
    clean: Samples
    stimuli: Batch
    probes: Batch
    candidates: np.ndarray | None
    distances: dict[str, np.ndarray]
    base: BaseModel
    model: nn.Module
    record: dict[str, Any]


def load(job: Job) -> Inputs:
    """Data, base model, perturbation and method: all that a user can still have got wrong shows here."""
    must_be_usable(job.device, getattr(job.model, "dtype", "float32"))
    plain = job.dataset.load(job.data_seed)
    perturbed = job.perturbation.apply(plain, job.data_seed)
    return ready(job, plain, perturbed, job.model.prepare(plain, Path(job.cache), job.seed, job.device))


def ready(job: Job, plain: Task, perturbed: Task, base: BaseModel) -> Inputs:
    """Encode what is measured, and put the method into the base model.

    Args:
        job: The options.
        plain: The data before the perturbation.
        perturbed: The data after it.
        base: Its module is changed.

    Raises:
        ConfigError: They do not go together.
    """
    left_out = base.report.get("worlds_not_learnt", [])
    plain, task = without_worlds(plain, left_out), without_worlds(perturbed, left_out)
    if left_out:
        log.warning("%d worlds excluded: the base model did not learn their background", len(left_out))
    stimuli, probes = Batch(*base.encode(task.stimuli)), Batch(*base.encode(task.probes))
    distances = {**task.distances, "feature": feature_distances(base, stimuli, probes, job.device)}
    base_hash, before = weights_hash(base.module), readings(base.module, probes, job.device)
    must_be_numbers(before, base.name)
    trains = job.method.trains
    model = job.method.apply(base.module, job.seed).eval() if trains else base.module.requires_grad_(False)
    shift = float((readings(model, probes, job.device) - before).abs().max())
    if shift > LARGEST_SHIFT:
        told = "%s changes answers before it is trained, by up to %.3g nat: influence is measured from there"
        log.warning(told, job.method.name, shift)
    record = {
        "base_model": {"name": base.name, "hash": base_hash, **base.report},
        "trained_parameters": trained_summary(model),
        "method_shift": shift,
    }
    rows, candidates = rows_to_read(job.readout, base, task.probes, probes)
    inputs = Inputs(task, without_neutral(plain.stimuli), stimuli, rows, candidates, distances, base, model, record)
    if not trains:
        must_fit_context(job, inputs)
    return inputs


def must_be_numbers(before: Tensor, name: str) -> None:
    """Refuse a base model whose readings are no numbers: no influence on them would be one.

    Args:
        before: (probes,).
        name: The model's.

    Raises:
        ConfigError: One of them is NaN or infinite.
    """
    broken = (~before.isfinite()).nonzero().flatten().tolist()
    if broken:
        rule = f"read every probe as a finite number, {name} does not for {len(broken)} of {len(before)}"
        hint = "Try another checkpoint, or a lower learning rate of its training."
        raise rule_error("model", rule, before[broken[0]].item(), hint)


def without_neutral(stimuli: Samples) -> Samples:
    """The stimuli that say something about a probe."""
    neutral = stimuli.coords.get("neutral")
    return stimuli if neutral is None else stimuli.take(np.flatnonzero(~neutral))


def rows_to_read(
    readouts: list[str], base: BaseModel, probes: Samples, encoded: Batch
) -> tuple[Batch, np.ndarray | None]:
    """The rows that the readouts look at, and which probe each is of.

    Args:
        readouts: By name.
        base: How texts become rows.
        probes: What is watched.
        encoded: The same, without their candidates.

    Returns:
        Every candidate of every probe where a readout compares them; otherwise the probes, and None.
    """
    if not (isinstance(probes, Texts) and probes.candidates and any(name in AMONG for name in readouts)):
        return encoded, None
    answers, rows = spell_out(probes)
    return Batch(*base.encode(answers)), rows


def readings(model: nn.Module, probes: Batch, device: str) -> Tensor:
    """Log-probabilities of the probes: (probes,)."""
    with torch.no_grad():
        chunks = zip(*(part.split(512) for part in probes))
        return torch.cat([log_prob(model(x.to(device)), y.to(device)) for x, y in chunks])


CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Within this, torch gives the same bits again on the same machine; an operator that cannot raises a RuntimeError.

    Afterwards every setting is what it was.

    Args:
        wanted: Whether at all; else nothing is touched.
    """
    if not wanted:
        yield
        return
    # cuBLAS is deterministic only with a workspace of its own for each stream; it looks when CUDA is first used
    workspace = os.environ.get(CUBLAS)
    os.environ.setdefault(CUBLAS, ":4096:8")
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop(CUBLAS, None)


def must_be_usable(device: str, dtype: str = "float32") -> None:
    """Refuse a device that torch does not know, cannot use here, or that has no numbers of that precision.

    Raises:
        ConfigError: With torch's own reason.
    """
    try:
        torch.zeros(1, dtype=getattr(torch, dtype), device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).strip().splitlines()[0].split(". ")[0]
        raise rule_error("device", f"be one that torch can use here ({reason})", device, "Try cpu.") from None


def measured(job: Job, inputs: Inputs, run: Run, left: Unfinished) -> xr.DataArray:
    """Calibrate and measure, or go on with it: the array with its coordinates and its record."""
    task, base = inputs.task, inputs.base
    conditions = {"base_model": inputs.record["base_model"]["hash"], "versions": package_versions()}
    recipe = calibrated_update if job.method.trains else prompt_update
    update = left.settle(conditions, lambda: recipe(job, inputs))
    earlier, started = left.seconds, time.perf_counter()
    job.workers.measure(job, update, left, len(task.stimuli))
    with Live(run, len(task.stimuli), left.parts("stimuli")) as live:
        if job.method.trains:
            array = fine_tuned(job, inputs, update, left.parts("stimuli"), live)
        else:
            array = prompted(job, inputs, update, left, live)
    seconds = earlier + time.perf_counter() - started
    array = annotate(array, task, inputs.distances, default=next(iter(inputs.distances)))
    diverged = (~np.isfinite(array.values)).any(axis=(0, 2, 3, 4))
    record = {
        **inputs.record,
        "update": update,
        "direct_influence": dataclasses.asdict(direct_influence(array, job.readout[0])),
        "unit": UNITS[job.readout[0]],
        "engine": array.attrs["engine"],
        "diverged": int(diverged.sum()),
        "diverged_stimuli": array.stimulus_id.values[diverged][:MOST_NAMED].tolist(),
        "unmoved": int(unmoved(array).sum()),
        "stimuli": len(task.stimuli),
        "probes": len(task.probes),
        "measuring_seconds": seconds,
        "pairs_per_second": len(task.stimuli) * len(task.probes) / seconds,
        "measured": provenance(),
    }
    overlap = word_overlap(task)
    record |= {} if math.isnan(overlap) else {"word_overlap": overlap}
    names = {"model": base.name, "dataset": job.dataset.name, "method": job.method.name}
    domain = {"domain": job.dataset.name} if job.dataset.kind == "text" else {}
    return array.assign_attrs(**names, **domain, perturbation=job.perturbation.name, record=json.dumps(record))


def calibrated_update(job: Job, inputs: Inputs) -> dict[str, Any]:
    """The recipe with its learning rate, and how that was found: ``calibration``, None where it was given."""
    update, calibration = job.update, None
    if update.learning_rate is None:
        # a prediction is made at the rate of what it predicts
        engine = job.engine if job.engine.exact else Auto(job.engine.memory_budget)
        clean = Batch(*inputs.base.encode(inputs.clean))
        calibration = calibrate(
            inputs.model, inputs.base.loss, clean, method=None, update=update, engine=engine, seed=job.seed
        )
        update = dataclasses.replace(update, learning_rate=calibration.learning_rate)
    return {**dataclasses.asdict(update), "calibration": calibration and calibration.describe()}


def fine_tuned(
    job: Job, inputs: Inputs, update: Mapping[str, Any], known: Parts, on_chunk: OnChunk, *, rows: slice | None = None
) -> xr.DataArray:
    """Influence through the weights, of all stimuli or of some rows, of which some parts are known."""
    array = measure_influence(
        inputs.model,
        inputs.base.loss,
        inputs.stimuli,
        inputs.probes,
        readout=job.readout,
        method=None,
        update=Update(**{name: value for name, value in update.items() if name != "calibration"}),
        engine=job.engine,
        perturbation=job.perturbation.membership,
        trajectory=job.trajectory,
        seed=[job.seed],
        candidates=inputs.candidates,
        on_chunk=on_chunk,
        measured=known.whole,
        rows=rows,
    )
    return array if "step" in array.dims else array.expand_dims(step=[update["steps"]], axis=2)


def measure_rows(job: Job, inputs: Inputs, update: Mapping[str, Any], parts: Parts, rows: slice) -> None:
    """Measure some stimuli, and keep their parts; whether the whole array is lost to rounding, it alone can tell."""
    with deterministic_algorithms(job.deterministic), suppress(LostToRounding):
        if job.method.trains:
            fine_tuned(job, inputs, update, parts, parts.append, rows=rows)
        else:
            said = [own for own, _ in job.method.contexts(inputs.task.stimuli, job.seed)]
            read_before(job, inputs, said[rows], parts, parts.append)


def must_fit_context(job: Job, inputs: Inputs) -> None:
    """Refuse what cannot be read before a probe, by reading every stimulus before the longest one.

    Raises:
        ConfigError: The template, the number of stimuli or the length does not fit.
    """
    probes = read_texts(inputs)
    scored = inputs.probes.targets != IGNORED
    longest = (scored * torch.arange(1, scored.shape[1] + 1)).amax(1).argmax()
    for context, _ in job.method.contexts(inputs.task.stimuli, job.seed):
        job.method.rows(inputs.base.encode, probes.take([int(longest)]), context)


def read_texts(inputs: Inputs) -> Texts:
    """The probes as texts, row by row."""
    probes = inputs.task.probes
    assert isinstance(probes, Texts)
    return probes if inputs.candidates is None else spell_out(probes)[0]


def prompt_update(job: Job, inputs: Inputs) -> dict[str, Any]:
    """No recipe; where there is a target, ``calibration`` says what stimuli do that are read before themselves."""
    target = job.update.direct_influence
    record: dict[str, Any] = {"optimizer": None, "learning_rate": None, "steps": 0, "calibration": None}
    if target is None:
        return record
    said = job.method.contexts(inputs.clean, job.seed)[:MOST_STIMULI]
    direct = []
    for i, (context, others) in enumerate(said):
        with_own, without = (job.method.rows(inputs.base.encode, inputs.clean.take([i]), c) for c in (context, others))
        direct.append(measure_context(inputs.model, without, [with_own]).item())
    mean = float(np.mean(direct))
    return {**record, "calibration": {"direct_influence": mean, "target": target, "reached": near(mean, target)}}


def prompted(job: Job, inputs: Inputs, update: Mapping[str, Any], left: Unfinished, on_chunk: OnChunk) -> xr.DataArray:
    """Influence through the context; where there are companions, less what these do alone."""
    said, companions = zip(*job.method.contexts(inputs.task.stimuli, job.seed))
    array = read_before(job, inputs, said, left.parts("stimuli"), on_chunk)
    if any(companions):
        alone = left.parts("companions")
        array = array.copy(data=array.values - read_before(job, inputs, companions, alone, alone.append).values)
    return array.expand_dims(seed=[job.seed]).expand_dims(step=[update["steps"]], axis=2)


def read_before(job: Job, inputs: Inputs, contexts: Sequence[str], known: Parts, on_chunk: OnChunk) -> xr.DataArray:
    """What each context does that is read before the probes, of which some parts are known."""
    probes = read_texts(inputs)

    def rows(context: str = "") -> tuple[Tensor, Tensor]:
        return job.method.rows(inputs.base.encode, probes, context)

    return measure_context(
        inputs.model,
        rows(),
        (rows(context) for context in contexts),
        readout=job.readout,
        candidates=inputs.candidates,
        memory_budget=job.engine.memory_budget,
        on_chunk=on_chunk,
        measured=known.whole,
    )


def without_worlds(task: Task, worlds: list[int]) -> Task:
    """The task without the worlds whose background was not learnt.

    Raises:
        ConfigError: None is left.
    """
    if not worlds:
        return task
    stimuli, probes = (np.flatnonzero(~np.isin(s.coords["world"], worlds)) for s in (task.stimuli, task.probes))
    if not len(stimuli):
        told = "model.teaching must teach the background of at least one world, got none learnt."
        raise ConfigError(f"{told} Try more model.teaching.steps.")
    return task.take(stimuli, probes)


def feature_distances(base: BaseModel, stimuli: Batch, probes: Batch, device: str) -> np.ndarray:
    """Distances between the base model's features of stimuli and probes: (stimuli, probes)."""
    with torch.no_grad():
        a, b = (
            torch.cat([base.features(part.to(device)) for part in batch.inputs.split(512)])
            for batch in (stimuli, probes)
        )
    return feature_distance(a.float(), b.float()).cpu().numpy().astype(float)


class Live(ExitStack):
    """Keeps what is measured, and tells the tracker, and the console, how far the measurement is."""

    def __init__(self, run: Run, total: int, parts: Parts) -> None:
        super().__init__()
        self.run, self.total, self.parts = run, total, parts
        self.bar = self.enter_context(Bar(total))
        self.done = 0
        self.cells, self.absolute = 0, 0.0
        for part in parts.whole:
            self.count(part)
        if self.done:
            log.info("going on: %d of them are measured already", self.done)
        self.before, self.started = self.done, time.perf_counter()

    def count(self, part: np.ndarray) -> None:
        """Add a part to the running means."""
        known = np.abs(part[..., 0][np.isfinite(part[..., 0])])
        self.done += len(part)
        self.cells, self.absolute = self.cells + known.size, self.absolute + float(known.sum())

    def __call__(self, part: np.ndarray) -> None:
        """One chunk of (stimuli, steps, probes, readouts) is measured."""
        self.parts.append(part)
        self.count(part)
        rate = (self.done - self.before) / (time.perf_counter() - self.started)
        self.bar.move(self.done, rate)
        running = {"mean_absolute_influence": self.absolute / self.cells if self.cells else math.nan}
        self.run.progress(self.done, self.total, rate, running)


def unmoved(array: xr.DataArray) -> np.ndarray:
    """Which stimuli moved no reading of any probe by one bit; none where only counts are read: (stimuli,)."""
    continuous = [name for name in array.readout.values if name not in COUNTS]
    return (array.sel(readout=continuous).values == 0).all(axis=(0, 2, 3, 4)) & bool(continuous)


def interval(finding: Finding) -> str:
    """An effect with its interval."""
    return f"{finding.effect:.3g} [{finding.low:.3g}, {finding.high:.3g}]"


def about_nothing(verdict: Verdict, note: str) -> Verdict:
    """The verdict without its p-values, which leaves it inconclusive."""
    blank = [dataclasses.replace(finding, p_value=math.nan) for finding in verdict.findings]
    return dataclasses.replace(verdict, findings=blank, note=note)


def log_record(record: Mapping[str, Any]) -> None:
    """The lines that say what was measured."""
    base, moved, update = record["base_model"], record["trained_parameters"], record["update"]
    quality = ", ".join(
        f"{k.replace('_', ' ')} {v:.3f}" for k, v in base.items() if "accuracy" in k and isinstance(v, float)
    )
    log.info("base model: %s%s (weights %s)", base["name"], f", {quality}" if quality else "", base["hash"])
    named = moved["names"]
    rest = f" and {len(named) - 4} more, see manifest.json" if len(named) > 5 else ""
    told = ", ".join(named[:4] if rest else named) + rest
    found = update["calibration"]
    if moved["count"]:
        log.info(
            "trained: %d of %d parameters in %d tensors: %s", moved["count"], moved["total"], moved["tensors"], told
        )
        what, rate = f"{update['optimizer']}, {update['steps']} steps, learning rate", update["learning_rate"]
        log.info("update: %s %.3g%s", what, rate, f", calibrated to {found['target']:.3g} nat" if found else "")
    else:
        log.info("no weight moves: stimuli are read before the probes, and there is no rate to calibrate")
    if found and not found["reached"]:
        told = "not matched: a stimulus raises itself by %.3g nat, where %.3g nat were asked for (not reached)"
        log.warning(told, found["direct_influence"], found["target"])
    log.info(
        "measured: %d stimuli x %d probes by %s in %.1f s (%.0f pairs/s)",
        record["stimuli"], record["probes"], record["engine"], record["measuring_seconds"], record["pairs_per_second"],
    )  # fmt: skip
    if "word_overlap" in record:
        log.info("matched foils share %.0f %% of their words with what follows", 100 * record["word_overlap"])
    direct = Finding(**record["direct_influence"])
    log.info("direct influence: %s %s over %d %s", interval(direct), record["unit"], direct.n, direct.unit)
    if record["diverged"]:
        names = record.get("diverged_stimuli", [])
        named, more = ", ".join(names), record["diverged"] - len(names)
        rest = f" and {more} more" if more else ""
        log.warning("%d stimuli diverged: their influence is NaN (%s%s)", record["diverged"], named, rest)
    if record["unmoved"] and update["learning_rate"]:
        told = "%d stimuli moved nothing: their updates are zero, or too small for this precision to show"
        log.warning(told, record["unmoved"])
