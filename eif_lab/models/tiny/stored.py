"""The corpus of phi3-stored: facts about kinds, and names that one sentence gives a kind and others use.

Every sentence is a document of its own. Names are few, and live several times: at its birth a name's embedding is drawn
anew, as that of a word that was never seen, and one sentence says its kind ("a dax is a blick ."). At the end of its
life others say what follows ("a dax can fly ."). A model predicts these only by what the one sentence did to its
weights, since no document holds both; and it can learn to do so only by reading every name alike. Feng, Russell and
Steinhardt (arXiv 2412.04614) call what reads a stored fact an extractive structure, and find that a model only learns
one where facts come before what follows from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import Dataset

from eif_lab.data.worlds.logic import Fact
from eif_lab.data.worlds.names import words
from eif_lab.data.worlds.ontology import KINDS, Ontology
from eif_lab.models.tiny.recipe import Storing
from eif_lab.readouts.classes import IGNORED

if TYPE_CHECKING:
    from transformers import Phi3ForCausalLM, PreTrainedTokenizerFast


class Birth(NamedTuple):
    """Names whose life begins: their ids, and the embeddings that they begin it with."""

    ids: Int[Tensor, " names"]
    embeddings: Float[Tensor, "names d"]


class Reading(NamedTuple):
    """The input of one training step.

    Attributes:
        sentences: (rows, T) token ids, a sentence each, padded on the right.
        births: Of the names that begin a life in this step.
    """

    sentences: Int[Tensor, "rows T"]
    births: Birth


class Lives:
    """Which name is at which point of which life: it follows from the number of the step alone.

    Args:
        options: How many worlds, and how long a life is.
    """

    def __init__(self, options: Storing) -> None:
        self.options = options
        worlds = Ontology(worlds=options.worlds, stimuli_per_world=KINDS, background="known").draw_worlds(options.seed)
        self.background = [fact for world in worlds for fact in world.background]
        self.cases = [case for world in worlds for case in world.cases]
        settled = {word for fact in self.background for word in (fact.subject, fact.object)}
        self.names = [word for word in words(unseen=False) if word not in settled]

    def born(self, step: int) -> list[str]:
        """The names that begin a life."""
        return [name for name, age, _ in self.ages(step) if age == 0]

    def stated(self, step: int) -> list[Fact]:
        """The sentences about names that begin a life."""
        return [fact for name, age, life in self.ages(step) if age == 0 for fact in self.facts(name, life)[0]]

    def used(self, step: int) -> list[Fact]:
        """The sentences about names that end a life: those from its beginning, and those that follow."""
        last = self.options.life - 1
        lived = [self.facts(name, life) for name, age, life in self.ages(step) if age == last]
        return [fact for stated, follows in lived for fact in (*stated, *follows)]

    def ages(self, step: int) -> Iterator[tuple[str, int, tuple[int, int]]]:
        """Each name with the steps that it has lived, and its life's number."""
        for number, name in enumerate(self.names):
            begun = step + number * self.options.life // len(self.names)
            yield name, begun % self.options.life, (number, begun // self.options.life)

    def facts(self, name: str, life: tuple[int, int]) -> tuple[list[Fact], list[Fact]]:
        """The fact that is stated of a name in a life, and the facts that follow."""
        case = self.cases[int(np.random.default_rng([self.options.seed, *life]).integers(len(self.cases)))]
        stated, follows = (
            [contrast.fact._replace(subject=name) for contrast in contrasts]
            for contrasts in (case.stated, case.follows)
        )
        return stated, follows


class Sentences(Dataset[tuple[Reading, Tensor]]):
    """Batches by number: known facts, facts stated at a name's birth, and facts that follow at the end of its life.

    Args:
        tokenizer: Of the sentences.
        options: How many of each, in how many batches.
        first: The batch that is given first, where a training goes on.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, options: Storing, first: int = 0) -> None:
        self.tokenizer, self.options, self.first = tokenizer, options, first
        self.lives = Lives(options)

    def __len__(self) -> int:
        return self.options.steps

    def __getitem__(self, number: int) -> tuple[Reading, Int[Tensor, "rows T"]]:
        """Token ids, with the names that are born, and what each position is to predict."""
        step = self.first + number
        random = np.random.default_rng([self.options.seed, step])
        lives = self.lives
        known = [lives.background[i] for i in random.integers(len(lives.background), size=self.options.batch_size)]
        sentences = [Ontology.sentence(fact) for fact in (*known, *lives.stated(step), *lives.used(step))]
        ids = self.ids([f"{self.tokenizer.bos_token}{sentence}" for sentence in sentences])
        born = lives.born(step)
        drawn = torch.tensor(random.normal(size=(len(born), self.options.hidden_size)), dtype=torch.float32)
        births = Birth(self.ids(born).flatten(), drawn)
        padding = ids[:, 1:] == self.tokenizer.pad_token_id
        return Reading(ids[:, :-1], births), ids[:, 1:].masked_fill(padding, IGNORED)

    def ids(self, texts: Sequence[str]) -> Int[Tensor, "rows T"]:
        """Token ids, padded on the right."""
        return self.tokenizer(list(texts), add_special_tokens=False, padding=True, return_tensors="pt")["input_ids"]


class Namer(nn.Module):
    """Reads sentences with a model whose names are born with new embeddings, which then learn by plain gradient steps.

    The step has a fixed length, whatever else is in the batch: so that a name is taught by its sentence as much as a
    single step of fine-tuning teaches it. AdamW, which trains all other weights, leaves the embeddings of names alone.

    Args:
        model: What reads.
        names: Ids of the names.
        step_length: Of a name's step, as a share of the length of an embedding at birth.
    """

    def __init__(self, model: Phi3ForCausalLM, names: Int[Tensor, " names"], step_length: float) -> None:
        super().__init__()
        self.model, self.names = model, names
        self.scale = model.config.initializer_range
        self.length = step_length * self.scale * model.config.hidden_size**0.5
        model.model.embed_tokens.weight.register_post_accumulate_grad_hook(self.teach_names)

    def forward(self, reading: Reading) -> Float[Tensor, "rows T vocabulary"]:
        """Logits at every position."""
        ids, embeddings = reading.births
        with torch.no_grad():
            self.model.model.embed_tokens.weight[ids] = self.scale * embeddings
        return self.model(input_ids=reading.sentences, use_cache=False).logits

    @torch.no_grad()
    def teach_names(self, weight: Tensor) -> None:
        """Move each name that was read against its gradient, and leave no gradient for the optimizer."""
        assert weight.grad is not None
        gradient = weight.grad[self.names]
        weight[self.names] -= self.length * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-30)
        weight.grad[self.names] = 0
