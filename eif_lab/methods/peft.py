"""Any tuner of the PEFT library, by name and options."""

from __future__ import annotations

import copy
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from eif_lab.errors import ConfigError, rule_error, unknown_name, unknown_option
from eif_lab.methods.method import Method, few, in_short, is_layer, layers, matching, say, seeded

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

REFUSED = {
    "MULTITASK_PROMPT_TUNING": "it wants the task of each row (task_ids), which nothing here gives it",
    "POLY": "it wants the task of each row (task_ids), which nothing here gives it",
    "XLORA": "it mixes LoRA adapters that were trained before, of which there are none",
}
"""Tuners that nothing can be made of here, and why."""

ON_LANGUAGE_MODELS = ("ADAPTION_PROMPT", "SHADOW", "TRAINABLE_TOKENS")
"""Tuners, besides those that stand before the text, that are put around a whole transformers model."""

OF_NAMES = ("exclude_modules", "layers_pattern", "layers_to_transform", "modules_to_save", "target_parameters")
"""Options that choose by name, and so mean nothing for a layer that is tried alone."""


@dataclass
class Peft(Method):
    """A tuner of PEFT.

    Attributes:
        tuner: PEFT's name for it, such as ``LORA``, ``LOHA``, ``LN_TUNING`` or ``PREFIX_TUNING``; case does not matter.
        options: Fields of its config class. ``target_modules`` is by default every linear layer and convolution of
            the model that the tuner takes but the output head of a language model, or for ``LN_TUNING`` every
            normalization; sizes that do not fit the layers are halved until they do.
    """

    tuner: str = "LOHA"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``peft-`` and the tuner."""
        return f"peft-{self.tuner.lower()}"

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Put the tuner's layers in, freeze the rest."""
        return add_tuner(model, self.tuner, dict(self.options), seed)


