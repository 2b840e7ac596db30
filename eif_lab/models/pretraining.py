"""The pre-training of phi3-tiny: a byte-level tokenizer, an endless corpus of invented worlds, and the training on it.

The corpus states facts in the very wording of the text domains and then what follows from them, each document about a
world with its own words, so that a model can only do well by reading the document (`eif_lab.data.documents`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from eif_lab.data.causality import Causality
from eif_lab.data.compositionality import Compositionality
from eif_lab.data.documents import Piece, document, examination
from eif_lab.data.implication import Implication
from eif_lab.data.inheritance import Inheritance
from eif_lab.data.knowledge import Knowledge
from eif_lab.data.names import words
from eif_lab.data.negation import Negation
from eif_lab.data.once import give_usual_rights
from eif_lab.data.ontology import Ontology
from eif_lab.data.reversal import Reversal
from eif_lab.data.task import Background, Texts
from eif_lab.data.transitivity import Transitivity
from eif_lab.models.base import REPORT, Training
from eif_lab.models.encoding import IGNORED, Encoder
from eif_lab.models.induction import LEAST_HEAD, keep_codes, start_by_looking_up
from eif_lab.models.phi3 import TINY, CausalLM, token_loss
from eif_lab.models.teaching import background_accuracy
from eif_lab.schema import option, rule_error

if TYPE_CHECKING:
    from transformers import Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

DOMAINS: tuple[type[Knowledge], ...] = (
    Ontology,
    Inheritance,
    Transitivity,
    Causality,
    Compositionality,
    Implication,
    Reversal,
    Negation,
)
"""What phi3-tiny is trained to read; a further domain joins here."""

BETAS = 0.9, 0.98
"""Of AdamW: the second moment of a model that changes fast."""

UNKNOWN, BOS, EOS, PAD = "<unk>", "<s>", "<|endoftext|>", "<|pad|>"
TURNS = ("<|user|>", "<|assistant|>", "<|end|>")

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def make_tokenizer(vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (Radford et al., 2019) with Phi-3's special tokens and chat form.

    It is trained on the words of the domains' wordings and on the invented words, each standing alone: these are one
    token each, and anything else is spelled out. A text's first word is encoded as any other, with a space before it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[UNKNOWN, BOS, EOS, PAD, *TURNS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(lexicon()), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(TURNS),
        chat_template=CHAT_TEMPLATE,
    )


def lexicon() -> set[str]:
    """What ought to be one token, with a space in front: invented words and the words of the domains' sentences."""
    said = {word for domain in DOMAINS for ways in domain.wordings.values() for way in ways for word in way.split()}
    fixed = {word.removesuffix("{not}") for word in said if word not in ("{subject}", "{subject}{not}")}
    return {f" {word}" for word in (*invented(), *fixed, "not", "button", "lamp", ".")}


def invented() -> list[str]:
    """All invented words, those that pre-training shows and those that it doesn't."""
    return [*words(unseen=True), *words(unseen=False)]


def names_in(tokenizer: PreTrainedTokenizerFast) -> Int[Tensor, " names"]:
    """The ids of the invented words.

    Raises:
        ConfigError: The vocabulary is too small to hold each as a token.
    """
    ids = tokenizer(invented(), add_special_tokens=False)["input_ids"]
    if any(len(own) > 1 for own in ids):
        rule = f"be large enough for {len(ids)} invented words"
        raise rule_error("pretraining.vocabulary_size", rule, len(tokenizer), "Try 2048.")
    return torch.tensor(ids).flatten()


