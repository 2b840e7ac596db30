"""A tuner of PEFT: the layers that it is put on, its sizes, and the errors where it does not fit."""

from __future__ import annotations

import copy
import math
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from eif_lab.errors import ConfigError, rule_error
from eif_lab.methods.method import is_layer, layers, list_names, matching, seeded, truncate, warn_once
from eif_lab.methods.tuners.trial import (
    Trial,
    compare_outputs,
    example_input,
    first_tokens,
    layer_signature,
    quiet,
    reason_of,
)

SIZES = {
    "BOFT": "boft_block_size",
    "C3A": "block_size",
    "FOURIERFT": "n_frequency",
    "GRALORA": "gralora_k",
    "MISS": "r",
    "PSOFT": "r",
    "ROAD": "group_size",
    "SHIRA": "r",
    "VBLORA": "vector_length",
    "WAVEFT": "n_frequency",
}
"""Options whose default in PEFT is too large for small layers, or divides only some: halved until it fits."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "ADALORA": {"total_step": 1},  # of its schedule, which reallocates ranks in a trainer of PEFT's own and not here
    "ADAPTION_PROMPT": {"adapter_len": 8, "adapter_layers": 1},
    "C3A": {"init_weights": True},  # to zero
    "CARTRIDGE": {"num_virtual_tokens": 8},
    "FOURIERFT": {"init_weights": True},  # to zero: otherwise the model is another before a step is taken
    "IA3": {"feedforward_modules": []},
    "PREFIX_TUNING": {"num_virtual_tokens": 8},
    "PROMPT_TUNING": {"num_virtual_tokens": 8},
    "P_TUNING": {"num_virtual_tokens": 8},
}
"""Values of options that PEFT wants to be given, or for which its own default fits no use of it here."""

OF_NAMES = ("exclude_modules", "layers_pattern", "layers_to_transform", "modules_to_save", "target_parameters")
"""Options that choose by name, and so mean nothing for a layer that is tried alone."""


@dataclass(frozen=True)
class Tuner:
    """A tuner of PEFT with its options.

    Attributes:
        name: PEFT's name for it.
        kind: Its config class in PEFT.
        options: Those that the user gave.
        method: The method of this package that uses it.
    """

    name: str
    kind: type
    options: dict[str, Any]
    method: str

    def into_layers(self, model: nn.Module, seed: int) -> nn.Module:
        """Put the tuner into the layers that the options name, or into all that it takes.

        Raises:
            ConfigError: There are none, or PEFT refuses.
        """
        self.must_have_fitting_rank(model)
        names = self.options.get("target_modules")
        sizes: dict[str, Any] = {}
        if names is None:
            targets, sizes = self.targets(model)
        elif isinstance(names, str):
            targets = names  # a pattern, which PEFT reads
        else:
            targets = exact_pattern(self.must_match(model, names))
        options = {**self.options, **sizes, "target_modules": targets}
        inputs = self.options.get("feedforward_modules")
        if inputs is not None and not isinstance(inputs, str):
            fitting = [name for name in matching(names_of(model), inputs) if re.fullmatch(targets, name)]
            options["feedforward_modules"] = exact_pattern(fitting) if fitting else []
        with seeded(seed), self.peft_errors_in_one_line():
            self.install(model, options)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise self.error("nothing would be trained")
        return model

    def must_have_fitting_rank(self, model: nn.Module) -> None:
        """Refuse a rank above every side of every layer, which PEFT would try to allocate for each of them.

        PEFT's default rank is never refused, so that it needs no option on a small model.

        Raises:
            ConfigError: With the largest rank.
        """
        rank = self.options.get("r")
        if not isinstance(rank, int):
            return
        shapes = [cast(Tensor, layer.weight).shape for layer in layers(model).values()]
        sides = [side for shape in shapes for side in (shape[0], math.prod(shape[1:]))]
        most = max([default_of(self.kind, "r"), *sides])
        if rank > most:
            name = f"{self.prefix}{'rank' if self.method == 'lora' else 'r'}"
            raise rule_error(name, f"be at most {most}, the longest side of a layer", rank, "Try 8.")

    def install(self, model: nn.Module, options: dict[str, Any]) -> None:
        """Put the tuner in by PEFT's class for it, which also takes tuners whose layers share parameters."""
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

        config = self.kind(**{**DEFAULTS.get(self.name, {}), **options})
        PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, adapter_name="default")

    def targets(self, model: nn.Module) -> tuple[str, dict[str, Any]]:
        """The layers that the tuner takes, as a pattern, and its size where PEFT's default does not fit them.

        One layer of each form is tried alone, since PEFT says of many only by an error what it cannot take.

        Raises:
            ConfigError: The tuner takes none.
        """
        candidates = normalizations(model) if self.name == "LN_TUNING" else layers(model)
        if not candidates:
            raise self.error(f"{type(model).__name__} has no layer that it could be put on", "Try method=full.")
        forms: dict[str, Trial] = {}
        for layer in candidates.values():
            if layer_signature(layer) not in forms:
                forms[layer_signature(layer)] = self.fit(layer)
        fits = [trial for trial in forms.values() if not trial.reason]
        faithful = [trial for trial in fits if not trial.shifts]
        usable = faithful or fits
        if not usable:
            raise self.error(next(iter(forms.values())).reason)
        chosen = [name for name, layer in candidates.items() if forms[layer_signature(layer)] in usable]
        self.log_defaults(model, chosen, [name for name in candidates if name not in set(chosen)], not faithful)
        if self.name not in SIZES or all(trial.size is None for trial in usable):
            return exact_pattern(chosen), {}
        option = SIZES[self.name]
        size = min(trial.size for trial in usable if trial.size is not None)
        warn_once(f"{self.choice}: {option}={size}, which the layers' sizes allow")
        return exact_pattern(chosen), {option: size}

    def log_defaults(self, model: nn.Module, chosen: list[str], others: list[str], shifts: bool) -> None:
        """Log what a user would not expect of the default layers: those left out, and a shift of the outputs."""
        if others:
            warn_once(
                f"{self.choice} leaves out {len(others)} of {len(chosen) + len(others)} layers: {list_names(others)}"
            )
        if shifts:
            self.log_shift()
        experts = [
            name
            for name, parameter in model.named_parameters()
            if parameter.ndim == 3 and len(parameter) > 1 and not is_layer(model.get_submodule(name.rpartition(".")[0]))
        ]
        if experts:
            warn_once(
                f"{self.choice} leaves out weights that are no layer's, such as fused experts: {list_names(experts)}"
            )

    def fit(self, layer: nn.Module) -> Trial:
        """The trial of a layer, with the largest size that fits where PEFT's default one does not."""
        first = self.try_on(layer)
        option = SIZES.get(self.name)
        if not first.reason or option is None or option in self.options:
            return first
        size = default_of(self.kind, option) // 2
        while size:
            trial = self.try_on(layer, {option: size})
            if not trial.reason:
                return replace(trial, size=size)
            size //= 2
        return first

    def try_on(self, layer: nn.Module, sizes: dict[str, Any] | None = None) -> Trial:
        """The result of trying the tuner on a copy of a layer with random weights."""
        options = {name: value for name, value in self.options.items() if name not in OF_NAMES}
        options |= {**(sizes or {}), "target_modules": ["layer"]}
        if "feedforward_modules" in options:
            options["feedforward_modules"] = []
        with seeded(0), torch.enable_grad(), quiet():
            sandbox = nn.Sequential(OrderedDict(layer=copy.deepcopy(layer).to_empty(device="cpu"))).eval()
            for parameter in sandbox.parameters():
                nn.init.normal_(parameter, std=0.1)
            inputs = example_input(layer)
            try:
                before = None if inputs is None else sandbox(inputs).detach()
                self.install(sandbox, options)
                trained = [parameter for parameter in sandbox.parameters() if parameter.requires_grad]
                if not trained:
                    return Trial(f"it trains nothing in {layer}")
                return Trial() if inputs is None else compare_outputs(sandbox.eval(), inputs, before, trained)
            except Exception as error:  # PEFT raises all kinds
                return Trial(reason_of(error))

    def must_match(self, model: nn.Module, names: Iterable[str]) -> list[str]:
        """The modules of these names.

        Raises:
            ConfigError: There are none, or the tuner cannot be put on a layer among them.
        """
        modules = names_of(model)
        chosen = matching(modules, names)
        if not chosen:
            last = list(dict.fromkeys(name.rpartition(".")[2] for name in layers(model)))
            hint = f"Try {last[:4]}." if last else "Try method=full."
            rule = "name at least one layer of the model"
            raise rule_error(f"{self.prefix}target_modules", rule, list_names(names, 4), hint)
        forms: dict[str, str] = {}
        for name in chosen:
            layer = modules[name]
            if not is_layer(layer):
                continue
            reason = forms.setdefault(layer_signature(layer), self.try_on(layer).reason)
            if reason:
                rule = f"name layers that {self.name} can be put on ({truncate(reason, 100)})"
                raise rule_error(f"{self.prefix}target_modules", rule, truncate(name, 70), "Try it without.")
        return chosen

    def around_language_model(self, model: nn.Module, seed: int) -> nn.Module:
        """Put the tuner around the transformers model that the module holds, and read three tokens with it.

        Raises:
            ConfigError: The module holds none, PEFT refuses, or what the tuner would train has no effect.
        """
        from peft import get_peft_model
        from transformers import PreTrainedModel

        language_model = getattr(model, "language_model", None)
        if not isinstance(language_model, PreTrainedModel):
            rule = "that module.language_model holds a transformers model (eif_lab.models.language.causal_lm.CausalLM)"
            raise self.error(f"it needs {rule}, got {type(model).__name__}")
        options = {**DEFAULTS.get(self.name, {}), **self.options}
        if self.name == "TRAINABLE_TOKENS" and not options.get("token_indices"):
            raise self.error("it needs the tokens that it trains", "Try method.options.token_indices=[1,2,3].")
        with seeded(seed), self.peft_errors_in_one_line():
            model.requires_grad_(False)
            before = None
            if language_model.device.type != "meta":
                with torch.no_grad():
                    before = model.eval()(first_tokens(language_model.device))
            model.language_model = get_peft_model(language_model, self.kind(task_type="CAUSAL_LM", **options))
            self.must_have_effect(model, before)
        return model

    def must_have_effect(self, model: nn.Module, before: Tensor | None) -> None:
        """Refuse a tuner whose parameters have no effect, or with which the model cannot be called.

        Args:
            model: With the tuner.
            before: The logits of three tokens without it; None where the model cannot be called.

        Raises:
            ConfigError: It is such a tuner.
        """
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not trained:
            raise self.error("nothing would be trained")
        if before is not None:
            with torch.enable_grad():
                trial = compare_outputs(model.eval(), first_tokens(before.device), before, trained)
            if trial.reason:
                raise self.error(trial.reason)
            if trial.shifts:
                self.log_shift()

    def log_shift(self) -> None:
        """Log that the tuner changes the outputs before it is trained, which a method should not."""
        warn_once(
            f"{self.choice} changes the model's outputs before it is trained; influence counts from the changed ones"
        )

    @property
    def choice(self) -> str:
        """The user's choice, as a command line says it."""
        return f"method.tuner={self.name}" if self.method == "peft" else f"method={self.method}"

    @property
    def prefix(self) -> str:
        """The prefix of an option's name."""
        return "method.options." if self.method == "peft" else "method."

    def error(self, reason: str, hint: str = "") -> ConfigError:
        """The error that says why the tuner cannot be used and what to try, in one line of at most 300 characters."""
        chosen = {name: value for name, value in self.options.items() if name not in ("target_modules", *OF_NAMES)}
        options = f" with method.options={truncate(chosen, 70)}" if chosen and self.method == "peft" else ""
        other = "method=full" if self.method == "lora" or self.name == "LORA" else "method=lora"
        hint = hint or f"Try {other}{', or other options' if options else ''}."
        start = f"{self.choice} does not fit this model{options}: "
        return ConfigError(f"{start}{truncate(reason, 298 - len(start) - len(hint)).removesuffix('.')}. {hint}")

    @contextmanager
    def peft_errors_in_one_line(self) -> Iterator[None]:
        """Within this, what PEFT raises is a ConfigError of one line, and its warnings are not shown."""
        try:
            with quiet():
                yield
        except ConfigError:
            raise
        except Exception as error:  # PEFT raises all kinds
            raise self.error(reason_of(error)) from None


def normalizations(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by name whose own parameters, the weight among them, are all vectors."""
    return {
        name: module
        for name, module in model.named_modules()
        if name
        and isinstance(getattr(module, "weight", None), nn.Parameter)
        and all(parameter.ndim == 1 for parameter in module.parameters())
    }


def names_of(model: nn.Module) -> dict[str, nn.Module]:
    """The modules within a model by name."""
    return {name: module for name, module in model.named_modules() if name}


def exact_pattern(names: Iterable[str]) -> str:
    """A pattern for these names alone; a list would also match others that end in one of them."""
    return "|".join(map(re.escape, names))


def default_of(kind: type, option: str) -> int:
    """The default of a config class's field."""
    [default] = [one.default for one in fields(kind) if one.name == option]
    return cast(int, default)
