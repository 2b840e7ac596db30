"""Cases of benchmarks: a model, stimuli, probes, a method and an update."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eif_lab import calibrate, measure_influence
from eif_lab.data.task import Images, Task
from eif_lab.influence.engines import Engine, named_engine
from eif_lab.influence.update import Update
from eif_lab.models.base import Loss
from eif_lab.models.cnn import CNN, ConvNet

Pairs = tuple[Tensor, Tensor]
CACHE = Path("outputs/cache")


@dataclass(frozen=True)
class Case:
    """One influence measurement.

    Attributes:
        model: In eval mode.
        loss: (output, targets) to a mean loss.
        stimuli, probes: (inputs, targets).
        update: The recipe.
        method: What moves.
        data: What the samples are, in words.
        training: (inputs, targets) that the model was trained on; None where that does not matter.
    """

    model: nn.Module
    loss: Loss
    stimuli: Pairs
    probes: Pairs
    update: Update
    method: str = "full"
    data: str = ""
    training: Pairs | None = None

    @property
    def sizes(self) -> str:
        """Stimuli x probes."""
        return f"{len(self.stimuli[1])} x {len(self.probes[1])}"

    def take(self, stimuli: int, probes: int) -> Case:
        """The case with the first stimuli and probes only."""
        (some, labels), (watched, wanted) = self.stimuli, self.probes
        return replace(self, stimuli=(some[:stimuli], labels[:stimuli]), probes=(watched[:probes], wanted[:probes]))

    def with_steps(self, steps: int) -> Case:
        """The case with another number of steps."""
        return replace(self, update=replace(self.update, steps=steps))

    def influence(self, engine: str | Engine = "auto", readout: str | Sequence[str] = "log_prob") -> np.ndarray:
        """The array (stimuli, probes), by the public function; of several readouts (stimuli, probes, readouts)."""
        return measure_influence(
            self.model,
            self.loss,
            self.stimuli,
            self.probes,
            readout=readout,
            method=self.method,
            update=self.update,
            engine=eager(engine),
        ).values

    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """The loss of each row alone: (rows,)."""
        return torch.stack([self.loss(*row) for row in zip(output.split(1), targets.split(1))])


def eager(engine: str | Engine) -> str | Engine:
    """``auto`` without compilation: repeated runs find what an earlier one compiled, and would not pay for it."""
    return replace(named_engine("auto"), compile="never") if engine == "auto" else engine


def cnn_case(stimuli: int, probes: int, steps: int = 3, real: bool = True, device: str = "cpu") -> Case:
    """The 421,642-parameter CNN with random weights on 28 x 28 images; speed does not depend on what they show.

    Args:
        stimuli, probes, steps: How many.
        real: Take MNIST where EIF_LAB_DATA names a folder that holds it, else noise.
        device: As torch names it.
    """
    torch.manual_seed(0)
    net = ConvNet((1, 28, 28), 10, [32, 64], 128).eval().to(device)
    if real and os.environ.get("EIF_LAB_DATA"):
        held_out = mnist().validation
        assert held_out is not None
        images, labels, data = held_out.pixels, held_out.labels, "MNIST"
    else:
        count = max(stimuli, probes)
        images, labels, data = torch.rand(count, 1, 28, 28), torch.randint(10, (count,)), "random images"
    rows = torch.arange(max(stimuli, probes)) % len(labels)
    samples = images[rows].to(device), labels[rows].to(device)
    update = Update(learning_rate=0.01, steps=steps)
    return Case(net, F.cross_entropy, samples, samples, update, data=data).take(stimuli, probes)


def trained_cnn_case(samples: int, size: int) -> Case:
    """A trained CNN, its stimuli and probes the same held-out images, at the calibrated rate of one step.

    Args:
        samples: How many.
        size: 28 for MNIST (scikit-learn's digits, enlarged, where EIF_LAB_DATA is not set), 8 for those digits as
            they are.
    """
    task, data = digits(size), f"digits {size} x {size}"
    if size == 28 and os.environ.get("EIF_LAB_DATA"):
        task, data = mnist(), "MNIST"
    base = CNN().prepare(task, CACHE, seed=0, device="cpu")
    pairs = base.encode(task.images[0].take(range(samples)))
    rate = calibrate(base.module, base.loss, pairs, update=Update()).learning_rate
    accuracy = base.report["accuracy"]
    data = f"{data}, {parameters(base.module):,} parameters, accuracy {accuracy:.2f}"
    return Case(base.module, base.loss, pairs, pairs, Update(learning_rate=rate), data=data)


@functools.cache
def mnist() -> Task:
    """MNIST from the folder that EIF_LAB_DATA names."""
    from eif_lab.data.images.mnist import MNIST

    return MNIST(root=os.environ["EIF_LAB_DATA"], download=str(CACHE / "data")).load(0)


@functools.cache
def digits(size: int) -> Task:
    """scikit-learn's digits, enlarged to ``size`` pixels a side."""
    from eif_lab.data.images.digits import Digits

    task = Digits().load(0)

    def resized(images: Any) -> Images:
        return replace(images, pixels=F.interpolate(images.pixels, size=(size, size), mode="bilinear"))

    return replace(
        task,
        stimuli=resized(task.stimuli),
        probes=resized(task.probes),
        training=resized(task.training),
        validation=resized(task.validation),
    )


@dataclass(frozen=True)
class Architecture:
    """Sizes of a Phi-3, under the names that transformers has for them."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    num_key_value_heads: int | None = None
    tie_word_embeddings: bool = False


TINY = Architecture(128, 320, 4, 4, 1691)
"""Of phi3-tiny."""

SMOL = Architecture(576, 1536, 30, 9, 49152, num_key_value_heads=3, tie_word_embeddings=True)
"""Of SmolLM2-135M, joined into Phi-3's form: 134,515,008 parameters."""

MINI = Architecture(3072, 8192, 32, 32, 32064)
"""Of Phi-3-mini: 3,821,079,552 parameters."""


COARSE = 0.1
"""A learning rate at which log-probabilities move by more than bfloat16 rounds them."""


def language_case(
    stimuli: int,
    probes: int,
    *,
    method: str = "full",
    architecture: Architecture = TINY,
    tokens: int = 15,
    clozes: bool = False,
    checkpoint: str | None = None,
    rate: float = 0.01,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Case:
    """A Phi-3, by default of random weights, on random token ids; rows differ in length and are padded on the right.

    Args:
        stimuli, probes: How many.
        method: What moves.
        architecture: Its sizes.
        tokens: Mean length of a text.
        clozes: Whether the probes are `random_clozes`; otherwise no two begin alike and every token is scored.
        checkpoint: A folder with weights in the hub's format, in place of random ones.
        rate: The learning rate.
        dtype: Of the weights.
        device: As torch names it.
    """
    from eif_lab.models.language.causal_lm import CausalLM, token_loss

    torch.manual_seed(0)
    model = phi3(architecture, dtype, device) if checkpoint is None else pretrained(checkpoint, dtype, device)
    module = CausalLM(model, pad=3).eval()
    texts = random_texts(max(stimuli, probes), model.config.vocab_size, tokens)
    watched = random_clozes(probes, model.config.vocab_size, tokens) if clozes else texts
    samples, watched = ((inputs.to(device), targets.to(device)) for inputs, targets in (texts, watched))
    kind = "texts that begin alike, 1 to 3 of their tokens scored," if clozes else "texts"
    weights = "random weights" if checkpoint is None else Path(checkpoint).name
    data = f"Phi-3 with {parameters(module):,} parameters ({weights}), random {kind} of about {tokens} tokens"
    update = Update(learning_rate=rate)
    return Case(module, token_loss, samples, watched, update, method, data).take(stimuli, probes)


def phi3(architecture: Architecture, dtype: torch.dtype, device: str) -> Any:
    """A Phi-3 language model, its random weights made where they will be used."""
    from transformers import AutoModelForCausalLM, Phi3Config

    config = Phi3Config(
        **asdict(architecture),
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        initializer_range=architecture.hidden_size**-0.5,
    )
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")


def pretrained(checkpoint: str, dtype: torch.dtype, device: str) -> Any:
    """A language model with the weights that a folder holds."""
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype, attn_implementation="sdpa")
    return loaded.to(device)


def random_texts(count: int, vocabulary: int, tokens: int) -> Pairs:
    """Inputs and targets (count, T); lengths vary by a fifth about ``tokens``, the rest is padding."""
    lengths = torch.randint(tokens - tokens // 5, tokens + tokens // 5 + 1, (count,))
    ids = torch.randint(4, vocabulary, (count, int(lengths.max())))
    return padded(ids, lengths, torch.ones_like(lengths))


def random_clozes(count: int, vocabulary: int, tokens: int) -> Pairs:
    """Inputs and targets (count, T) of clozes as our domains ask them: only the answer, of 1 to 3 tokens, is scored.

    Eight clozes are of one world. They come in pairs, an answer and its foil, that begin alike but for these; the
    pairs of a world have their first two fifths in common.
    """
    lengths = torch.randint(tokens - tokens // 5, tokens + tokens // 5 + 1, (count,))
    number, longest = torch.arange(count), int(lengths.max()) + 3
    answers = torch.randint(1, 4, (count,))
    stems = (lengths - answers)[number // 2 * 2]  # of a pair alike
    ids, of_pairs, of_worlds = torch.randint(4, vocabulary, (3, count, longest))
    position = torch.arange(longest)
    ids = torch.where(position < stems[:, None], of_pairs[number // 2], ids)
    ids = torch.where(position < 2 * tokens // 5, of_worlds[number // 8], ids)
    return padded(ids, stems + answers, stems)


def padded(ids: Tensor, lengths: Tensor, scored_from: Tensor) -> Pairs:
    """Inputs and targets (count, T) of texts of these lengths, of which the tokens from a position on are scored."""
    position = torch.arange(int(lengths.max()))
    ids = ids[:, : len(position)].masked_fill(position >= lengths[:, None], 3)
    scored = (position >= scored_from[:, None]) & (position < lengths[:, None])
    return ids[:, :-1].contiguous(), ids.masked_fill(~scored, -100)[:, 1:].contiguous()


def parameters(module: nn.Module) -> int:
    """How many numbers are in the weights."""
    return sum(p.numel() for p in module.parameters())
