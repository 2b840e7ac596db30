"""A causal language model of transformers as a module from token ids to logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from eif_lab.models.language.prefixes import TokenTree, sees_whole_text, share_prefixes
from eif_lab.models.language.rotation import turned_by_row, turning_modules
from eif_lab.models.language.sight import must_not_see_ahead
from eif_lab.readouts.classes import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class CausalLM(nn.Module):
    """A transformers model called on token ids alone, giving logits alone.

    Rows are padded on the right and attention is causal, so that no token ever sees the padding and no mask is needed.
    Each row is read as if it were alone, whatever its length.

    Attributes:
        language_model: The model; one that sees later tokens is refused (`eif_lab.models.language.sight`).
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
        return tree.at_places(self.language_model(**self._reads(tree), logits_to_keep=tree.scored).logits)

    def tree_hidden(self, tree: TokenTree) -> Float[Tensor, "n answers d"]:
        """The last layer's hidden states at the scored positions of texts that share prefixes."""
        return tree.at_places(self.language_model.base_model(**self._reads(tree)).last_hidden_state)

    def _reads(self, tree: TokenTree) -> dict[str, Any]:
        return {
            "input_ids": tree.token_ids,
            "position_ids": tree.position_ids,
            "attention_mask": tree.mask(self.language_model.dtype),
            "use_cache": False,
        }

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

    def share_prefixes(
        self, inputs: Int[Tensor, "n T"], targets: Int[Tensor, "n T"]
    ) -> tuple[TokenTree, Int[Tensor, "n answers"]]:
        """Texts as a tree that this model takes in their place, and the targets at their scored positions."""
        return share_prefixes(inputs, targets)


class Outline(CausalLM):
    """A model whose weights are shapes without numbers: the mask, which cannot be worked out then, is given."""

    def forward(self, inputs: Int[Tensor, "n T"] | TokenTree) -> Float[Tensor, "n positions vocabulary"]:
        """Logits without numbers, of the shapes that `CausalLM` gives."""
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

    Beginnings that texts share are computed once, where the model can do that.

    Args:
        module: The model.
        input_ids: (n, T), padded with the module's ``pad``.
    """
    real = real_tokens(input_ids, module.pad)
    if module.can_share(input_ids.shape[1]):
        tree, tokens = module.share_prefixes(input_ids, input_ids.masked_fill(~real, IGNORED))
        hidden, real = module.tree_hidden(tree), tokens != IGNORED
    else:
        with module.reading(input_ids):
            hidden = module.language_model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
    read = real.unsqueeze(2)
    return (hidden * read).sum(1) / read.sum(1)


def real_tokens(input_ids: Int[Tensor, "n T"], pad: int | None) -> Bool[Tensor, "n T"]:
    """Which tokens are not padding: all up to a row's last one that is not ``pad``."""
    if pad is None:
        return torch.ones_like(input_ids, dtype=torch.bool)
    return (input_ids != pad).flip(1).cummax(1).values.flip(1)
