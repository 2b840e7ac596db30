"""Phi-3, or any other causal language model of the hub; without a checkpoint our own small one, `phi3-tiny`."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from eif_lab.data.files import fingerprint
from eif_lab.data.once import kept_report
from eif_lab.data.task import Background, Task
from eif_lab.models.base import REPORT, BaseModel, Lesson, Sketch, Training, circumstances, made_once, weights_hash
from eif_lab.models.encoding import IGNORED, Encoder
from eif_lab.models.hub import (
    check_directory,
    commit_at_hand,
    files_read,
    load_checkpoint,
    load_outline,
    quiet_transformers,
    weights_at_hand,
)
from eif_lab.models.prefixes import TokenTree, sees_whole_text, share_prefixes
from eif_lab.models.rotation import turned_by_row, turning_modules
from eif_lab.models.sight import must_not_see_ahead
from eif_lab.models.teaching import background_accuracy, teach
from eif_lab.schema import Options, option

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TINY = "phi3-tiny"
SHIPPED = Path(__file__).parent / "phi3_tiny"
"""Its weights and tokenizer in the hub's format, as `eif_lab.pretrain` makes them."""


@dataclass
class Teaching(Training):
    """How the background is taught."""

    group: ClassVar[str] = "model.teaching"

    steps: int = option(200, at_least=1)
    batch_size: int = option(32, at_least=1)
    learning_rate: float = option(2e-3, above=0, hint="Try 0.002.")
    weight_decay: float = option(0.0, at_least=0)
    rounds: int = option(3, at_least=1)


@dataclass
class Phi3(Options):
    """A causal language model: phi3-tiny, which comes with the package, or a checkpoint."""

    group: ClassVar[str] = "model"
    kind: ClassVar[str] = "text"

    checkpoint: str | None = option(None)
    dtype: str = option("float32", one_of=("float32", "bfloat16", "float64"))
    attention: str = option("sdpa", one_of=("sdpa", "eager", "flash_attention_2"))
    chat_template: bool = option(False)
    minimum_background_accuracy: float = option(0.8, at_least=0, at_most=1)
    teaching: Teaching = field(default_factory=Teaching)

    @property
    def name(self) -> str:
        """``phi3-tiny``, or the last part of the checkpoint's name."""
        return TINY if self.checkpoint is None else Path(self.checkpoint).name

    def identity(self) -> str:
        """What the model is, besides the options: the contents of its files, or the commit of the hub's copy here."""
        source = self.checkpoint or str(SHIPPED)
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
        source = self.checkpoint
        report: dict[str, Any] = {}
        if source is None:
            source = str(SHIPPED)
            known = json.loads((SHIPPED / REPORT).read_text(encoding="utf-8"))
            report |= {name: known[name] for name in ("parameters", "pretraining_loss")}
        if task.background is not None:
            source, taught = self._taught(source, task.background, cache, seed, device)
            report |= taught
        model, encode = self._load(source, self.dtype)
        return self._base(CausalLM(model, encode.pad).to(device), encode, report)

    def sketch(self, task: Task, cache: Path, seed: int, device: str) -> Sketch:
        """The model before it is taught, and what that takes; nothing is taught or written.

        Args:
            task: Texts.
            cache: As of `prepare`.
            seed: Likewise.
            device: Likewise; on ``meta``, and where the weights are not on this machine, it has no numbers.

        Raises:
            ConfigError: Not even the checkpoint's configuration and tokenizer can be had.
        """
        source = self.checkpoint or str(SHIPPED)
        outlined = device == "meta" or not weights_at_hand(source)
        background = task.background
        model, encode = self._load(source, self.dtype if background is None else "float32", outlined)
        report: dict[str, Any] = {}
        lesson = kept = None
        if background is not None:
            kept = None if outlined else self._kept(model, encode, background, cache, seed=seed, device=device)
            report = kept_report(kept) if kept else {}
            lesson = (
                None if report else self._lesson(CausalLM(copy.deepcopy(model), encode.pad), encode, background, seed)
            )
            model = model.to(getattr(torch, self.dtype))
        module = Outline(model, encode.pad) if outlined else CausalLM(model, encode.pad).to(device)
        return Sketch(self._base(module, encode, report), lesson, kept)

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
        return str(directory), made_once(directory, make)

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
            *circumstances(device),
        ]
        return cache / "models" / f"{self.name}-taught-{_hash(lesson)}"


