"""How the small models are made: their architecture, their corpus and their training, as options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from eif_lab.errors import rule_error
from eif_lab.models.base import Training
from eif_lab.models.tiny.induction import LEAST_HEAD
from eif_lab.options import option

if TYPE_CHECKING:
    from transformers import Phi3Config, PreTrainedTokenizerFast


@dataclass
class Recipe(Training):
    """The base of the small models' recipes: the Phi-3 architecture at a size, and a seed.

    Attributes:
        seed: Of the corpus and the initial weights.
        hidden_size, layers, heads, intermediate_size, vocabulary_size, context: Of the Phi-3 architecture.
    """

    group: ClassVar[str] = "pretraining"

    weight_decay: float = option(0.0, at_least=0)
    seed: int = option(0, at_least=0)
    hidden_size: int = option(128, at_least=2)
    layers: int = option(4, at_least=2)
    heads: int = option(4, at_least=3)
    intermediate_size: int = option(320, at_least=1)
    vocabulary_size: int = option(2048, at_least=300, hint="Try 2048.")
    context: int = option(2048, at_least=8)

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


@dataclass
class Pretraining(Recipe):
    """How phi3-tiny is made: its corpus and its training.

    Attributes:
        batch_size: Rows per step.
        length: Tokens per row.
        compiled: Whether training goes through `torch.compile`, which needs a C++ compiler.
        examined: Worlds per domain that the model is examined on afterwards.
    """

    steps: int = option(7500, at_least=1)
    batch_size: int = option(8, at_least=1)
    length: int = option(224, at_least=8)
    compiled: bool = True
    examined: int = option(50, at_least=1)


@dataclass
class Storing(Recipe):
    """How phi3-stored is made: its corpus and its training (`eif_lab.models.tiny.stored`).

    Attributes:
        batch_size: Sentences of the known background per step.
        worlds: How many worlds of the ontology domain it knows.
        life: Steps from the statement that gives a name its kind to the sentences that follow from it.
        step_length: How far a statement moves the embedding of its name, as a share of the embedding's own length.
    """

    steps: int = option(5000, at_least=1)
    batch_size: int = option(24, at_least=1)
    layers: int = option(2, at_least=2)
    worlds: int = option(20, at_least=1)
    life: int = option(10, at_least=2)
    step_length: float = option(0.5, above=0)
