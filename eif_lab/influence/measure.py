"""The public function: fine-tune on one stimulus at a time and read every probe."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from eif_lab.errors import rule_error, unknown_name
from eif_lab.influence.batch import Batch, Data, as_batch, device_of
from eif_lab.influence.engines.auto import Auto
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.first_order import FirstOrder
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.engines.reference import Reference
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.influence.per_sample.alone import first_line
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.resources.memory import pages_kept
from eif_lab.influence.resources.precision import full_precision, must_be_resolved, must_hold_update
from eif_lab.influence.soundness import is_compiled, must_be_callable, must_be_sound, must_hold_numbers
from eif_lab.influence.state import State
from eif_lab.influence.update import Update
from eif_lab.methods import Method, named_method
from eif_lab.methods.method import WEIGHTS
from eif_lab.models.base import Loss
from eif_lab.options import build
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.readout import BETTER_WHEN_LOWER, READOUTS, UNITS, Readout, named_readouts, raised

log = logging.getLogger(__name__)

OnChunk = Callable[[np.ndarray], None]

SIGN = {
    "include": "readout after minus readout before: positive means that the stimulus made the target likelier",
    "exclude": "readout with the stimulus minus without it: positive means that the stimulus made the target likelier",
}


def measure_influence(
    model: nn.Module,
    loss: Loss,
    stimuli: Data,
    probes: Data,
    *,
    readout: str | Readout | Sequence[str | Readout] = "log_prob",
    method: str | Method | Mapping[str, Any] | None = "full",
    update: Update | Mapping[str, Any] | None = None,
    engine: str | Engine = "auto",
    perturbation: str = "include",
    trajectory: bool = False,
    seed: int | np.integer | Sequence[int] = 0,
    candidates: Tensor | np.ndarray | None = None,
    on_chunk: OnChunk | None = None,
    measured: Iterable[np.ndarray] = (),
    rows: slice | None = None,
) -> xr.DataArray:
    r"""The empirical influence function: what training on each stimulus alone does to each probe.

    .. math:: I_{ij} = s(U(\theta; z_i); q_j) - s(\theta; q_j)

    for ``perturbation="include"``. With ``"exclude"`` the stimuli are one fine-tuning set ``D``, trained on as one
    batch, and :math:`I_{ij} = s(U(\theta; D); q_j) - s(U(\theta; D \setminus z_i); q_j)`. Both are exact: the update
    is run, not approximated. Batch-norm and dropout are in eval mode throughout. The model is left as it was.

    Args:
        model: Any module, called as ``model(inputs)``; with a tuple of inputs as ``model(*inputs)``, with a dict as
            ``model(**inputs)``. It returns one tensor, with a row for each of the inputs'.
        loss: ``loss(output, target)``, a mean over the batch, such as ``torch.nn.functional.cross_entropy``.
        stimuli: (inputs, targets) with a row per stimulus, tensors or arrays of NumPy; or a data set of such pairs.
        probes: Likewise. All that are read in one pass go through the model as one batch.
        readout: ``log_prob``, ``log_odds``, ``prob``, ``rank``, ``correct``, a function (output, target) to one scalar
            per row, or several of these.
        method: What moves: ``full``, ``lora``, ``adapter``, ``ia3``, a `Method`, ``dict(name="lora", rank=4)``, or None
            for exactly the parameters that require a gradient.
        update: The recipe; by default one SGD step at 0.01. See `Update`.
        engine: ``auto``, ``factored``, ``stacked``, ``loop``, ``reference``, or an `Engine`.
        perturbation: ``include`` or ``exclude``.
        trajectory: Read after every step, not only after the last.
        seed: Of what the method draws (LoRA's initial weights); several give the array a dimension ``seed``.
        candidates: (rows,) whole numbers, for probes that are to be chosen among answers: which probe each row of
            ``probes`` is a candidate answer of. A probe's first row is its target. ``log_odds``, ``rank`` and
            ``correct`` are then against the probe's other candidates, by log-probability (per scored token where they
            differ in length); a probe with one row is read as ever, against all classes or sequences.
        on_chunk: Called with each finished part, (stimuli, steps, probes, readouts), as it is measured.
        measured: Parts that ``on_chunk`` was called with, from the first one on, when the same was measured before and
            interrupted: they are taken as they are, and the rest is measured.
        rows: Measure these stimuli alone, such as ``slice(32, 64)``; with ``exclude`` the others are still trained on.

    Returns:
        Dims ``(stimulus, probe)``, with ``seed`` before them if several seeds are given, ``step`` (1, 2, ...) between
        them with ``trajectory``, and ``readout`` after them if several readouts are asked for. Units and the sign
        convention are attributes. A stimulus whose update diverges has NaN influence; the others are not touched.

    Raises:
        ConfigError: An option is wrong, or stimuli and probes are not what they should be; or the learning rate is so
            small that the array would be rounding noise or zeros. A rate of exactly zero gives exactly zeros.

    Source: Matelsky, Ungar, Kording, arXiv 2406.00509.
    """
    must_be_callable(loss)
    must_be_options(rows, seed, on_chunk, engine=engine, method=method, update=update)
    if not isinstance(perturbation, str) or perturbation not in SIGN:
        raise unknown_name("perturbation", str(perturbation), SIGN)
    samples, watched = as_batch(stimuli, "stimuli"), as_batch(probes, "probes")
    readouts = named_readouts(readout)
    must_have_classes(watched, readouts)
    choices = None if candidates is None else Candidates.of(candidates, watched.targets)
    count = len(watched) if choices is None else len(choices)
    asked = slice(None) if rows is None else rows
    if not range(len(samples))[asked]:
        raise rule_error("rows", f"name at least one of the {len(samples)} stimuli", rows, "Try None for all.")
    if choices is not None and not choices.needed_for(readouts):
        watched, choices = watched.take(choices.own), None
    recipe = update if isinstance(update, Update) else named_update(update)
    if recipe.learning_rate is None:
        raise rule_error("update.learning_rate", "be given", None, "Try 0.01, or find one with eif_lab.calibrate().")
    engine = engine if isinstance(engine, Engine) else named_engine(engine)
    known = iter(measured)

    def one_seed(seed: int) -> tuple[np.ndarray, str]:
        with prepared(model, method, seed) as ready, full_precision(), pages_kept():
            device = device_of(ready)
            problem = Problem(
                model=ready,
                loss=loss,
                samples=samples.to(device),
                members=memberships(len(samples), perturbation)[asked].to(device),
                probes=watched.to(device),
                readouts=readouts,
                update=recipe,
                trajectory=trajectory,
                memory_budget=engine.memory_budget,
                choices=None if choices is None else choices.to(device),
            )
            return measured_array(problem, engine, perturbation, on_chunk, known)

    seeds = [int(seed)] if isinstance(seed, int | np.integer) else [int(one) for one in seed]
    if not seeds:
        raise rule_error("seed", "name at least one seed", seeds, "Try 0.")
    values, names = zip(*[one_seed(one) for one in seeds])
    array = xr.DataArray(
        np.stack(values),
        dims=("seed", "stimulus", "step", "probe", "readout"),
        coords={
            "seed": seeds,
            "stimulus": np.arange(len(samples))[asked],
            "step": np.arange(1, recipe.steps + 1) if trajectory else [recipe.steps],
            "probe": np.arange(count),
            "readout": list(readouts),
        },
        name="influence",
        attrs={
            "units": json.dumps({name: UNITS.get(name, "") for name in readouts}),
            "sign": SIGN[perturbation],
            "perturbation": perturbation,
            "engine": names[0],
        },
    )
    unasked = {
        "seed": isinstance(seed, int | np.integer),
        "step": not trajectory,
        "readout": isinstance(readout, str) or callable(readout),
    }
    return array.isel({dim: 0 for dim, drop in unasked.items() if drop})


def must_have_classes(probes: Batch, readouts: Mapping[str, Readout]) -> None:
    """Refuse real-valued targets where a readout takes them for classes."""
    reads_classes = any(one in READOUTS.values() for one in readouts.values())
    kind = probes.targets.dtype
    if reads_classes and (kind.is_floating_point or kind.is_complex or kind == torch.bool):
        rule = f"have whole numbers as targets with readout={', '.join(readouts)}"
        raise rule_error("probes", rule, str(kind), "Give a function (output, target) as readout.")


def measured_array(
    problem: Problem, engine: Engine, perturbation: str, on_chunk: OnChunk | None, known: Iterator[np.ndarray]
) -> tuple[np.ndarray, str]:
    """Influence as of `run`, and the engine that measured it.

    What ``auto`` takes may find that stimuli are other together than alone; then ``loop`` measures all of them anew,
    and what was handed on before must be what it finds.
    """
    before = taken(known, problem)
    if must_be_sound(problem):
        log.warning("a probe's output depends on the probes beside it: all of them are read in one pass")
        problem = replace(problem, one_pass=True)
    chosen = fit_engine(engine, problem)
    if chosen.compiles(problem) and not is_compiled(problem.model):
        problem = replace(problem, compiled=True)
    handed = list[np.ndarray]()

    def hand(part: np.ndarray) -> None:
        if on_chunk is not None:
            on_chunk(part)
        handed.append(part)

    try:
        return run(problem, chosen, perturbation, hand, before), chosen.name
    except Disagreement as error:
        if not isinstance(engine, Auto):
            raise rule_error("engine", f"be one that can do this ({error})", chosen.name, "Try auto or loop.") from None
        reason, one_pass = str(error), problem.one_pass or error.of_probes
    finally:
        problem.state.restore(every=True)
    log.warning("engine auto: loop in place of %s: %s", chosen.name, reason)
    plain = replace(problem, compiled=False, one_pass=one_pass, plainly=True)
    try:
        return again(plain, Loop(memory_budget=engine.memory_budget), perturbation, on_chunk, before + handed), "loop"
    finally:
        problem.state.restore(every=True)


def taken(known: Iterator[np.ndarray], problem: Problem) -> list[np.ndarray]:
    """The first parts of an earlier measurement, as many as there are stimuli.

    Raises:
        ConfigError: A part is not of this measurement.
    """
    rows = len(problem.probes) if problem.choices is None else len(problem.choices)
    steps = problem.update.steps if problem.trajectory else 1
    shape, parts = (steps, rows, len(problem.readouts)), list[np.ndarray]()
    while (done := sum(map(len, parts))) < len(problem.members):
        try:
            part = next(known)
        except StopIteration:
            break
        if not isinstance(part, np.ndarray) or part.shape[1:] != shape or done + len(part) > len(problem.members):
            received = part.shape if isinstance(part, np.ndarray) else type(part).__name__
            rule = f"hold parts of this measurement: at most {len(problem.members)} stimuli by {shape}"
            raise rule_error("measured", rule, received)
        parts.append(part)
    return parts


def must_be_options(rows: Any, seed: Any, on_chunk: Any, *, engine: Any, method: Any, update: Any) -> None:
    """Refuse options of another type than they have."""
    if torch.is_inference_mode_enabled():
        raise rule_error("measure_influence", "be called outside torch.inference_mode()", "a call within it")
    if rows is not None and not (isinstance(rows, slice) and (rows.step or 1) > 0):
        raise rule_error("rows", "be a slice forwards", rows, "Try slice(32, 64).")
    several = seed if isinstance(seed, list | tuple | range | np.ndarray) else [seed]
    for one in several:
        if not isinstance(one, int | np.integer) or not 0 <= int(one) < 2**63:
            raise rule_error("seed", "be a whole number from 0 on, or several", one, "Try 0.")
    if not isinstance(engine, str | Engine):
        raise rule_error("engine", "be a name or an Engine", engine, "Try auto.")
    if method is not None and not isinstance(method, str | Method | Mapping):
        raise rule_error("method", "be a name, a mapping with a name, a Method or None", method, "Try full.")
    if update is not None and not isinstance(update, Update | Mapping):
        raise rule_error("update", "be a mapping or an Update", update, "Try dict(learning_rate=0.01).")
    if on_chunk is not None and not callable(on_chunk):
        raise rule_error("on_chunk", "be a function", type(on_chunk).__name__)


def again(
    problem: Problem, engine: Engine, perturbation: str, on_chunk: OnChunk | None, handed: Sequence[np.ndarray]
) -> np.ndarray:
    """Influence as of `run`, when some of it was handed on before by an engine that is not right.

    Raises:
        ConfigError: What was handed on is wrong.
    """
    old = np.concatenate(handed) if handed else np.empty(0)
    done = 0

    def check(part: np.ndarray) -> None:
        nonlocal done
        known, new = old[done : done + len(part)], part[max(0, len(old) - done) :]
        largest = np.nanmax(np.abs(part)) if np.isfinite(part).any() else 0.0
        same = (
            np.allclose(known, part[: len(known)], rtol=0, atol=0.01 * largest, equal_nan=True) if len(known) else True
        )
        if on_chunk is not None and not same:
            hint = "Throw the parts that were kept away, and try engine=loop."
            raise rule_error("engine", "be one that takes each stimulus as if alone", f"stimulus {done}", hint)
        done += len(part)
        if len(new) and on_chunk is not None:
            on_chunk(new)

    return run(problem, engine, perturbation, check, [])


def fit_engine(engine: Engine, problem: Problem) -> Engine:
    """The engine to run: of ``auto`` the one that it takes, of any other itself.

    Raises:
        ConfigError: Nothing is trained, or in too low a precision, or the engine cannot do the problem, or it would
            round the update away.
    """
    if not problem.trained:
        raise rule_error("method", "train at least one parameter", "none that requires a gradient")
    chosen = engine.choose(problem) if isinstance(engine, Auto) else engine
    if chosen.stores_weights:
        must_be_precise(problem)
    reason = chosen.refuses(problem) if chosen is engine else ""
    if reason:
        raise rule_error("engine", f"be one that can do this ({reason})", engine.name, "Try auto.")
    if chosen.stores_weights:
        must_hold_update(problem)
    problem.alone.clear()
    if note := chosen.note(problem):
        engine.say(f"engine {chosen.name}: {note}")
    return chosen


def must_be_precise(problem: Problem) -> None:
    """Refuse parameters in which a step would not show."""
    for name, parameter in problem.trained.items():
        if torch.finfo(parameter.dtype).bits < 32:
            rule = "train parameters of at least float32, in which a small update does not vanish"
            raise rule_error("method", rule, f"{name} in {parameter.dtype}", "Try float32, or method=lora.")


def run(
    problem: Problem, engine: Engine, perturbation: str, on_chunk: OnChunk | None, known: Sequence[np.ndarray]
) -> np.ndarray:
    """Influence as (stimuli, steps, probes, readouts), in the readings' own precision, at least float32.

    Its first parts, where they are ``known``, are taken as they are.

    Raises:
        ConfigError: All of it is below what the readings resolve.
    """
    if perturbation == "exclude":
        everything = torch.arange(len(problem.samples), device=problem.members.device)[None]
        [with_all] = engine.run(replace(problem, members=everything))
        before, sign = with_all[0], -1
    else:
        before, sign = engine.before(problem)[None] if engine.exact else problem.members.new_zeros(()).float(), 1
    before = raised(before)
    signs = before.new_tensor([-sign if name in BETTER_WHEN_LOWER else sign for name in problem.readouts])
    parts = list(known)
    done = sum(map(len, parts))
    rest = replace(problem, members=problem.members[done:]) if done else problem
    for after in engine.run(rest) if len(rest.members) else ():
        parts.append(((raised(after) - before) * signs).cpu().numpy())
        if on_chunk is not None:
            on_chunk(parts[-1])
    influence = np.concatenate(parts)
    if engine.exact:
        must_be_resolved(problem, before, influence)
    return influence


def memberships(count: int, perturbation: str) -> Tensor:
    """The rows that each update trains on: (count, 1) each alone, or (count, count - 1) all but one."""
    if perturbation == "include":
        return torch.arange(count)[:, None]
    if count < 2:
        raise rule_error("stimuli", "be at least 2 with perturbation=exclude", count)
    everything = torch.arange(count)
    return torch.stack([everything[everything != i] for i in range(count)])


@contextmanager
def prepared(model: Any, method: str | Method | Mapping[str, Any] | None, seed: int) -> Iterator[nn.Module]:
    """The model in eval mode with the method's parameters marked; afterwards the caller's model is as it was.

    Anything but a module with numbers is refused. A method that adds modules works on a copy. What
    ``torch.compile`` made of the model is left aside: within this it computes as it is written.

    Raises:
        ConfigError: The model has no numbers, cannot be copied or cannot be put into eval mode.
    """
    must_hold_numbers(model)
    started = State(model, room=math.inf) if any(map(has_modes_of_its_own, model.modules())) else None
    chosen = named_method(method) if isinstance(method, str | Mapping) else method
    if chosen is not None and chosen.channel != WEIGHTS:
        hint = "Try eif_lab.measure_context(), which reads probes with stimuli before them."
        raise rule_error("method", "be one that moves weights here", chosen.name, hint)
    ready = getattr(model, "_orig_mod", model)
    if chosen is not None and chosen.adds_modules:
        ready = copied(ready)
    modes = [(module, module.training) for module in ready.modules()]
    flags = [(p, p.requires_grad, p.grad) for p in ready.parameters()]
    eager = torch.compiler.set_stance("force_eager") if is_compiled(model) else nullcontext()
    try:
        if chosen is not None:
            ready = chosen.apply(ready, seed)
        try:
            ready.eval()
        except NotImplementedError:
            hint = "Try the module that it was exported from."
            raise rule_error("model", "be a module that has an eval mode", type(model).__name__, hint) from None
        for parameter in ready.parameters():
            parameter.grad = None
        with eager, uncached():
            yield ready
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag, gradient in flags:
            parameter.requires_grad_(flag)
            parameter.grad = gradient
        if started is not None:
            started.restore(every=True)


def has_modes_of_its_own(module: nn.Module) -> bool:
    """Whether going into eval mode may do more than set a flag, such as merging weights."""
    kind = type(module)
    return not isinstance(module, torch.jit.ScriptModule) and (
        kind.train is not nn.Module.train or kind.eval is not nn.Module.eval
    )


@contextmanager
def uncached() -> Iterator[None]:
    """Within this, an autocast around the call keeps no weights in low precision: they would be the base's."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    torch.clear_autocast_cache()
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def copied(model: nn.Module) -> nn.Module:
    """A copy to put modules into.

    Raises:
        ConfigError: There is no way to copy it.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        reason = first_line(error)
        hint = "Try method=full, which needs no copy."
        raise rule_error(
            "model", f"be one that copy.deepcopy can copy ({reason})", type(model).__name__, hint
        ) from error


def named_update(update: Mapping[str, Any] | None) -> Update:
    """An `Update` from a mapping; a name that it does not have is an error."""
    return cast(Update, build(Update, {"learning_rate": 0.01, **(update or {})}, "update"))


def named_engine(name: str) -> Engine:
    """The engine class in the module of this room that goes by ``name``."""
    kinds = (Auto, FirstOrder, Factored, Stacked, Loop, Reference)
    engines: dict[str, type[Engine]] = {kind().name: kind for kind in kinds}
    if name not in engines:
        raise unknown_name("engine", name, engines)
    return engines[name]()
