"""Teaching a language model a domain's background, and asking whether it knows it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from eif_lab.data.task import Background, Texts
from eif_lab.models.base import Loss, Training
from eif_lab.models.language.encoding import spell_out
from eif_lab.models.reading import read_log_probs
from eif_lab.readouts.among import correct_among
from eif_lab.readouts.candidates import Candidates

Encode = Callable[[Texts], tuple[Tensor, Tensor]]


def background_accuracy(module: nn.Module, encode: Encode, background: Background) -> dict[int, float]:
    """Per world, the share of questions that the model answers rightly, as the readout ``correct`` says.

    Args:
        module: Token ids to logits.
        encode: Texts to (inputs, targets).
        background: Its questions, with candidates.
    """
    questions = background.questions
    answers, rows = spell_out(questions)
    inputs, targets = encode(answers)
    device = next(module.parameters()).device
    candidates = Candidates.of(rows, targets)
    log_probs = read_log_probs(module, inputs, targets, device).cpu()
    right = (correct_among(candidates.scores(log_probs), candidates.others) == 1).numpy()
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
    from eif_lab.models.training import remaining_batches, train  # brings Lightning, which a cached model does without

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
            final = train(
                module, loss, remaining_batches(batches), options, directory=place, title=title, device=device
            )
            shutil.rmtree(place, ignore_errors=True)
            module.to(device)
            accuracy = background_accuracy(module, encode, background)
            if min(accuracy.values()) >= enough:
                break
    return {"teaching_loss": final, **background_report(accuracy, enough)}


def examined(module: nn.Module, encode: Encode, background: Background, enough: float) -> dict[str, Any]:
    """What a model knows of a background that it is not taught.

    Args:
        module: Token ids to logits.
        encode: Texts to (inputs, targets).
        background: The questions that tell what is known.
        enough: The accuracy from which a world counts as known.

    Returns:
        As `teach`, without a loss.
    """
    return background_report(background_accuracy(module, encode, background), enough)


def background_report(accuracy: Mapping[int, float], enough: float) -> dict[str, Any]:
    """What a manifest says of the background that a model knows.

    Args:
        accuracy: By world.
        enough: From which a world is not left out.
    """
    return {
        "background_accuracy": float(np.mean(list(accuracy.values()))),
        "background_accuracy_by_world": {str(world): value for world, value in accuracy.items()},
        "worlds_not_learnt": [world for world, value in accuracy.items() if value < enough],
    }
