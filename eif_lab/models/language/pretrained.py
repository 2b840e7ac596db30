"""Any causal language model of transformers, from a directory or the hub, taught a background where a task has one."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils.data import DataLoader, TensorDataset

from eif_lab.data.task import Background, Task, Texts
from eif_lab.errors import rule_error
from eif_lab.files.build_once import build_once, built_report
from eif_lab.files.fingerprint import fingerprint
from eif_lab.files.hub import commit_at_hand
from eif_lab.models.base import (
    BaseModel,
    Lesson,
    Model,
    Sketch,
    Training,
    training_environment,
    weights_hash,
)
from eif_lab.models.hub import (
    FIELD,
    check_directory,
    files_read,
    quiet_transformers,
    read_made_report,
    weights_at_hand,
)
from eif_lab.models.language.encoding import Encoder
from eif_lab.models.language.hub import load_checkpoint, load_outline
from eif_lab.models.language.teaching import background_accuracy, examined, teach
from eif_lab.options import option

if TYPE_CHECKING:
    from transformers import PreTrainedModel

from eif_lab.models.language.causal_lm import CausalLM, Outline, mean_hidden_state, token_loss


@dataclass
class Teaching(Training):
    """How the background is taught."""

    group: ClassVar[str] = "model.teaching"

    steps: int = option(200, at_least=1)
    batch_size: int = option(32, at_least=1)
    weight_decay: float = option(0.0, at_least=0)
    rounds: int = option(3, at_least=1)


@dataclass
class PretrainedLM(Model):
    """A causal language model of any architecture that transformers knows.

    Attributes:
        checkpoint: A directory in the hub's format, or a name on the hub.
        dtype: What influence is measured in, as torch names it.
        attention: As transformers' ``attn_implementation``.
        chat_template: Whether the prompt is the user's turn and the target the assistant's reply.
        minimum_background_accuracy: The share of its background questions that a world must answer to be used.
        teaching: How the background is taught.
    """

    kind: ClassVar[str] = Texts.kind

    checkpoint: str | None = option(None)
    dtype: str = option("float32", one_of=("float32", "bfloat16", "float64"))
    attention: str = option("sdpa", one_of=("sdpa", "eager", "flash_attention_2"))
    chat_template: bool = option(False)
    minimum_background_accuracy: float = option(0.8, at_least=0, at_most=1)
    teaching: Teaching = field(default_factory=Teaching)

    @property
    def name(self) -> str:
        """What the checkpoint's ``report.json`` calls it, or the last part of the checkpoint's name."""
        return self._made().get("name", self._short_name)

    @property
    def _short_name(self) -> str:
        return "causal_lm" if self.checkpoint is None else Path(self.checkpoint).name

    @property
    def source(self) -> str:
        """Where its files are: a directory, or a name on the hub.

        Raises:
            ConfigError: None is named.
        """
        if self.checkpoint is None:
            hint = (
                "Try model.checkpoint=HuggingFaceTB/SmolLM2-135M-Instruct, or model=phi3 for the one that is shipped."
            )
            raise rule_error(FIELD, "be a directory, or a name on the hub", None, hint)
        return self.checkpoint

    def identity(self) -> str:
        """What the model is, besides the options: the contents of its files, or the commit of the hub's copy here."""
        source = self.source
        return _hash(fingerprint(files_read(source))) if check_directory(source) else commit_at_hand(source)

    def prepare(self, task: Task, cache: Path, seed: int, device: str) -> BaseModel:
        """The base model, taught the task's background if it has one.

        Args:
            task: Texts.
            cache: Made models are kept in ``cache/models``, each a directory that is itself a valid checkpoint.
            seed: Of the teaching; the pre-training has its own.
            device: As torch names it.

        Raises:
            ConfigError: The checkpoint cannot be had or is no causal language model.
        """
        source, background = self.source, task.background
        to_teach = None if background is None or background.known else background
        loss = self._made().get("pretraining_loss")
        report: dict[str, Any] = {"pretraining_loss": loss} if isinstance(loss, float) else {}
        if to_teach is not None:
            source, taught = self._taught(source, to_teach, cache, seed, device)
            report |= taught
        model, encode = self._load(source, self.dtype)
        report = {"architecture": type(model).__name__, "parameters": model.num_parameters()} | report
        module = CausalLM(model, encode.pad).to(device).eval()
        if background is not None and background.known:
            report |= examined(module, encode, background, self.minimum_background_accuracy)
        return self._base(module, encode, report)

    def sketch(self, task: Task, cache: Path, seed: int, device: str) -> Sketch:
        """The model before it is taught, and what that takes; nothing is taught or written.

        Args:
            task: Texts.
            cache: Where made models are kept.
            seed: Of the teaching.
            device: As torch names it; on ``meta``, and where the weights are not on this machine, it has no numbers.

        Raises:
            ConfigError: Not even the checkpoint's configuration and tokenizer can be had.
        """
        source = self.source
        outlined = device == "meta" or not weights_at_hand(source)
        background = task.background
        to_teach = None if background is None or background.known else background
        model, encode = self._load(source, self.dtype if to_teach is None else "float32", outlined)
        report: dict[str, Any] = {}
        lesson = kept = None
        if to_teach is not None:
            kept = None if outlined else self._kept(model, encode, to_teach, cache, seed=seed, device=device)
            report = built_report(kept) if kept else {}
            lesson = (
                None if report else self._lesson(CausalLM(copy.deepcopy(model), encode.pad), encode, to_teach, seed)
            )
            model = model.to(getattr(torch, self.dtype))
        module = Outline(model, encode.pad) if outlined else CausalLM(model, encode.pad).to(device)
        if background is not None and background.known and not outlined:
            report = examined(module.eval(), encode, background, self.minimum_background_accuracy)
        return Sketch(self._base(module, encode, report), lesson, kept)

    def _made(self) -> Mapping[str, Any]:
        """What the checkpoint's own report says of a model that was made; empty for any other."""
        return {} if self.checkpoint is None else read_made_report(self.checkpoint)

    def _base(self, module: CausalLM, encode: Encoder, report: dict[str, Any]) -> BaseModel:
        return BaseModel(
            module=module.eval(),
            name=self.name,
            encode=encode,
            loss=token_loss,
            features=partial(mean_hidden_state, module),
            report=report,
        )

    def _lesson(self, module: CausalLM, encode: Encoder, background: Background, seed: int) -> Lesson:
        facts, draw = TensorDataset(*encode(background.facts)), torch.Generator().manual_seed(seed)
        batches = DataLoader(facts, self.teaching.batch_size, shuffle=True, generator=draw)
        examine = partial(background_accuracy, module, encode, background)
        return Lesson(batches, self.teaching, self.teaching.rounds, examine)

    def _load(self, source: str, dtype: str, outlined: bool = False) -> tuple[PreTrainedModel, Encoder]:
        load = load_outline if outlined else load_checkpoint
        model, tokenizer = load(source, dtype=dtype, attention=self.attention)
        context = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
        embeddings: Any = model.get_input_embeddings()
        return model, Encoder(tokenizer, context, self.chat_template, len(embeddings.weight))

    def _taught(
        self, source: str, background: Background, cache: Path, seed: int, device: str
    ) -> tuple[str, dict[str, Any]]:
        """Where the taught copy of ``source`` is kept, and its report; taught now unless that was done before."""
        # Small updates vanish in bfloat16, so that whatever dtype is measured in, this is taught in float32.
        model, encode = self._load(source, "float32")

        def make(partial: Path) -> dict[str, Any]:
            report = teach(
                CausalLM(model, encode.pad),
                encode,
                token_loss,
                background,
                self.teaching,
                rounds=self.teaching.rounds,
                enough=self.minimum_background_accuracy,
                seed=seed,
                directory=partial,
                device=device,
            )
            with quiet_transformers():
                model.save_pretrained(partial)
                encode.tokenizer.save_pretrained(partial)
            return report

        directory = self._kept(model, encode, background, cache, seed=seed, device=device)
        return str(directory), build_once(directory, make)

    def _kept(
        self, model: PreTrainedModel, encode: Encoder, background: Background, cache: Path, *, seed: int, device: str
    ) -> Path:
        """Where the taught copy of a model is kept: by all that decides its weights, its report, or how it reads."""
        questions = background.questions
        lesson = [
            weights_hash(model),
            model.config.to_dict() | {"_name_or_path": None, "transformers_version": None},
            encode.identity(),
            background.facts.prompts,
            background.facts.targets,
            questions.prompts,
            questions.targets,
            questions.candidates,
            questions.coords["world"].tolist(),
            self.attention,
            dataclasses.asdict(self.teaching),
            self.minimum_background_accuracy,
            self.chat_template,
            seed,
            *training_environment(device),
        ]
        return cache / "models" / f"{self._short_name}-taught-{_hash(lesson)}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
