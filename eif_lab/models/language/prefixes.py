"""Texts that begin alike, packed so that a causal model computes the beginning once.

A token's hidden state depends on the tokens before it in its own text and on nothing else. So texts that share a prefix
share its hidden states, and a set of texts is a tree with one node for each different prefix. The nodes stand in rows
in any order, each with its depth as position and a mask by which it sees its ancestors and itself (tree attention, as
in Miao et al., *SpecInfer*, arXiv 2305.09781).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eif_lab.errors import rule_error
from eif_lab.readouts.classes import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Row widths that are tried, in lengths of the longest text."""

LINEAR_WIDTH = 1024
"""Tokens in a row at which its attention costs as much as its linear layers: about six times the hidden size (24 h^2
against 4 h w multiplications per token and layer), of a small model, so that no model's rows get too wide."""


@dataclass(frozen=True)
class TokenTree:
    """Texts packed into rows without repeating what they share; what `CausalLM` takes in place of token ids.

    A row is padded in front, and its scored tokens stand last, so that a model's head need read no others.

    Attributes:
        token_ids: Of the nodes.
        position_ids: A node's depth, which is the token's position in each of its texts.
        visible: Whether the node (second axis) sees another (third); padding sees itself alone.
        places: For each text its scored positions, as flat places in the (rows, scored) last columns; padded with 0.
        scored: How many of the last columns the places are in.
        unshared: How many tokens the texts have in the plain form, padding included.
    """

    token_ids: Int[Tensor, "rows width"]
    position_ids: Int[Tensor, "rows width"]
    visible: Bool[Tensor, "rows width width"]
    places: Int[Tensor, "n answers"]
    scored: int
    unshared: int

    @property
    def computed(self) -> int:
        """How many tokens go through the model, padding included."""
        return self.token_ids.numel()

    @property
    def saved(self) -> float:
        """The share of the plain form's tokens that need not be computed; below 0 where there are more of them."""
        return 1 - self.computed / self.unshared

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "rows 1 width width"]:
        """What is added to the attention scores: 0 where a token sees another, the least number elsewhere."""
        # a float, because eager attention adds a Boolean mask as if it were 0 and 1
        scores = torch.zeros_like(self.visible, dtype=dtype)
        return scores.masked_fill(~self.visible, torch.finfo(dtype).min).unsqueeze(1)

    def at_places(self, nodes: Float[Tensor, "rows columns d"]) -> Float[Tensor, "n answers d"]:
        """What a model gives at each text's scored positions, from what it gives at the last columns, or at all."""
        return nodes[:, -self.scored :].flatten(0, 1)[self.places]

    def to(self, device: torch.device | str) -> TokenTree:
        """The same on another device."""
        return dataclasses.replace(
            self,
            token_ids=self.token_ids.to(device),
            position_ids=self.position_ids.to(device),
            visible=self.visible.to(device),
            places=self.places.to(device),
        )


class Trie(NamedTuple):
    """The different prefixes of some texts; a node comes after its parent.

    Attributes:
        tokens: The last token of each node's prefix.
        parents: The node one token shorter; -1 for none.
        depths: How many tokens stand before the node's own.
        sizes: How many nodes there are in the subtree below it, itself included.
        paths: For each text its nodes, first to last.
    """

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    sizes: list[int]
    paths: list[list[int]]


def share_prefixes(
    inputs: Int[Tensor, "n T"], targets: Int[Tensor, "n T"], width: int | None = None
) -> tuple[TokenTree, Int[Tensor, "n answers"]]:
    """Texts as a tree, and the targets at their scored positions.

    ``model(tree)`` is ``model(inputs)`` at the positions that have a target, so that a readout over those alone is the
    same of ``(model(tree), targets)`` as of the plain form. What follows a text's last scored position is not computed.

    Args:
        inputs: Token ids, padded on the right.
        targets: What each position predicts; -100 where nothing is scored.
        width: The most tokens in a row; None for the width that costs least. What is shared by more texts than fit into
            a row is computed in each row that holds some of them.

    Returns:
        The tree, on the device of ``inputs``, and targets of (n, answers), padded with -100; answers is at least 1.

    Raises:
        ConfigError: A text does not fit into ``width``.
    """
    scored = targets != IGNORED
    columns = torch.arange(1, inputs.shape[1] + 1, device=targets.device)
    lengths = (scored * columns).amax(1).clamp(min=1).tolist()
    if width is not None and width < max(lengths):
        raise rule_error("width", f"be at least the longest text's {max(lengths)} tokens", width)
    trie = grow([row[:length] for row, length in zip(inputs.tolist(), lengths)])
    widths = [int(times * max(lengths)) for times in WIDTHS] if width is None else [width]
    rows = min((pack(trie, width) for width in widths), key=cost)
    positions = [row.nonzero().flatten().tolist() for row in scored]
    answers = [[path[t] for t in row] for path, row in zip(trie.paths, positions)]
    tree = lay_out(trie, rows, answers, inputs.numel()).to(inputs.device)
    return tree, padded([row[columns] for row, columns in zip(targets, scored)], IGNORED)