class Corpus(Dataset[tuple[Tensor, Tensor]]):
    """Batches by number: the documents of batch n follow from the seed and n alone.

    Args:
        tokenizer: Of the documents.
        options: How many batches, of how many rows, with as many whole documents in a row as fit.
        first: The batch that is given first, where a training goes on.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, options: Pretraining, first: int = 0) -> None:
        self.tokenizer, self.options, self.first = tokenizer, options, first

    def __len__(self) -> int:
        return self.options.steps

    def __getitem__(self, number: int) -> tuple[Int[Tensor, "rows length"], Int[Tensor, "rows length"]]:
        """Token ids and what each position is to predict."""
        chosen = self.options
        random = np.random.default_rng([chosen.seed, self.first + number])
        ids = torch.full((chosen.batch_size, chosen.length + 1), self.tokenizer.pad_token_id)
        learnt = torch.zeros(chosen.batch_size, chosen.length + 1, dtype=torch.bool)
        for row in range(chosen.batch_size):
            filled = 0
            for tokens, marks in self.documents(random):
                if filled + len(tokens) > chosen.length + 1:
                    if filled:
                        break
                    continue  # too long for any row
                place = slice(filled, filled + len(tokens))
                ids[row, place], learnt[row, place] = torch.tensor(tokens), torch.tensor(marks)
                filled = place.stop
        return ids[:, :-1], ids[:, 1:].masked_fill(~learnt[:, 1:], IGNORED)

    def documents(self, random: np.random.Generator) -> Iterator[tuple[list[int], list[bool]]]:
        """Endlessly, token ids and which of them are learnt."""
        while True:
            yield self.tokens(document(DOMAINS, random))

    def tokens(self, pieces: Sequence[Piece]) -> tuple[list[int], list[bool]]:
        """A document's ids between BOS and EOS; words never span pieces, so that each is encoded by itself."""
        encoded = self.tokenizer.backend_tokenizer.encode_batch([piece.text for piece in pieces])
        ids = [id for one in encoded for id in one.ids]
        marks = [piece.learnt for piece, one in zip(pieces, encoded) for _ in one.ids]
        return [self.tokenizer.bos_token_id, *ids, self.tokenizer.eos_token_id], [False, *marks, True]


class Packed(torch.nn.Module):
    """Reads rows of documents, each from position 0 and without a look at those before it.

    The mask follows from the positions (`transformers.masking_utils`).

    Args:
        model: What reads.
        bos: The id that every document begins with.
    """

    def __init__(self, model: Phi3ForCausalLM, bos: int) -> None:
        super().__init__()
        self.model, self.bos = model, bos

    def forward(self, inputs: Int[Tensor, "rows length"]) -> Float[Tensor, "rows length vocabulary"]:
        """Logits at every position."""
        place = torch.arange(inputs.shape[1], device=inputs.device).expand_as(inputs)
        start = torch.where(inputs == self.bos, place, 0).cummax(1).values
        return self.model(input_ids=inputs, position_ids=place - start, use_cache=False).logits


@dataclass(frozen=True)
class Mark:
    """How a model does on whole worlds with words that it has never seen.

    Attributes:
        stated: Share of the questions for a fact of the context that it answers.
        follows: Share of the questions for what one rule gives from the context.
        chance: Share of the latter that guessing among the candidates would answer.
    """

    stated: float
    follows: float
    chance: float


def examine(module: torch.nn.Module, encode: Encoder, domain: type[Knowledge], *, worlds: int, seed: int) -> Mark:
    """Ask a model about worlds that stand in its context; the likeliest candidate is its answer.

    Args:
        module: Token ids to logits.
        encode: Texts to (inputs, targets).
        domain: Of the worlds.
        worlds: How many.
        seed: What they are drawn with.
    """
    random = np.random.default_rng([seed, DOMAINS.index(domain)])
    asked = [question for _ in range(worlds) for question in examination(domain, random)]
    shares, chance = {}, {}
    for kind in ("stated", "follows"):
        rows = [one for one in asked if one[0] == kind]
        questions = Texts(
            prompts=tuple(prompt for _, prompt, _, _ in rows),
            targets=tuple(answer for _, _, answer, _ in rows),
            ids=np.arange(len(rows)),
            coords={"world": np.zeros(len(rows), dtype=int)},
            candidates=tuple(candidates for *_, candidates in rows),
        )
        [shares[kind]] = background_accuracy(module, encode, Background(questions, questions)).values()
        chance[kind] = float(np.mean([1 / len(candidates) for *_, candidates in rows]))
    return Mark(shares["stated"], shares["follows"], chance["follows"])


