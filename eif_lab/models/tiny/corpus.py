"""The corpus of phi3-tiny: endless documents of invented worlds, packed into rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from eif_lab.models.tiny.documents import Piece, document
from eif_lab.readouts.classes import IGNORED

if TYPE_CHECKING:
    from transformers import Phi3ForCausalLM, PreTrainedTokenizerFast

from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.models.tiny.recipe import Pretraining


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
