"""Distances between what stimuli and probes say: edges in a world's graph of words, and words in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from eif_lab.data.task import Task, Texts
from eif_lab.data.worlds.logic import Fact
from eif_lab.data.worlds.world import World


@dataclass(frozen=True)
class WordGraph:
    """Edges between any two words of a world; the last row and column are the world's root.

    Attributes:
        place: The row of each word.
        steps: How many edges lie between two words.
    """

    place: dict[str, int]
    steps: Float[np.ndarray, "nodes nodes"]

    def ends(self, fact: Fact) -> list[tuple[int, int]]:
        """The rows of a fact's subject and of each word of its object."""
        return [(self.place[fact.subject], self.place[word]) for word in fact.object.split()]


def word_graph(world: World) -> WordGraph:
    """The graph of a world: the facts of background and stimuli connect words, and ``tops`` hang below the root."""
    facts = [*world.background, *(fact for case in world.cases for fact in case.facts)]
    probed = (fact for case in world.cases for contrast in case.contrasts for fact in contrast.facts)
    words = [word for fact in (*facts, *probed) for word in (fact.subject, *fact.object.split())]
    place = {word: i for i, word in enumerate(dict.fromkeys((*world.tops, *words)))}
    edges = [(place[fact.subject], place[fact.object]) for fact in facts]
    edges += [(place[top], len(place)) for top in world.tops]
    ends = tuple(np.array(edges).T)
    graph = coo_array((np.ones(len(edges)), ends), shape=(len(place) + 1,) * 2)
    steps = shortest_path(graph, directed=False, unweighted=True)
    unconnected = ~np.isfinite(steps[-1])  # such words hang below the root as well
    steps[unconnected, -1] = steps[-1, unconnected] = 1
    through_root = steps[:, -1][:, None] + steps[-1][None, :]
    return WordGraph(place, np.where(np.isfinite(steps), steps, through_root))


Statement = tuple[int, Sequence[Fact]]
"""The number of a world, and facts about it."""


def path_lengths(
    worlds: Sequence[World], stimuli: Sequence[Statement], probes: Sequence[Statement]
) -> Float[np.ndarray, "stimuli probes"]:
    """Edges to walk from stimulus to probe, subject to subject and object to object.

    Of a probe of several facts, or of an object of several words, the farthest counts, and of a stimulus the nearest to
    it: what combines two things that are stated is at 0, what exchanges one of them is not. The worlds hang below one
    root, so that every distance is finite; it is 0 between a statement and itself, and blind to negation and to the
    relation.
    """
    graphs = [word_graph(world) for world in worlds]

    def edges(w: int, one: int, v: int, other: int) -> float:
        first, second = graphs[w].steps, graphs[v].steps
        return first[one, other] if w == v else first[one, -1] + 2 + second[other, -1]

    starts, goals = (
        [(w, [end for fact in facts for end in graphs[w].ends(fact)]) for w, facts in statements]
        for statements in (stimuli, probes)
    )
    return np.array(
        [
            [max(min(edges(w, a, v, c) + edges(w, b, v, d) for a, b in ends) for c, d in others) for v, others in goals]
            for w, ends in starts
        ]
    )


def word_overlap(task: Task) -> float:
    """How much of an entailed probe its foils say as well: shared words over all words, averaged over pairs.

    Of the foils, that of the same subject and that of the same words count. The words of prompt and target are counted
    as often as they occur (a Jaccard index of multisets); 1 is the same words in another arrangement. NaN where no
    probe has a foil, and for images.
    """
    texts = task.probes
    if not isinstance(texts, Texts):
        return float("nan")
    words = [Counter(f"{prompt}{target}".split()) for prompt, target in zip(texts.prompts, texts.targets)]
    entailed = task.relation == "entailed"
    singles = [foils for name, foils in task.foils.items() if name != "neither"]
    pairs = [(words[j], words[foils[i, j]]) for foils in singles for i, j in np.argwhere(entailed & (foils >= 0))]
    shares = [sum((one & other).values()) / sum((one | other).values()) for one, other in pairs]
    return float(np.mean(shares)) if shares else float("nan")