def grow(texts: list[list[int]]) -> Trie:
    """The trie of texts, each at least one token long."""
    known: dict[tuple[int, int], int] = {}
    trie = Trie([], [], [], [], [])
    for text in texts:
        node, path = -1, []
        for depth, token in enumerate(text):
            parent, node = node, known.setdefault((node, token), len(known))
            if node == len(trie.tokens):
                trie.tokens.append(token)
                trie.parents.append(parent)
                trie.depths.append(depth)
            path.append(node)
        trie.paths.append(path)
    trie.sizes.extend([1] * len(known))
    for node in reversed(range(len(known))):
        if trie.parents[node] >= 0:
            trie.sizes[trie.parents[node]] += trie.sizes[node]
    return trie


def pack(trie: Trie, width: int) -> list[set[int]]:
    """The nodes of each row: with every node, all of its ancestors.

    The largest subtrees that fit into a row with what leads to them stay whole, and go into rows by first-fit
    decreasing.
    """
    whole: dict[int, set[int]] = {}
    for path in trie.paths:
        for depth, node in enumerate(path):
            if depth + trie.sizes[node] <= width:
                whole.setdefault(node, set()).update(path)
                break  # a text without such a node is the beginning of others, and stands in their rows
    rows: list[set[int]] = []
    for root, nodes in sorted(whole.items(), key=lambda one: len(one[1]), reverse=True):
        least = len(nodes) - trie.depths[root]  # at least so many that no other subtree has
        row = next((row for row in rows if len(row) + least <= width and len(row | nodes) <= width), None)
        if row is None:
            rows.append(nodes)
        else:
            row |= nodes
    return rows


def cost(rows: list[set[int]]) -> int:
    """What rows cost, in tokens through the linear layers times `LINEAR_WIDTH`; attention grows with a row's square."""
    width = max(map(len, rows))
    return len(rows) * width * (LINEAR_WIDTH + width)


def lay_out(trie: Trie, rows: list[set[int]], answers: list[list[int]], unshared: int) -> TokenTree:
    """The tensors of a tree.

    Args:
        trie: The texts.
        rows: The nodes of each row.
        answers: For each text the nodes at its scored positions.
        unshared: Tokens of the plain form.
    """
    read = {node for nodes in answers for node in nodes}
    orders = [sorted(row - read) + sorted(row & read) for row in rows]
    scored = max(1, *(len(row & read) for row in rows))
    width = max(map(len, rows))
    token_ids, position_ids = torch.zeros(2, len(rows), width, dtype=torch.long)
    above = torch.arange(width).repeat(len(rows), 1)
    place: dict[int, int] = {}
    for number, order in enumerate(orders):
        first = width - len(order)
        column = {node: first + i for i, node in enumerate(order)}
        token_ids[number, first:] = torch.tensor([trie.tokens[node] for node in order])
        position_ids[number, first:] = torch.tensor([trie.depths[node] for node in order])
        above[number, first:] = torch.tensor([column.get(trie.parents[node], column[node]) for node in order])
        for node in order[-scored:]:
            place[node] = number * scored + column[node] - (width - scored)
    places = padded([torch.tensor([place[node] for node in nodes], dtype=torch.long) for nodes in answers], 0)
    return TokenTree(token_ids, position_ids, lineage(above), places, scored, unshared)


def lineage(above: Int[Tensor, "rows width"]) -> Bool[Tensor, "rows width width"]:
    """Which columns are a column itself or its ancestors, given each one's parent (a root's is itself)."""
    rows, width = above.shape
    visible = torch.eye(width, dtype=torch.bool).repeat(rows, 1, 1)
    row = torch.arange(rows).unsqueeze(1)
    for _ in range(width.bit_length()):  # each time twice as far up
        visible |= visible[row, above]
        above = above[row, above]
    return visible


def padded(rows: list[Tensor], filling: int) -> Int[Tensor, "n answers"]:
    """Rows of different lengths as one tensor, at least one column wide."""
    longest = max(1, *(len(row) for row in rows))
    return torch.stack([torch.nn.functional.pad(row, (0, longest - len(row)), value=filling) for row in rows])


HORIZONS = ("sliding_window", "attention_chunk_size", "original_max_position_embeddings", "max_position_embeddings")
"""Lengths in a model's configuration beyond which it no longer treats a text's tokens alike."""


def sees_whole_text(language_model: PreTrainedModel, length: int) -> bool:
    """Whether, by its configuration, each token of a text sees all before it, and a mask of ours can say which.

    Args:
        language_model: Any transformers model.
        length: Tokens of the text.
    """
    config = language_model.config.get_text_config(decoder=True)
    known = {**(getattr(config, "rope_parameters", None) or {}), **vars(config)}
    return (
        not language_model.config.is_encoder_decoder
        and config._attn_implementation in ("sdpa", "eager")  # others take no mask of four dimensions
        and all(known.get(name) is None or length <= known[name] for name in HORIZONS)
    )