@dataclass
class Pretraining(Training):
    """How phi3-tiny is made: its architecture, its corpus and its training.

    Attributes:
        batch_size: Rows per step.
        length: Tokens per row.
        seed: Of the corpus and the initial weights.
        hidden_size, layers, heads, intermediate_size, vocabulary_size, context: Of the Phi-3 architecture.
        compiled: Whether training goes through `torch.compile`, which needs a C++ compiler.
        examined: Worlds per domain that the model is examined on afterwards.
    """

    group: ClassVar[str] = "pretraining"

    steps: int = option(7500, at_least=1)
    batch_size: int = option(8, at_least=1)
    learning_rate: float = option(2e-3, above=0, hint="Try 0.002.")
    weight_decay: float = option(0.0, at_least=0)
    checkpoint_every: int = option(200, at_least=1)
    length: int = option(224, at_least=8)
    seed: int = option(0, at_least=0)
    hidden_size: int = option(128, at_least=2)
    layers: int = option(4, at_least=2)
    heads: int = option(4, at_least=3)
    intermediate_size: int = option(320, at_least=1)
    vocabulary_size: int = option(2048, at_least=300, hint="Try 2048.")
    context: int = option(2048, at_least=8)
    compiled: bool = True
    examined: int = option(50, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        least = LEAST_HEAD * self.heads
        if self.hidden_size % (4 * self.heads) or self.hidden_size < least:
            rule = f"be a multiple of {4 * self.heads}, at least {least}, with {self.heads} heads"
            raise rule_error("pretraining.hidden_size", rule, self.hidden_size, f"Try {32 * self.heads}.")

    def architecture(self, tokenizer: PreTrainedTokenizerFast) -> Phi3Config:
        """Phi-3's configuration at this size."""
        from transformers import Phi3Config

        return Phi3Config(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.context,
            original_max_position_embeddings=self.context,
            # half of a head is blind to position, so that it finds a word however far away
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )


def pretrain(options: Pretraining, directory: Path, device: str) -> dict[str, Any]:
    """Train phi3-tiny and its tokenizer, and save both in the hub's format, with a model card and `report.json`.

    The same options give the same weights, bit for bit, on the same machine. An interrupted training goes on from its
    last checkpoint.

    Args:
        options: What to make.
        directory: Where the result goes.
        device: As torch names it.

    Returns:
        The report: parameters, loss at the end in nats per learnt token, and per domain the `Mark`.
    """
    from transformers import Phi3ForCausalLM

    from eif_lab.models.training import train  # brings Lightning, which a made model does without

    tokenizer = make_tokenizer(options.vocabulary_size)
    names = names_in(tokenizer)
    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = Phi3ForCausalLM(options.architecture(tokenizer))
        start_by_looking_up(model, names)
        keep_codes(model, names)
        reader = Packed(model, tokenizer.bos_token_id)
        if options.compiled:
            reader.compile()
        final = train(
            reader,
            token_loss,
            lambda seen: DataLoader(Corpus(tokenizer, options, seen), batch_size=None, num_workers=1),
            options,
            directory=directory,
            title=f"pre-training {TINY}",
            device=device,
            betas=BETAS,
        )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    module = CausalLM(model)
    encode = Encoder(tokenizer, options.context)
    marks = {
        domain().name: examine(module.to(device), encode, domain, worlds=options.examined, seed=options.seed)
        for domain in DOMAINS
    }
    report = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "pretraining_loss": final,
        "pretraining": asdict(options),
        "marks": {name: asdict(mark) for name, mark in marks.items()},
    }
    (directory / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (directory / "README.md").write_text(model_card(options, report), encoding="utf-8")
    give_usual_rights(directory, (directory / REPORT).stat().st_mode)
    return report


def model_card(options: Pretraining, report: Mapping[str, Any]) -> str:
    """The model card, in the hub's form: what it is, what it was trained on, and how it does on unseen worlds."""
    rows = [
        f"| {name} | {mark['stated']:.3f} | {mark['follows']:.3f} | {mark['chance']:.3f} |"
        for name, mark in report["marks"].items()
    ]
    return f"""---
license: mit
library_name: transformers
pipeline_tag: text-generation
language: en
tags: [phi3, synthetic]
---

# {TINY}

The Phi-3 architecture at {report["parameters"]:,} parameters ({options.layers} layers, hidden size
{options.hidden_size}, {options.heads} heads), trained by eif_lab on invented worlds. **These are not Microsoft's Phi-3
weights**, and it knows no English: it has read nothing but the sentences of eif_lab's knowledge domains.

- Start: the first layers look facts up from the beginning (`eif_lab.models.induction`); the codes of the 1,200 invented
  words are random and stay as they were drawn. Training shows a third of these words.
- Data: documents of invented words that state the facts and rules of a world and then what follows, drawn anew for each
  step (`eif_lab.data.documents`, seed {options.seed}).
- Training: {options.steps:,} steps of {options.batch_size} rows of {options.length} tokens, AdamW at
  {options.learning_rate:g}. Loss at the end: {report["pretraining_loss"]:.3f} nats per learnt token.
- Made again by `make pretrain`.

What it answers about whole worlds in its context, in words that training never showed, choosing among candidates
({options.examined} worlds per domain; `stated`: a fact of the context, `follows`: what one rule gives from it):

| domain | stated | follows | follows by chance |
| --- | --- | --- | --- |
{chr(10).join(rows)}
"""
