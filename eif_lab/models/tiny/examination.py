"""The examination of phi3-tiny on whole worlds in words that training never showed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from eif_lab.data.task import Background, Texts
from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.models.language.encoding import Encoder
from eif_lab.models.language.teaching import background_accuracy
from eif_lab.models.tiny.documents import examination


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


def examine(module: torch.nn.Module, encode: Encoder, domain: type[Domain], *, worlds: int, seed: int) -> Mark:
    """Ask a model about worlds that stand in its context; the likeliest candidate is its answer.

    Args:
        module: Token ids to logits.
        encode: Texts to (inputs, targets).
        domain: Of the worlds.
        worlds: How many.
        seed: What they are drawn with.
    """
    random = np.random.default_rng([seed, DOMAINS.index(domain)])
    examples = [question for _ in range(worlds) for question in examination(domain, random)]
    shares, chance = {}, {}
    for kind in ("stated", "follows"):
        rows = [one for one in examples if one[0] == kind]
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
