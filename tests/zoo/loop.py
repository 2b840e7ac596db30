"""The loop that anybody would write: copy the model, train the copy on one stimulus, read every probe, subtract."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.data import Dataset, default_collate

from eif_lab.methods import named_method


def influence_by_hand(
    model: nn.Module,
    loss: Any,
    stimuli: Any,
    probes: Any,
    *,
    readout: Any = "log_prob",
    method: Any = "full",
    update: Mapping[str, Any] | None = None,
    perturbation: str = "include",
    trajectory: bool = False,
    seed: int = 0,
    candidates: Any = None,
    rows: slice | None = None,
    classes_at: int = -1,
) -> np.ndarray:
    """(stimuli, [steps,] probes[, readouts])."""
    (x, y), (probe_x, probe_y) = pair(stimuli), pair(probes)
    recipe = {"optimizer": "sgd", "learning_rate": 0.01, "steps": 1, **(update or {})}
    readouts = [readout] if isinstance(readout, str) or callable(readout) else list(readout)
    base = copied(model)
    if method == "full":
        for parameter in base.parameters():
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    elif method is not None:
        base = named_method(method).apply(base, seed)
    base.eval()

    @torch.no_grad()
    def read(net: nn.Module) -> Tensor:
        output = call(net, probe_x)
        if candidates is not None:
            return torch.stack([among(name, output, probe_y, candidates) for name in readouts], -1)
        return torch.stack([reading(name, output.clone(), probe_y.clone(), classes_at) for name in readouts], -1)

    def tuned(batch: list[int]) -> Tensor:
        net = copied(base)
        trained = [p for p in net.parameters() if p.requires_grad]
        optimizer = make_optimizer(trained, recipe)
        readings = []
        for step in range(1, recipe["steps"] + 1):
            optimizer.zero_grad(set_to_none=True)
            loss(call(net, take(x, batch)), y[batch].clone()).backward()
            if recipe.get("gradient_clip") is not None:
                torch.nn.utils.clip_grad_norm_(trained, recipe["gradient_clip"])
            optimizer.step()
            if trajectory or step == recipe["steps"]:
                readings.append(read(net))
        return torch.stack(readings)

    everyone = list(range(len(y)))
    asked = everyone[rows or slice(None)]
    if perturbation == "exclude":
        with_all = tuned(everyone)
        moved = [with_all - tuned([j for j in everyone if j != i]) for i in asked]
    else:
        before = read(copied(base))
        moved = [tuned([i]) - before for i in asked]
    influence = torch.stack(moved)
    # a rank that falls is a target that became likelier
    influence = influence * influence.new_tensor([-1 if name == "rank" else 1 for name in readouts])
    if isinstance(readout, str) or callable(readout):
        influence = influence[..., 0]
    if not trajectory:
        influence = influence[:, 0]
    return influence.numpy()


def pair(data: Any) -> tuple[Any, Tensor]:
    """Inputs and targets as tensors, of a pair or a data set of pairs."""
    if isinstance(data, Dataset):
        data = default_collate([data[i] for i in range(len(data))])
    return tuple(pytree.tree_map_only(np.ndarray, torch.as_tensor, list(data)))


def copied(model: nn.Module) -> nn.Module:
    """A deep copy; also of a module that holds what a forward computed, which torch refuses to copy.

    A scripted module's parameters are copied as if that were a part of what is differentiated.
    """
    memo = {}
    for module in model.modules():
        for leaf in pytree.tree_leaves(vars(module)):
            if isinstance(leaf, Tensor) and not leaf.is_leaf:
                memo[id(leaf)] = leaf.detach().clone()
    with torch.no_grad():
        own = copy.deepcopy(model, memo)
    for parameter, before in zip(own.parameters(), model.parameters(), strict=True):
        parameter.requires_grad_(before.requires_grad)
    return own


def take(inputs: Any, batch: list[int]) -> Any:
    """Rows of one tensor, or of each in a tuple or a dict."""
    return pytree.tree_map_only(Tensor, lambda t: t[batch], inputs)


def call(net: nn.Module, inputs: Any) -> Any:
    """The output; of inputs that are the model's own to change."""
    own = pytree.tree_map_only(Tensor, torch.clone, inputs)
    if isinstance(own, dict):
        return net(**own)
    return net(*own) if isinstance(own, tuple | list) else net(own)


def make_optimizer(trained: list[Tensor], recipe: Mapping[str, Any]) -> torch.optim.Optimizer:
    rate, decay = recipe["learning_rate"], recipe.get("weight_decay", 0.0)
    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(trained, lr=rate, momentum=recipe.get("momentum", 0.0), weight_decay=decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe["optimizer"]]
    return kind(trained, lr=rate, weight_decay=decay)


def reading(readout: Any, output: Tensor, target: Tensor, classes_at: int) -> Tensor:
    """(probes,), of what was asked for by name, or of a function."""
    if callable(readout):
        return readout(output, target)
    output = output if output.dtype == torch.float64 else output.float()
    logits = output.movedim(classes_at, -1).reshape(len(target), -1, output.shape[classes_at])
    target = target.reshape(len(target), -1)
    scored = target != -100
    index = target.clamp(min=0).unsqueeze(-1)
    log_prob = (torch.log_softmax(logits, -1).gather(-1, index)[..., 0] * scored).sum(1)
    likelier = ((logits > logits.gather(-1, index)).sum(-1) * scored).amax(1).to(log_prob.dtype)
    likelier[~logits.isfinite().all(-1).all(-1)] = torch.nan
    return {
        "log_prob": log_prob,
        "prob": log_prob.exp(),
        "log_odds": log_prob - torch.log(-torch.expm1(log_prob)),
        "rank": likelier,
        "correct": torch.where(likelier.isnan(), likelier, (likelier == 0).to(log_prob.dtype)),
    }[readout]


def among(readout: str, output: Tensor, target: Tensor, candidates: Tensor) -> Tensor:
    """(probes,), the target against the probe's other candidate answers; a probe's first row is its target."""
    log_prob = reading("log_prob", output, target, -1)
    plain = reading(readout, output, target, -1)
    scored = (target.reshape(len(target), -1) != -100).sum(1)
    found = []
    for probe in range(int(candidates.max()) + 1):
        rows = (candidates == probe).nonzero()[:, 0]
        if readout in ("log_prob", "prob") or len(rows) == 1:
            found.append(plain[rows[0]])
            continue
        differ = len(set(scored[rows].tolist())) > 1
        own, *others = log_prob[rows] / (scored[rows] if differ else 1)
        others = torch.stack(others)
        likelier = (others > own).sum().to(own.dtype)
        odds = own - others.logsumexp(0)
        found.append({"log_odds": odds, "rank": likelier, "correct": (likelier == 0).to(own.dtype)}[readout])
    return torch.stack(found)
