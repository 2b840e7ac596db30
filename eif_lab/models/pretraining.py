"""The pre-training of phi3-tiny: a corpus of invented worlds, a byte-level tokenizer, and the first training.

The corpus states facts in the very wording of the text domains and then what follows from them, each document about a
world with its own words, so that a model can only do well by reading the document. A domain joins by adding its
document maker to `DOMAINS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from eif_lab.data import ontology
from eif_lab.models.base import Loss, Training

if TYPE_CHECKING:
    from transformers import Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

DOMAINS: tuple[Callable[[np.random.Generator], list[str]], ...] = (ontology.document,)
"""Each makes the sentences of one document; the corpus takes them in turn."""

TOKENIZER_DOCUMENTS = 500
RAREST_TOKEN = 100
"""Syllables occur more often than this in those documents and words less, so that a word stays two tokens."""

UNKNOWN, BOS, EOS, PAD = "<unk>", "<s>", "<|endoftext|>", "<|pad|>"
TURNS = ("<|user|>", "<|assistant|>", "<|end|>")

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def documents(seed: int) -> Iterable[str]:
    """The endless corpus that ``seed`` draws, document by document, one sentence a line."""
    random = np.random.default_rng(seed)
    while True:
        for domain in DOMAINS:
            yield "\n".join(domain(random))


def first(count: int, texts: Iterable[str]) -> list[str]:
    """The first ``count`` texts."""
    return [text for _, text in zip(range(count), texts)]


def train_tokenizer(texts: Sequence[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (Radford et al., 2019) with Phi-3's special tokens and chat form."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[UNKNOWN, BOS, EOS, PAD, *TURNS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=RAREST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(TURNS),
        chat_template=CHAT_TEMPLATE,
    )


def pack(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast, *, rows: int, length: int) -> Tensor:
    """(rows, length + 1) token ids: a row starts with a document, is filled with the next ones and cut to length."""
    packed: list[list[int]] = []
    row: list[int] = []
    for text in texts:
        row += [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        if len(row) > length:
            packed.append(row[: length + 1])
            row = []
        if len(packed) == rows:
            break
    return torch.tensor(packed)


@torch.no_grad()
def start_by_copying(model: Phi3ForCausalLM) -> None:
    """Make attention start near "look at what is like me, and repeat it".

    Queries and keys share their weights, ``W_o = W_v^T``, and the output layer starts as the embedding (it is not tied
    to it afterwards). Source: the mimetic initialization of Trockman and Kolter (2023), with random matrices in the
    place of their scaled identities. In the minute that the pre-training has, a usual start learns to copy nothing.
    """
    model.lm_head.weight.copy_(model.model.embed_tokens.weight)
    for layer in model.model.layers:
        query, key, value = layer.self_attn.qkv_proj.weight.chunk(3)
        key.copy_(query)
        layer.self_attn.o_proj.weight.copy_(value.T)


def pretrain(
    config: Phi3Config,
    wrap: Callable[[Any], torch.nn.Module],
    loss: Loss,
    options: Training,
    *,
    length: int,
    seed: int,
    directory: Path,
    device: str,
) -> dict[str, Any]:
    """Train a new model and its tokenizer, and save both in the hub's format.

    Every row is seen once. The same arguments give the same weights, bit for bit, on the same machine.

    Args:
        config: The architecture; the token ids and the vocabulary's size are filled in from the tokenizer.
        wrap: From the transformers model to the module that maps token ids to logits.
        loss: (logits, targets) to a mean loss.
        options: The training.
        length: Tokens per row.
        seed: Of the corpus, the initial weights and the order of the rows.
        directory: Where the result goes.
        device: As torch names it.

    Returns:
        The report: the training loss at the end, in nats per token.
    """
    from transformers import Phi3ForCausalLM

    from eif_lab.models.training import train  # brings Lightning, which a cached model does without

    tokenizer = train_tokenizer(first(TOKENIZER_DOCUMENTS, documents(seed)), config.vocab_size)
    config.vocab_size = len(tokenizer)
    config.bos_token_id = tokenizer.bos_token_id
    config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    rows = pack(documents(seed), tokenizer, rows=options.steps * options.batch_size, length=length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Phi3ForCausalLM(config)
        start_by_copying(model)
        batches = DataLoader(
            TensorDataset(rows[:, :-1], rows[:, 1:]),
            batch_size=options.batch_size,
            generator=torch.Generator().manual_seed(seed),
        )
        final = train(
            wrap(model), loss, batches, options, directory=directory, title="pre-training phi3-tiny", device=device
        )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return {"pretraining_loss": final, "parameters": sum(p.numel() for p in model.parameters())}