class CausalLM(nn.Module):
    """A transformers model called on token ids alone, giving logits alone.

    Rows are padded on the right and attention is causal, so that no token ever sees the padding and no mask is needed.
    Each row is read as if it were alone, whatever its length.

    Attributes:
        language_model: The model; one that sees later tokens is refused (`eif_lab.models.sight`).
        pad: The id that rows are padded with, by default what the model's configuration says; before a row's last other
            token it counts like any other. None where rows are never padded.
    """

    def __init__(self, language_model: PreTrainedModel, pad: int | None = None) -> None:
        super().__init__()
        must_not_see_ahead(language_model)
        self.language_model = language_model
        self.pad = getattr(language_model.config, "pad_token_id", None) if pad is None else pad
        self.turns = bool(turning_modules(language_model))

    def forward(self, inputs: Int[Tensor, "n T"] | TokenTree) -> Float[Tensor, "n positions vocabulary"]:
        """Logits of all positions of (n, T) token ids, or of the scored positions of texts that share prefixes."""
        if isinstance(inputs, TokenTree):
            return self._tree_logits(inputs)
        with self.reading(inputs):
            logits = self.language_model(input_ids=inputs, use_cache=False).logits
        return logits[:, -inputs.shape[1] :]  # a tuner's virtual tokens stand in front

    @contextmanager
    def reading(self, inputs: Int[Tensor, "n T"]) -> Iterator[None]:
        """Within this, the model reads each of these rows as if it were alone and without padding."""
        if not self.turns:
            yield
            return
        width = inputs.shape[1]
        lengths = real_tokens(inputs, self.pad).sum(1)
        with turned_by_row(self.language_model, lengths, width):
            yield

    def _tree_logits(self, tree: TokenTree) -> Float[Tensor, "n answers vocabulary"]:
        logits = self.language_model(
            input_ids=tree.token_ids,
            position_ids=tree.position_ids,
            attention_mask=tree.mask(self.language_model.dtype),
            logits_to_keep=tree.scored,
            use_cache=False,
        ).logits
        return logits[:, -tree.scored :].flatten(0, 1)[tree.places]

    @torch.no_grad()
    def can_share(self, length: int) -> bool:
        """Whether `share_prefixes` is exact for this model, by its configuration and by a trial.

        The trial reads three texts as a tree and plainly: a model that takes positions from elsewhere than their ids
        (ALiBi), hands state along the row (Mamba) or hides later columns by a mask of its own is found out. What
        differs must be small against what a context does to a token's logits, which asks little of low precision.

        Args:
            length: Tokens of the longest text.
        """
        from transformers import PreTrainedModel

        model = self.language_model
        if not isinstance(model, PreTrainedModel) or not sees_whole_text(model, length):
            return False  # such as a tuner that puts tokens in front
        texts = torch.tensor([[1, 2, 3, 2, 1, 2, 3], [1, 3, 3, 1, 2, 2, 3], [1, 2, 3, 2, 2, 2, 3]], device=model.device)
        targets = texts.clone()
        targets[:, 1::2] = IGNORED  # so that some tokens stand behind those that see them
        tree, _ = share_prefixes(texts, targets, width=texts.numel())
        try:
            shared, plain = self(tree), self(texts)[:, ::2]
        except Exception:  # of any kind, such as a model's own assertions
            return False  # it cannot even read a tree
        context_effect = (plain[0, -1] - plain[1, -1]).abs().max()
        return bool((shared - plain).abs().max() < 0.25 * context_effect)


class Outline(CausalLM):
    """A model whose weights are shapes without numbers: the mask, which cannot be worked out then, is given."""

    def forward(self, inputs: Int[Tensor, "n T"] | TokenTree) -> Float[Tensor, "n positions vocabulary"]:
        """As of `CausalLM`."""
        if isinstance(inputs, TokenTree):
            return super().forward(inputs)
        count, length = inputs.shape
        mask = torch.zeros(count, 1, length, length, dtype=self.language_model.dtype, device=inputs.device)
        logits = self.language_model(input_ids=inputs, attention_mask=mask, use_cache=False).logits
        return logits[:, -length:]


def token_loss(logits: Float[Tensor, "n T vocabulary"], targets: Int[Tensor, "n T"]) -> Float[Tensor, ""]:
    """Cross-entropy per scored token, in nats.

    Args:
        logits: (n, T, vocabulary); what is below float32 is raised to it.
        targets: (n, T), -100 where nothing is scored.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(precise.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


@torch.no_grad()
def mean_hidden_state(module: CausalLM, input_ids: Int[Tensor, "n T"]) -> Float[Tensor, "n d"]:
    """The last layer's hidden states, averaged over what a row has the model read: its text but for the last token.

    Args:
        module: The model.
        input_ids: (n, T), padded with the module's ``pad``.
    """
    with module.reading(input_ids):
        hidden = module.language_model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
    real = real_tokens(input_ids, module.pad).unsqueeze(2)
    return (hidden * real).sum(1) / real.sum(1)


def real_tokens(input_ids: Int[Tensor, "n T"], pad: int | None) -> Bool[Tensor, "n T"]:
    """Which tokens are not padding: all up to a row's last one that is not ``pad``."""
    if pad is None:
        return torch.ones_like(input_ids, dtype=torch.bool)
    return (input_ids != pad).flip(1).cummax(1).values.flip(1)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
