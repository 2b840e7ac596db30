"""Teaching a language model a domain's background, and asking whether it knows it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from eif_lab.data.task import Background, Texts
from eif_lab.models.base import Loss, Training
from eif_lab.models.language.encoding import spell_out
from eif_lab.readouts.readout import IGNORED

Encode = Callable[[Texts], tuple[Tensor, Tensor]]

ROWS_AT_ONCE = 256


def log_probabilities(logits: Float[Tensor, "n T vocabulary"], targets: Int[Tensor, "n T"]) -> Float[Tensor, " n"]:
    """Log-probabilities of whole targets, in nats: the sum over the scored positions.

    Args:
        logits: At every position.
        targets: `IGNORED` where not scored.
    """
    return -F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none").sum(1)


@torch.no_grad()
def background_accuracy(module: nn.Module, encode: Encode, background: Background) -> dict[int, float]:
    """Per world, the share of questions whose answer is likelier than each other candidate.

    Args:
        module: Token ids to logits.
        encode: Texts to (inputs, targets).
        background: Its questions; the likeliest candidate is the answer given.
    """
    questions = background.questions
    answers, rows = spell_out(questions)
    inputs, targets = encode(answers)
    device = next(module.parameters()).device
    scores = torch.cat(
        [
            log_probabilities(module(some.to(device)).float(), wanted.to(device)).cpu()
            for some, wanted in zip(inputs.split(ROWS_AT_ONCE), targets.split(ROWS_AT_ONCE))
        ]
    )
    right = np.array([bool((own[0] > own[1:]).all()) for own in scores.split(np.bincount(rows).tolist())])
    worlds = np.asarray(questions.coords["world"])
    return {int(world): float(right[worlds == world].mean()) for world in np.unique(worlds)}


def teach(
    module: nn.Module,
    encode: Encode,
    loss: Loss,
    background: Background,
    options: Training,
    *,
    rounds: int,
    enough: float,
    seed: int,
    directory: Path,
    device: str,
) -> dict[str, Any]:
    """Teach ``module`` the background, in place, until every world is learnt or the rounds are over.

    Args:
        module: Token ids to logits.
        encode: Texts to (inputs, targets).
        loss: (logits, targets) to a mean loss.
        background: The facts taught, and the questions that tell whether they are known.
        options: One round's training.
        rounds: At most so many.
        enough: The accuracy from which a world counts as learnt.
        seed: Of the order in which the facts come.
        directory: Where interrupted training goes on from.
        device: As torch names it.

    Returns:
        The report: `background_accuracy`, `background_accuracy_by_world`, `worlds_not_learnt`, `teaching_loss`.
    """
    from eif_lab.models.training import train, unseen  # brings Lightning, which a cached model does without

    facts = TensorDataset(*encode(background.facts))
    accuracy: dict[int, float] = {}
    final = float("nan")
    with torch.random.fork_rng(devices=[]):
        for done in range(rounds):
            batches = DataLoader(
                facts,
                batch_size=options.batch_size,
                shuffle=True,
                generator=torch.Generator().manual_seed(seed * rounds + done),
            )
            title = "teaching the background" + (f", round {done + 1}" if done else "")
            place = directory / f"round_{done}"
            final = train(module, loss, unseen(batches), options, directory=place, title=title, device=device)
            shutil.rmtree(place, ignore_errors=True)
            module.to(device)
            accuracy = background_accuracy(module, encode, background)
            if min(accuracy.values()) >= enough:
                break
    return {
        "teaching_loss": final,
        "background_accuracy": float(np.mean(list(accuracy.values()))),
        "background_accuracy_by_world": {str(world): value for world, value in accuracy.items()},
        "worlds_not_learnt": [world for world, value in accuracy.items() if value < enough],
    }
