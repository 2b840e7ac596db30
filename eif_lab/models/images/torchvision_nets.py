"""Torchvision's classifiers by name, with weights of one's own or those that torchvision publishes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from eif_lab.errors import reason_of, rule_error

ARCHITECTURE, FIELD = "model.architecture", "model.checkpoint"
WRAPPERS = ("state_dict", "model")
"""Names under which training scripts keep the weights in a file of all that they save."""


def must_be_known(architecture: str) -> None:
    """Refuse a name that is none of torchvision's classifiers.

    Raises:
        ConfigError: With the nearest one.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Try resnet18."
        raise rule_error(ARCHITECTURE, "be the name of a classifier of torchvision", architecture, hint)


def net_of(architecture: str, classes: int) -> nn.Module:
    """A network with random weights, in eval mode.

    Args:
        architecture: Torchvision's name of it.
        classes: Outputs.
    """
    from torchvision import models

    with torch.random.fork_rng(devices=[]):
        return models.get_model(architecture, weights=None, num_classes=classes).eval()


def net_from_file(architecture: str, file: str, classes: int) -> nn.Module:
    """A network with the weights of a file, in eval mode.

    Args:
        architecture: Torchvision's name of it.
        file: Of ``torch.save(net.state_dict(), file)``, read as tensors alone, or in safetensors' format.
        classes: Outputs.

    Raises:
        ConfigError: The file is not there, cannot be read, or holds other weights.
    """
    net = net_of(architecture, classes)
    weights = read_weights(file)
    rule = f"hold the weights of {architecture} for {classes} classes"
    for name, own in net.state_dict().items():
        given = weights.get(name)
        if given is None:
            raise rule_error(FIELD, f"{rule}, {name} is missing", file)
        if given.shape != own.shape:
            received = f"{tuple(given.shape)} and not {tuple(own.shape)}"
            hint = "Try model.classes, the names of its outputs in their order."
            raise rule_error(FIELD, f"{rule}, {name} is {received}", file, hint)
        if not given.isfinite().all():
            raise rule_error(FIELD, f"hold finite numbers, {name} has NaN or infinity", file)
    if unknown := sorted(set(weights) - set(net.state_dict())):
        raise rule_error(FIELD, f"{rule}, it has no {unknown[0]}", file)
    net.load_state_dict(weights)
    return net


def read_weights(file: str) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        ConfigError: It is not there, or holds no tensors by name.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        hint = "Leave it out for torchvision's published weights."
        raise rule_error(FIELD, f"be a file of weights with {ARCHITECTURE}", file, hint)
    try:
        safe = path.suffix == ".safetensors"
        content: Any = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind, since the file can be anything
        reason = reason_of(error).split(". ")[0][:200]
        hint = "Write it with torch.save(net.state_dict(), FILE)."
        raise rule_error(FIELD, f"be a file of tensors alone ({reason})", file, hint) from None
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(isinstance(one, Tensor) for one in content.values()):
        raise rule_error(FIELD, "hold tensors by name, as state_dict() gives them", file)
    return {str(name): tensor for name, tensor in content.items()}


def published(architecture: str) -> Any:
    """The best weights that torchvision publishes: their classes, their processor, and where they are.

    Raises:
        ConfigError: There are none.
    """
    from torchvision import models

    best = getattr(models.get_model_weights(architecture), "DEFAULT", None)
    if best is None:
        rule = "be a file: torchvision publishes no weights of this architecture"
        raise rule_error(FIELD, rule, None, f"{ARCHITECTURE} is {architecture}.")
    return best


def published_net(architecture: str) -> nn.Module:
    """A network with the weights that torchvision publishes, downloaded where they are not on this machine.

    Raises:
        ConfigError: They cannot be had.
    """
    from torchvision import models

    weights = published(architecture)
    try:
        return models.get_model(architecture, weights=weights, progress=False).eval()
    except (OSError, RuntimeError) as error:  # no network, or another file than the hash in its name
        rule = f"be a file where {weights.url} cannot be had ({reason_of(error)})"
        raise rule_error(FIELD, rule, None, "Give a file of weights.") from error


def is_at_hand(architecture: str) -> bool:
    """Whether the weights that torchvision publishes are on this machine."""
    return (Path(torch.hub.get_dir()) / "checkpoints" / Path(published(architecture).url).name).is_file()


def classes_of(architecture: str) -> Sequence[str]:
    """The classes of the weights that torchvision publishes, in the order of their outputs."""
    return published(architecture).meta["categories"]