def add_tuner(model: nn.Module, tuner: str, options: dict[str, Any], seed: int, method: str = "peft") -> nn.Module:
    """Install a PEFT tuner in place, drawing its initial weights from ``seed``.

    Tuners of whole language models (prompt, prefix and p-tuning, ...) need a transformers model; they are put around
    the one that the module holds as ``language_model``.

    Args:
        model: The model.
        tuner: PEFT's name for it.
        options: Of its config class.
        seed: Of the initial weights.
        method: Which of ours asks, so that errors name what its user can change.

    Raises:
        ConfigError: PEFT does not know the tuner, or refuses these options for this model.
    """
    from peft.config import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    configs = {str(kind.value): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    name = tuner.upper()
    if name not in configs:
        raise unknown_name("method.tuner", name, configs)
    kind = configs[name]
    for option, value in options.items():
        if option not in kind.__dataclass_fields__:
            raise unknown_option(f"method.options.{option}", value, kind.__dataclass_fields__)
    one = Tuner(name, kind, options, method)
    if name in REFUSED:
        raise one.error(REFUSED[name])
    whole = issubclass(kind, PromptLearningConfig) or name in ON_LANGUAGE_MODELS
    ready = one.around_language_model(model, seed) if whole else one.into_layers(model, seed)
    for parameter in ready.parameters():
        if parameter.requires_grad:  # a small update vanishes in less: in bfloat16, 1 + 3e-3 = 1
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
    return ready


@dataclass(frozen=True)
class Tuner:
    """A tuner with its options, and what it makes of a model.

    Attributes:
        name: PEFT's.
        kind: Its config class.
        options: As the user gave them.
        method: Which of ours the user asked for.
    """

    name: str
    kind: type
    options: dict[str, Any]
    method: str

    def into_layers(self, model: nn.Module, seed: int) -> nn.Module:
        """Put it into the layers that the options name, or all that it takes.

        Raises:
            ConfigError: There are none, or PEFT refuses.
        """
        named = self.options.get("target_modules")
        sizes: dict[str, Any] = {}
        if named is None:
            targets, sizes = self.targets(model)
        elif isinstance(named, str):
            targets = named  # a pattern, which PEFT reads
        else:
            targets = exactly(self.must_match(model, named))
        options = {**self.options, **sizes, "target_modules": targets}
        inputs = self.options.get("feedforward_modules")
        if inputs is not None and not isinstance(inputs, str):
            fitting = [name for name in matching(names_of(model), inputs) if re.fullmatch(targets, name)]
            options["feedforward_modules"] = exactly(fitting) if fitting else []
        with seeded(seed), self.refusing():
            self.install(model, options)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise self.error("nothing would be trained")
        return model

    def install(self, model: nn.Module, options: dict[str, Any]) -> None:
        """Put it in by PEFT's own class, which also takes the tuners whose layers share parameters."""
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

        config = self.kind(**{**DEFAULTS.get(self.name, {}), **options})
        PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, adapter_name="default")

    def targets(self, model: nn.Module) -> tuple[str, dict[str, Any]]:
        """The layers that it takes, as a pattern, and its size where PEFT's default does not fit them.

        One layer of each form is tried alone, since PEFT says of many only by an error what it cannot take.

        Raises:
            ConfigError: It takes none.
        """
        found = normalizations(model) if self.name == "LN_TUNING" else layers(model)
        if not found:
            raise self.error(f"{type(model).__name__} has no layer that it could be put on", "Try method=full.")
        forms: dict[str, Trial] = {}
        for layer in found.values():
            if form_of(layer) not in forms:
                forms[form_of(layer)] = self.fitted(layer)
        fits = [trial for trial in forms.values() if not trial.reason]
        faithful = [trial for trial in fits if not trial.shifts]
        taken = faithful or fits
        if not taken:
            raise self.error(next(iter(forms.values())).reason)
        chosen = [name for name, layer in found.items() if forms[form_of(layer)] in taken]
        self.tell(model, chosen, [name for name in found if name not in set(chosen)], not faithful)
        if self.name not in SIZES or all(trial.size is None for trial in taken):
            return exactly(chosen), {}
        option = SIZES[self.name]
        size = min(trial.size for trial in taken if trial.size is not None)
        say(f"{self.asked}: {option}={size}, which the layers' sizes allow")
        return exactly(chosen), {option: size}

    def tell(self, model: nn.Module, chosen: list[str], others: list[str], shifts: bool) -> None:
        """Say what a user would not expect of the defaults."""
        if others:
            say(f"{self.asked} leaves out {len(others)} of {len(chosen) + len(others)} layers: {few(others)}")
        if shifts:
            self.say_that_it_shifts()
        experts = [
            name
            for name, parameter in model.named_parameters()
            if parameter.ndim == 3 and len(parameter) > 1 and not is_layer(model.get_submodule(name.rpartition(".")[0]))
        ]
        if experts:
            say(f"{self.asked} leaves out weights that are no layer's, such as fused experts: {few(experts)}")

    def fitted(self, layer: nn.Module) -> Trial:
        """The trial of a layer, with the largest size that fits where PEFT's default one does not."""
        first = self.tried(layer)
        option = SIZES.get(self.name)
        if not first.reason or option is None or option in self.options:
            return first
        size = default_of(self.kind, option) // 2
        while size:
            trial = self.tried(layer, {option: size})
            if not trial.reason:
                return replace(trial, size=size)
            size //= 2
        return first

    def tried(self, layer: nn.Module, sizes: dict[str, Any] | None = None) -> Trial:
        """What the tuner makes of a layer of this form, with weights of the trial's own."""
        options = {name: value for name, value in self.options.items() if name not in OF_NAMES}
        options |= {**(sizes or {}), "target_modules": ["layer"]}
        if "feedforward_modules" in options:
            options["feedforward_modules"] = []
        with seeded(0), torch.enable_grad(), quiet():
            lone = nn.Sequential(OrderedDict(layer=copy.deepcopy(layer).to_empty(device="cpu"))).eval()
            for parameter in lone.parameters():
                nn.init.normal_(parameter, std=0.1)
            inputs = example_input(layer)
            try:
                before = None if inputs is None else lone(inputs).detach()
                self.install(lone, options)
                trained = [parameter for parameter in lone.parameters() if parameter.requires_grad]
                if not trained:
                    return Trial(f"it trains nothing in {layer}")
                return Trial() if inputs is None else moves(lone.eval(), inputs, before, trained)
            except Exception as error:  # PEFT raises all kinds
                return Trial(reason_of(error))

    def must_match(self, model: nn.Module, named: Iterable[str]) -> list[str]:
        """The modules of these names.

        Raises:
            ConfigError: There are none, or it cannot be put on a layer among them.
        """
        modules = names_of(model)
        chosen = matching(modules, named)
        if not chosen:
            last = list(dict.fromkeys(name.rpartition(".")[2] for name in layers(model)))
            hint = f"Try {last[:4]}." if last else "Try method=full."
            shown = few(named, 4)
            raise rule_error(f"{self.field}target_modules", "name at least one layer of the model", shown, hint)
        forms: dict[str, str] = {}
        for name in chosen:
            layer = modules[name]
            if not is_layer(layer):
                continue
            reason = forms.setdefault(form_of(layer), self.tried(layer).reason)
            if reason:
                rule = f"name layers that {self.name} can be put on ({in_short(reason, 100)})"
                raise rule_error(f"{self.field}target_modules", rule, in_short(name, 70), "Try it without.")
        return chosen

    def around_language_model(self, model: nn.Module, seed: int) -> nn.Module:
        """Put it around the transformers model that the module holds, and read three tokens with it.

        Raises:
            ConfigError: It holds none, PEFT refuses, or what it would train has no effect.
        """
        from peft import get_peft_model
        from transformers import PreTrainedModel

        held = getattr(model, "language_model", None)
        if not isinstance(held, PreTrainedModel):
            rule = "that module.language_model holds a transformers model (eif_lab.models.language.causal_lm.CausalLM)"
            raise self.error(f"it needs {rule}, got {type(model).__name__}")
        options = {**DEFAULTS.get(self.name, {}), **self.options}
        if self.name == "TRAINABLE_TOKENS" and not options.get("token_indices"):
            raise self.error("it has to be told which tokens it trains", "Try method.options.token_indices=[1,2,3].")
        with seeded(seed), self.refusing():
            model.requires_grad_(False)
            before = None
            if held.device.type != "meta":
                with torch.no_grad():
                    before = model.eval()(first_tokens(held.device))
            model.language_model = get_peft_model(held, self.kind(task_type="CAUSAL_LM", **options))
            self.must_have_effect(model, before)
        return model

    def must_have_effect(self, model: nn.Module, before: Tensor | None) -> None:
        """Refuse a tuner that nothing comes of, or that cannot read.

        Args:
            model: With the tuner.
            before: What it gave of three tokens before; None where it cannot be called.
        """
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not trained:
            raise self.error("nothing would be trained")
        if before is not None:
            with torch.enable_grad():
                trial = moves(model.eval(), first_tokens(before.device), before, trained)
            if trial.reason:
                raise self.error(trial.reason)
            if trial.shifts:
                self.say_that_it_shifts()

    def say_that_it_shifts(self) -> None:
        """A method leaves the outputs as they are until it is trained; this one cannot."""
        say(f"{self.asked} changes the model's outputs before it is trained; influence counts from the changed ones")

    @property
    def asked(self) -> str:
        """What the user asked for."""
        return f"method.tuner={self.name}" if self.method == "peft" else f"method={self.method}"

    @property
    def field(self) -> str:
        """Where the user's options stand."""
        return "method.options." if self.method == "peft" else "method."

    def error(self, reason: str, hint: str = "") -> ConfigError:
        """Why it cannot be done, and what to try, in one line of some 300 characters at most."""
        given = {name: value for name, value in self.options.items() if name not in ("target_modules", *OF_NAMES)}
        options = f" with method.options={in_short(given, 70)}" if given and self.method == "peft" else ""
        other = "method=full" if self.method == "lora" or self.name == "LORA" else "method=lora"
        hint = hint or f"Try {other}{', or other options' if options else ''}."
        start = f"{self.asked} does not fit this model{options}: "
        return ConfigError(f"{start}{in_short(reason, 298 - len(start) - len(hint)).removesuffix('.')}. {hint}")

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Tell what PEFT raises in one line, and keep its warnings of what it then does right to itself."""
        try:
            with quiet():
                yield
        except ConfigError:
            raise
        except Exception as error:  # PEFT raises all kinds
            raise self.error(reason_of(error)) from None


@dataclass(frozen=True)
class Trial:
    """What became of trying a tuner.

    Attributes:
        reason: Why it cannot be put there; empty where it can.
        shifts: Whether outputs change already before it is trained.
        size: Of the option of `SIZES`, where it had to be made smaller.
    """

    reason: str = ""
    shifts: bool = False
    size: int | None = None


def moves(model: nn.Module, inputs: Tensor, before: Tensor | None, trained: list[nn.Parameter]) -> Trial:
    """Whether a step of what is trained would change the outputs, and whether they have changed already.

    Args:
        model: With a tuner in it.
        inputs: Any that it reads.
        before: The outputs without the tuner, where they ought to be the same.
        trained: The tuner's parameters.
    """
    after = model(inputs)
    if not after.isfinite().all():
        return Trial("its outputs are no numbers")
    direction = torch.randn(after.shape).to(after)
    slopes = torch.autograd.grad((after * direction).sum(), trained, allow_unused=True) if after.requires_grad else []
    if not any(slope is not None and bool(slope.abs().max() > 0) for slope in slopes if slope is None or slope.numel()):
        return Trial("what it trains has no effect")
    return Trial(
        shifts=before is not None
        and bool((after - before).abs().max() > 64 * max(torch.finfo(after.dtype).eps, 1e-7) * before.abs().max())
    )


def form_of(layer: nn.Module) -> str:
    """What layers have in common that a tuner treats alike."""
    return f"{layer!r} {next((parameter.dtype for parameter in layer.parameters()), None)}"


def example_input(layer: nn.Module) -> Tensor | None:
    """Random numbers that a layer reads; None where what it reads is not known."""
    from transformers.pytorch_utils import Conv1D

    shape: tuple[int, ...]
    if isinstance(layer, nn.Linear):
        shape = (2, layer.in_features)
    elif isinstance(layer, Conv1D):
        shape = (2, layer.nx)
    elif isinstance(layer, _ConvNd) and not layer.transposed:
        extents = [(size - 1) * step + 2 for size, step in zip(layer.kernel_size, layer.dilation)]
        shape = (2, layer.in_channels, *extents)
    else:
        return None
    return torch.randn(shape).to(layer.weight.dtype)


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


def exactly(names: Iterable[str]) -> str:
    """A pattern for these names alone; a list would also match others that end in one of them."""
    return "|".join(map(re.escape, names))


def default_of(kind: type, option: str) -> int:
    """The default of a config class's field."""
    [default] = [one.default for one in fields(kind) if one.name == option]
    return cast(int, default)


def reason_of(error: Exception) -> str:
    """What an error says; where it is no refusal but a failure, also that it is one."""
    if isinstance(error, ValueError | TypeError | NotImplementedError) and str(error):
        return str(error)
    return f"PEFT fails with {type(error).__name__} {error}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings and progress bars off the console."""
    with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        yield


def first_tokens(device: torch.device) -> Tensor:
    """A text that any language model reads."""
    return torch.arange(1, 4, device=device)[None]
