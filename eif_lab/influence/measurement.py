"""One measurement: prepared once, then calibrated and measured at any learning rate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eif_lab.errors import rule_error
from eif_lab.influence.batch import Batch, Data, as_batch, device_of, kind_of
from eif_lab.influence.caller_model import prepared_for_training
from eif_lab.influence.engines import Engine, named_engine
from eif_lab.influence.engines.auto import Auto
from eif_lab.influence.engines.engine import EVERY, Prepared
from eif_lab.influence.learning_rate import Calibration, search
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.memory import keep_pages
from eif_lab.influence.resources.precision import full_precision
from eif_lab.influence.setup import Setup
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.update import Update
from eif_lab.influence.yardstick import Taught, Yardstick
from eif_lab.methods import Method
from eif_lab.models.base import Loss
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.readout import Readout, Score, named_readouts

log = logging.getLogger(__name__)

OnChunk = Callable[[np.ndarray], None]
"""Called with each finished part, (stimuli, steps, probes, readouts)."""

PERTURBATIONS = ("include", "exclude")


@dataclass
class Measurement:
    """The influence of stimuli on probes.

    The model is tried, the engine chosen and the base read once, when they are first needed, whatever learning rates
    are measured afterwards.

    Attributes:
        problem: What is measured; its learning rate may be None.
        engine: As the user names it.
        known: The setup of another measurement of the same model, whose findings hold for rows of the same shapes.
    """

    problem: Problem
    engine: Engine
    known: Setup | None = None

    @cached_property
    def prepared(self) -> Prepared:
        """The engine, ready for the problem.

        Raises:
            ConfigError: Nothing is trained, or in too low a precision, or the engine cannot do the problem.
        """
        problem, known = self.problem, self.known
        prepared = self.engine.prepare(Setup.checked(problem) if known is None else known.of_other_rows(problem))
        if prepared.note:
            self.engine.say(f"engine {prepared.engine.name}: {prepared.note}")
        return prepared

    @property
    def base_readings(self) -> Tensor:
        """Readings of the probes before any update: (probes, readouts)."""
        return self.prepared.before()

    def influence(
        self,
        update: Update,
        on_chunk: OnChunk | None = None,
        measured: Sequence[np.ndarray] = (),
        rows: slice = EVERY,
    ) -> np.ndarray:
        """Influence as (stimuli, steps, probes, readouts), in at least float32.

        Where stimuli turn out to be otherwise together than alone, ``auto`` has all of them measured anew by ``loop``;
        and so does ``loop`` where texts are read otherwise with their beginnings shared. What was handed on before must
        be what that finds.

        Args:
            update: The recipe of the problem, at any learning rate.
            on_chunk: Called with each part as it is measured.
            measured: Parts of the first of these stimuli that were measured before, which are not measured again.
            rows: Which stimuli.

        Raises:
            ConfigError: The learning rate is so small that the result would be rounding noise, or what was handed on
                before is wrong.
        """
        parts, prepared, base = list(measured), self.prepared, self.problem.base
        try:
            for chunk in prepared.influence(update, [torch.from_numpy(part) for part in measured], rows):
                parts.append(chunk.cpu().numpy())
                if on_chunk is not None:
                    on_chunk(parts[-1])
            return np.concatenate(parts)
        except Disagreement as error:
            reason, of_probes = str(error), error.of_probes
        finally:
            base.restore(every=True)
        self.prepared = self.engine.instead(prepared, reason, of_probes)
        try:
            return self.remeasure(update, on_chunk, np.concatenate(parts) if parts else np.empty(0), rows)
        finally:
            base.restore(every=True)

    def remeasure(self, update: Update, on_chunk: OnChunk | None, old: np.ndarray, rows: slice) -> np.ndarray:
        """Influence anew, when some of it was handed on before by an engine that is not right.

        Raises:
            ConfigError: What was handed on is wrong.
        """
        parts, done = list[np.ndarray](), 0
        for chunk in self.prepared.influence(update, rows=rows):
            part = chunk.cpu().numpy()
            known, new = old[done : done + len(part)], part[max(0, len(old) - done) :]
            if on_chunk is not None:
                if len(known) and not agrees_with_known(known, part):
                    hint = "Throw the parts that were kept away, and try engine=loop."
                    raise rule_error("engine", "be one that takes each stimulus as if alone", f"stimulus {done}", hint)
                if len(new):
                    on_chunk(new)
            parts.append(part)
            done += len(part)
        return np.concatenate(parts)

    def calibrate(
        self,
        clean: Data,
        update: Update,
        probes: Data | None = None,
        yardstick: Yardstick | None = None,
        sets: np.ndarray | None = None,
    ) -> Calibration:
        """The learning rate at which clean stimuli are taught as strongly as is asked for.

        What is known of this measurement is not found out again where their rows have the same shapes.

        Args:
            clean: (inputs, targets), each of which is trained on alone, unless ``sets`` says otherwise.
            update: The recipe whose rate is sought.
            probes: (inputs, targets) that strength is measured on; None for the stimuli.
            yardstick: Of these stimuli, or sets, and probes; None where each stimulus is measured by itself.
            sets: (sets, samples), true where a sample is in a set: these are trained on.
        """
        batch, device = as_batch(clean, "stimuli"), device_of(self.problem.model)
        held_to = Yardstick.of_itself(len(batch)) if yardstick is None else yardstick
        problem = replace(
            self.problem,
            samples=batch.to(device),
            members=memberships(len(batch), "include", sets).to(device),
            probes=(batch if probes is None else as_batch(probes, "probes")).to(device),
            readouts=named_readouts("log_prob"),
            update=update,
            trajectory=False,
            candidates=None,
            everything=None,
            reads=torch.from_numpy(held_to.needed),
        )
        return Measurement(problem, engine_for_search(self.engine), self.prepared.setup).search(held_to)

    def search(self, yardstick: Yardstick) -> Calibration:
        """The learning rate at which the stimuli are taught as strongly as is asked for.

        Args:
            yardstick: Of the problem's stimuli and probes.
        """
        update, stimuli = self.problem.update, len(self.problem.members)
        target = update.strength
        if target is None:
            before = self.base_readings[:, 0].cpu().numpy()
            target = (update.headroom or yardstick.headroom) * yardstick.possible_gain(before)

        def taught(rate: float) -> Taught:
            strengths = yardstick.taught(self.influence(replace(update, learning_rate=rate))[:, 0, :, 0])
            self.prepared.rechecks = False  # once is enough: what is then measured is checked again
            return strengths

        found = search(taught, target, update)
        return replace(found, stimuli=stimuli, yardstick=yardstick.name)


def engine_for_search(engine: Engine) -> Engine:
    """The engine that a rate is searched with: a prediction is made at the rate of the influence that it predicts."""
    return engine if engine.exact else Auto(memory_budget=engine.memory_budget)


def agrees_with_known(known: np.ndarray, part: np.ndarray) -> bool:
    """Whether known influence is that of the first stimuli of a part, up to a hundredth of the largest."""
    largest = np.nanmax(np.abs(part)) if np.isfinite(part).any() else 0.0
    return np.allclose(known, part[: len(known)], rtol=0, atol=0.01 * largest, equal_nan=True)


@contextmanager
def open_measurement(
    model: nn.Module,
    loss: Loss,
    stimuli: Data,
    probes: Data,
    *,
    readout: str | Score | Sequence[str | Score] = "log_prob",
    method: str | Method | Mapping[str, Any] | None = "full",
    update: Update,
    engine: str | Engine = "auto",
    perturbation: str = "include",
    sets: np.ndarray | None = None,
    trajectory: bool = False,
    seed: int = 0,
    candidates: Tensor | np.ndarray | None = None,
    read: np.ndarray | None = None,
) -> Iterator[Measurement]:
    """A measurement, and within this the model made ready for it; `measure_influence` describes what it takes.

    Args:
        model, loss, stimuli, probes: What is measured.
        readout, method, engine, perturbation, sets, trajectory, candidates, read: How.
        update: The recipe; its learning rate may be None.
        seed: Of what the method draws.

    Raises:
        ConfigError: An option is wrong, or stimuli and probes are not what they should be.
    """
    samples, watched, readouts = as_batch(stimuli, "stimuli"), as_batch(probes, "probes"), named_readouts(readout)
    must_have_classes(watched, readouts)
    groups = None if candidates is None else Candidates.of(candidates, watched.targets)
    members = memberships(len(samples), perturbation, sets)
    must_be_read(read, (len(members), len(watched) if groups is None else len(groups)))
    if perturbation == "exclude" and trajectory:
        must_have_as_many_steps(update, len(samples))
    reads = None if read is None else torch.from_numpy(np.ascontiguousarray(read))
    if groups is not None and not groups.needed_for(readouts):
        watched, groups = watched.take(groups.target_rows), None
    if reads is not None and groups is not None:
        reads = reads[:, torch.as_tensor(candidates).cpu().long()]
    engine = engine if isinstance(engine, Engine) else named_engine(engine)
    with prepared_for_training(model, method, seed) as ready, full_precision(), keep_pages():
        device, budget = device_of(ready), engine.memory_budget
        problem = Problem(
            base=Snapshot(ready, room=budget * GIB / 2),
            loss=loss,
            samples=samples.to(device),
            members=members.to(device),
            probes=watched.to(device),
            readouts=readouts,
            update=update,
            trajectory=trajectory,
            memory_budget=budget,
            candidates=None if groups is None else groups.to(device),
            everything=None if perturbation == "include" else torch.arange(len(samples), device=device),
            reads=reads,
        )
        yield Measurement(problem, engine)


def must_have_classes(probes: Batch, readouts: Mapping[str, Readout]) -> None:
    """Refuse real-valued targets where a readout takes them for classes."""
    reads_classes = any(one.reads_classes for one in readouts.values())
    kind = probes.targets.dtype
    if reads_classes and (kind.is_floating_point or kind.is_complex or kind == torch.bool):
        rule = f"have whole numbers as targets with readout={', '.join(readouts)}"
        raise rule_error("probes", rule, str(kind), "Give a function (output, target) as readout.")


def must_be_read(read: Any, size: tuple[int, int]) -> None:
    """Refuse anything but which of the probes each stimulus is read on, at least one."""
    rule = f"be (stimuli, probes), {size}, true where a probe is read, which is one for each stimulus at least"
    if read is None:
        return
    if not (isinstance(read, np.ndarray) and read.dtype == bool):
        raise rule_error("read", rule, kind_of(read), "Try None for all.")
    if read.shape != size or not read.any(axis=1).all():
        received = read.shape if read.shape != size else f"none for stimulus {int(read.any(axis=1).argmin())}"
        raise rule_error("read", rule, received, "Try None for all.")


def must_have_as_many_steps(update: Update, samples: int) -> None:
    """Refuse to compare trajectories that have other steps where a sample is left out than where none is."""
    both = [len(update.batches(size)) for size in (samples, samples - 1)]
    if both[0] != both[1]:
        rule = f"be false where leaving a sample out makes {both[1]} steps of {both[0]}"
        raise rule_error("trajectory", rule, True, "Try update.steps in place of update.epochs.")


def memberships(count: int, perturbation: str, sets: np.ndarray | None = None) -> Tensor:
    """The rows that each update trains on.

    Args:
        count: Number of samples.
        perturbation: ``include`` or ``exclude``.
        sets: (sets, count), true where a sample is in a set.

    Returns:
        (count, 1) each alone, (count, count - 1) all but one, or (sets, size) those of each set, in their order.
    """
    if sets is not None:
        return rows_of_sets(sets, count, perturbation)
    if perturbation == "include":
        return torch.arange(count)[:, None]
    if count < 2:
        raise rule_error("stimuli", "be at least 2 with perturbation=exclude", count)
    everything = torch.arange(count)
    return torch.stack([everything[everything != i] for i in range(count)])


def rows_of_sets(sets: Any, count: int, perturbation: str) -> Tensor:
    """The rows of each set, (sets, size).

    Raises:
        ConfigError: ``sets`` is anything but (sets, count), true for as many samples of each set.
    """
    if perturbation != "include":
        raise rule_error("perturbation", "be include with sets", perturbation, "Leave one of the two out.")
    rule = f"be (sets, stimuli), true where one of the {count} stimuli is in a set, and a NumPy array"
    if not (isinstance(sets, np.ndarray) and sets.dtype == bool):
        raise rule_error("sets", rule, kind_of(sets), "Try eif_lab.draw_sets(...).")
    if sets.ndim != 2 or sets.shape[1] != count or not len(sets):
        raise rule_error("sets", rule, f"shape {sets.shape}", "Try eif_lab.draw_sets(...).")
    sizes = np.unique(sets.sum(axis=1)).tolist()
    if sizes[0] == 0 or len(sizes) > 1:
        received = "a set of none" if sizes[0] == 0 else f"sets of {sizes[0]} to {sizes[-1]} samples"
        raise rule_error("sets", "have as many samples each, one at least", received, "Measure each size by itself.")
    return torch.from_numpy(np.nonzero(sets)[1].reshape(len(sets), -1))
