"""How phi3-tiny is made: its architecture, its corpus and its training, as options."""

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
