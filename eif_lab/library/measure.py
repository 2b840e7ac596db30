"""From a task and a model as its user has it to an annotated influence array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from torch import Tensor, nn

from eif_lab.data.sets import Sets, members_of, trained_on
from eif_lab.data.task import Samples, Task, Texts
from eif_lab.errors import must_be, one_seed, rule_error
from eif_lab.influence.arguments import must_be_recipe, named_update
from eif_lab.influence.array import annotate
from eif_lab.influence.batch import device_of
from eif_lab.influence.calibrate import calibrate
from eif_lab.influence.caller_model import prepared_for_training
from eif_lab.influence.context import measure_context
from eif_lab.influence.engines import Engine, named_engine
from eif_lab.influence.measure import measure_influence
from eif_lab.influence.resources.precision import full_precision
from eif_lab.influence.update import Update
from eif_lab.library.strength import gauge_of
from eif_lab.methods import Method, named_method
from eif_lab.methods.method import ContextMethod
from eif_lab.models.base import BaseModel, Loss
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder, spell_out
from eif_lab.models.reading import read_log_probs
from eif_lab.readouts.readout import Score, named_readouts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Reader:
    """A model with all that it needs to learn and read samples.

    Attributes:
        module: Inputs to outputs.
        encode: Samples to (inputs, targets), row by row.
        loss: (outputs, targets) to a mean loss.
    """

    module: nn.Module
    encode: Callable[[Samples], tuple[Any, Tensor]]
    loss: Loss


def measure_task(
    task: Task,
    model: PreTrainedModel | BaseModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    method: str | Method | Mapping[str, Any] = "lora",
    update: Update | Mapping[str, Any] | None = None,
    engine: str | Engine = "auto",
    readout: str | Score | Sequence[str | Score] = "log_prob",
    seed: int = 0,
) -> xr.DataArray:
    r"""What each stimulus of a task does to each of its probes.

    .. math:: I_{ij} = s(U(\theta; z_i); q_j) - s(\theta; q_j)

    or, where the method reads stimuli and trains nothing, :math:`s(\theta; z_i \frown q_j) - s(\theta; q_j)`. The model
    is left as it was, and is measured as it is: a background that the task has is not taught to it.

    Args:
        task: Such as that of `load_task`.
        model: A causal language model of transformers, on any device; or, for images too, a `BaseModel`.
        tokenizer: Of a language model of transformers: a fast one.
        method: What moves, such as ``full`` or ``dict(name="lora", rank=4)``; ``prompt`` reads the stimulus instead.
        update: The recipe. Without a learning rate, or where it is None, the rate is calibrated to ``strength`` or
            ``headroom`` first. A method that trains nothing takes none.
        engine: As `measure_influence` takes it.
        readout: As `measure_influence` takes it; those that compare are against the probes' candidates.
        seed: Of what the method draws.

    Returns:
        (stimulus, probe), and ``readout`` behind them where several are asked for, with the task's labels, relations
        and distances as coordinates, and ``probe_base_log_prob``, how likely each probe was before any update, in nats;
        `judge` takes it as it is.

    Raises:
        ConfigError: Model, tokenizer and task do not go together, or an option is wrong.

    Examples:
        >>> from transformers import AutoModelForCausalLM, AutoTokenizer
        >>> from eif_lab import load_task
        >>> from eif_lab.models.language.phi3 import SHIPPED
        >>> model, tokenizer = AutoModelForCausalLM.from_pretrained(SHIPPED), AutoTokenizer.from_pretrained(SHIPPED)
        >>> task = load_task("ontology", worlds=1, stimuli_per_world=1)
        >>> influence = measure_task(task, model, tokenizer, method="lora", update={"learning_rate": 0.01})
        >>> influence.shape == task.relation.shape
        True
    """
    must_be("task", task, Task, "a Task", "Try eif_lab.load_task(...).")
    must_be("method", method, str | Method | Mapping, "a name, a mapping with a name or a Method", "Try lora.")
    must_be_recipe(method, update, engine)
    seed = one_seed(seed)
    reader = reader_of(model, tokenizer)
    chosen = method if isinstance(method, Method) else named_method(method)
    must_go_together(task, model, chosen, update)
    rows, candidates = rows_to_read(list(named_readouts(readout).values()), task.probes)
    options: dict[str, Any] = {"readout": readout, "candidates": candidates, "read": task.read}
    if isinstance(chosen, ContextMethod):
        assert isinstance(task.stimuli, Texts) and isinstance(rows, Texts)
        array = read_in_context(
            chosen.contexts(task.stimuli, seed), rows, reader.module, chosen, reader.encode, **options
        )
    else:
        array = measure_influence(
            reader.module,
            reader.loss,
            reader.encode(trained_on(task.stimuli)),
            reader.encode(rows),
            method=chosen,
            update=with_rate(update, task, reader, method=chosen, engine=engine, seed=seed),
            engine=engine,
            sets=members_of(task.stimuli),
            seed=seed,
            **options,
        )
    with prepared_for_training(reader.module, None, 0) as ready, full_precision():
        before = read_log_probs(ready, *reader.encode(task.probes), device_of(ready))
    return annotate(array, with_base_log_prob(task, before)).assign_attrs(method=chosen.name)


def must_go_together(task: Task, model: Any, method: Method, update: Any) -> None:
    """Refuse a method that cannot take the task's samples or the update, and images for a language model.

    Raises:
        ConfigError: Which it is.
    """
    kind = "text" if isinstance(task.probes, Texts) else "image"
    if kind not in method.kinds:
        raise rule_error("method", f"be one for {kind}s", method.name, "Try full.")
    if kind == "image" and not isinstance(model, BaseModel):
        raise rule_error("task", "hold texts for a language model", "images", "Give a BaseModel for images.")
    if isinstance(method, ContextMethod) and isinstance(task.stimuli, Sets):
        raise rule_error("task", f"have one stimulus in each row with method={method.name}", repr(task.stimuli))
    if isinstance(method, ContextMethod) and update is not None:
        raise rule_error("update", f"be left out with method={method.name}, which trains nothing", update, "Remove it.")


def reader_of(model: Any, tokenizer: Any) -> Reader:
    """The model with its encoder and its loss.

    Raises:
        ConfigError: It is no model that is known here, or its tokenizer is lacking.
    """
    if isinstance(model, BaseModel):
        return Reader(model.module, model.encode, model.loss)
    embed = getattr(model, "get_input_embeddings", None)
    if embed is None or isinstance(model, type):
        rule = "be a causal language model of transformers or a BaseModel"
        received = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise rule_error("model", rule, received, "Try eif_lab.measure_influence for any other module.")
    if tokenizer is None:
        rule = "be given with a language model"
        raise rule_error("tokenizer", rule, None, "Try AutoTokenizer.from_pretrained(...).")
    from transformers import PreTrainedTokenizerBase

    must_be(
        "tokenizer",
        tokenizer,
        PreTrainedTokenizerBase,
        "one of transformers",
        "Try AutoTokenizer.from_pretrained(...).",
    )
    context = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
    encode = Encoder(tokenizer, context, vocabulary=len(embed().weight))
    return Reader(CausalLM(model, encode.pad), encode, token_loss)


def rows_to_read(readouts: Sequence[Any], probes: Samples) -> tuple[Samples, np.ndarray | None]:
    """The samples that the readouts look at, and which probe each is of.

    Returns:
        Every candidate of every probe where a readout compares them; otherwise the probes, and None.
    """
    compares = any(readout.among is not None for readout in readouts)
    if not (isinstance(probes, Texts) and probes.candidates and compares):
        return probes, None
    return spell_out(probes)


def with_base_log_prob(task: Task, before: Tensor) -> Task:
    """The task whose probes have the coordinate ``base_log_prob``, in nats: how likely each was before any update.

    Args:
        task: With or without it.
        before: (probes,).
    """
    coords = {**task.probes.coords, "base_log_prob": before.detach().double().cpu().numpy()}
    return replace(task, probes=replace(task.probes, coords=coords))


def with_rate(
    update: Update | Mapping[str, Any] | None,
    task: Task,
    reader: Reader,
    *,
    method: Method,
    engine: str | Engine,
    seed: int,
) -> Update:
    """The recipe with a learning rate: its own, or the one at which the stimuli teach as much as it asks for."""
    recipe = update if isinstance(update, Update) else named_update({"learning_rate": None, **(update or {})})
    if recipe.learning_rate is not None:
        return recipe
    exact = engine if isinstance(engine, Engine) else named_engine(engine)
    gauge = gauge_of(task, recipe.calibration_stimuli)
    found = calibrate(
        reader.module,
        reader.loss,
        reader.encode(trained_on(gauge.stimuli)),
        probes=None if gauge.yardstick is None else reader.encode(gauge.probes),
        yardstick=gauge.yardstick,
        method=method,
        update=recipe,
        engine=exact if exact.exact else "auto",  # a prediction is made at the rate of what it predicts
        sets=members_of(gauge.stimuli),
        seed=seed,
    )
    return replace(recipe, learning_rate=found.learning_rate)


def read_in_context(
    pairs: Sequence[tuple[str, str]],
    probes: Texts,
    module: nn.Module,
    method: ContextMethod,
    encode: Callable[..., Any],
    **options: Any,
) -> xr.DataArray:
    """What reading each stimulus does to each probe; where it has companions, less what these do alone.

    Args:
        pairs: For each stimulus the context with it, and its companions alone, as `ContextMethod.contexts` gives them.
        probes, module, method, encode, options: As `read_after_context` takes them.
    """
    contexts, companions = zip(*pairs)
    array = read_after_context(contexts, probes, module, method, encode, **options)
    if any(companions):
        alone = read_after_context(companions, probes, module, method, encode, **options)
        array = array.copy(data=array.values - alone.values)
    return array


def read_after_context(
    contexts: Sequence[str],
    probes: Texts,
    module: nn.Module,
    method: ContextMethod,
    encode: Callable[..., Any],
    *,
    candidates: np.ndarray | None = None,
    read: np.ndarray | None = None,
    **options: Any,
) -> xr.DataArray:
    """The influence of each context on each probe behind it: (contexts, probes), and readouts where several are given.

    Args:
        contexts: Texts; the rows behind one are made when it is read.
        probes: The probes as texts, row by row.
        module: Inputs to outputs.
        method: What frames a probe with a context.
        encode: The model's own encoder.
        candidates: (rows,), which probe each row is a candidate answer of.
        read: (contexts, probes), true where a context is read before a probe; all where None.
        options: What else `measure_context` takes.
    """
    probe = np.arange(len(probes)) if candidates is None else candidates

    def behind(number: int, context: str) -> Any:
        some = probes if read is None else probes.take(np.flatnonzero(read[number][probe]))
        return method.rows(encode, some, context)

    rows = (behind(*one) for one in enumerate(contexts))
    plain = method.rows(encode, probes)
    return measure_context(module, plain, rows, candidates=candidates, read=read, **options)
