"""Any image classifier of transformers or torchvision, as it was trained elsewhere."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from eif_lab.data.task import Images, Samples, Task
from eif_lab.errors import ConfigError, fits_a_line, reason_of, rule_error, short_of_memory
from eif_lab.files.fingerprint import fingerprint
from eif_lab.files.hub import commit_at_hand
from eif_lab.models.base import BaseModel, Model, Sketch
from eif_lab.models.hub import (
    FIELD,
    Family,
    check_directory,
    config_of,
    files_read,
    load_model,
    load_shape,
    opened,
    weights_at_hand,
)
from eif_lab.models.images import torchvision_nets as nets
from eif_lab.models.images.preparation import OfTorchvision, OfTransformers, Own, Preparation, as_it_is
from eif_lab.options import option

CLASSIFIER = Family(
    "an image classifier",
    "AutoModelForImageClassification",
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "Try google/vit-base-patch16-224.",
)

UNNAMED = re.compile(r"LABEL_\d+")
"""How transformers calls classes that were given no name."""

READ_AT_ONCE = 100
"""Images whose accuracy is read in one pass."""


class Classifier(nn.Module):
    """A classifier called on prepared images alone, giving logits alone.

    Attributes:
        network: Of transformers or torchvision.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        output = self.network(pixels)
        return output if isinstance(output, Tensor) else output.logits

    @property
    def channels(self) -> int:
        """The channels that its first convolution reads."""
        return next((one.in_channels for one in self.modules() if isinstance(one, nn.Conv2d)), 3)


@dataclass(frozen=True)
class Loaded:
    """A network with all that is known of it.

    Attributes:
        module: In eval mode.
        own: Its processor.
        classes: The names of its outputs in their order; where they have none, their number.
    """

    module: Classifier
    own: Own
    classes: Sequence[str] | int


@dataclass
class ImageClassifier(Model):
    """A classifier of transformers (``checkpoint``) or of torchvision (``architecture``).

    A dataset's classes are found among the model's outputs by their names; where the outputs have none, they are the
    dataset's classes in their order.

    Attributes:
        checkpoint: A directory in the hub's format or a name on the hub; with ``architecture`` a file of weights, None
            for those that torchvision publishes.
        architecture: Torchvision's name of the network.
        classes: The names of the outputs in their order; None for the model's own.
        size: Height and width that images are resized to; None for what the model's own processor does.
        mean, std: Of each channel, with which images are normalised; None for those of the model's own processor.
    """

    kind: ClassVar[str] = Images.kind

    checkpoint: str | None = option(None)
    architecture: str | None = option(None)
    classes: list[str] | None = option(None)
    size: list[int] | None = option(None, at_least=1, hint="Try [224,224].")
    mean: list[float] | None = option(None)
    std: list[float] | None = option(None, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None and len(self.size) != 2:
            raise rule_error("model.size", "be a height and a width", self.size, "Try [224,224].")
        if (self.mean is None) is not (self.std is None):
            given = self.mean if self.std is None else self.std
            raise rule_error("model.mean", "be given with model.std", given, "Try model.mean=[0.5] model.std=[0.5].")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise rule_error("model.classes", "be names that differ", self.classes)

    @property
    def name(self) -> str:
        """The last part of the checkpoint's name, torchvision's name of the network, or both."""
        checkpoint = None if self.checkpoint is None else Path(self.checkpoint).name
        if self.architecture is None:
            return checkpoint or "image_classifier"
        return self.architecture if checkpoint is None else f"{Path(checkpoint).stem} ({self.architecture})"

    def identity(self) -> Any:
        """The contents of its files, the commit of the hub's copy here, or the name of the published weights."""
        if self.architecture is not None:
            if self.checkpoint is not None:
                return fingerprint([Path(self.checkpoint).expanduser()])
            nets.must_be_known(self.architecture)
            return str(nets.published(self.architecture).url)
        source = self._source()
        return fingerprint(files_read(source)) if check_directory(source) else commit_at_hand(source)

    def prepare(self, task: Task, cache: Path, seed: int, device: str) -> BaseModel:
        """The network as it is; nothing is trained.

        Args:
            task: Images.
            cache: Nothing is kept there.
            seed: Nothing is drawn from it.
            device: As torch names it.

        Raises:
            ConfigError: It cannot be had, is no classifier, takes no images of this size, or has no outputs for the
                task's classes.
        """
        loaded = self._load(task, outlined=False)
        base = self._base(loaded, task)
        loaded.module.to(device)
        inputs, targets = base.encode(task.probes)
        try:
            read = {"accuracy_on_probes": accuracy(loaded.module, inputs, targets, device)}
        except (AssertionError, RuntimeError, ValueError) as error:  # what networks raise for a size
            if short_of_memory(error):
                raise
            rule = f"be one that {self.name} takes ({reason_of(error)})"
            raise rule_error("model.size", rule, self.size, "Try [224,224].") from error
        return replace(base, report=base.report | read)

    def sketch(self, task: Task, cache: Path, seed: int, device: str) -> Sketch:
        """The network, which takes no training; without numbers on ``meta``, and where its weights are elsewhere."""
        outlined = device == "meta" or not self._at_hand()
        loaded = self._load(task, outlined)
        if not outlined:
            loaded.module.to(device)
        return Sketch(self._base(loaded, task))

    def _source(self) -> str:
        """The directory, or the name on the hub.

        Raises:
            ConfigError: None is named, or a file.
        """
        rule = f"be a directory or a name on the hub, or {nets.ARCHITECTURE} be given"
        if self.checkpoint is None:
            hint = "Try model.checkpoint=google/vit-base-patch16-224, or model.architecture=resnet18."
            raise rule_error(FIELD, rule, None, hint)
        if Path(self.checkpoint).expanduser().is_file():
            raise rule_error(FIELD, rule, self.checkpoint, "For a file try model.architecture=resnet18.")
        return self.checkpoint

    def _at_hand(self) -> bool:
        """Whether the weights are on this machine."""
        if self.architecture is None:
            return weights_at_hand(self._source())
        nets.must_be_known(self.architecture)
        return self.checkpoint is not None or nets.is_at_hand(self.architecture)

    def _base(self, loaded: Loaded, task: Task) -> BaseModel:
        module = loaded.module
        prepared = Preparation(module.channels, loaded.own, self.size, self.mean, self.std)
        images, _ = task.images
        encode = partial(encoded, prepared, outputs_of(images.classes, loaded.classes, self.name))
        parameters = sum(one.numel() for one in module.parameters())
        report = {"architecture": self.architecture or type(module.network).__name__, "parameters": parameters}
        return BaseModel(module, self.name, encode, F.cross_entropy, partial(features, module), report)

    def _load(self, task: Task, outlined: bool) -> Loaded:
        """The network.

        Args:
            task: Whose classes it has where nothing else says which.
            outlined: Whether it is on the meta device, its weights shapes without numbers.
        """
        if self.architecture is None:
            return self._of_transformers(outlined)
        nets.must_be_known(self.architecture)
        if self.checkpoint is not None:
            images, _ = task.images
            count = len(self.classes or images.classes)
            net = nets.net_from_file(self.architecture, self.checkpoint, count)
            return Loaded(Classifier(net.to("meta") if outlined else net), as_it_is, self.classes or count)
        names = self._named(nets.classes_of(self.architecture))
        if outlined:
            with torch.device("meta"):
                net = nets.net_of(self.architecture, len(names))
        else:
            net = nets.published_net(self.architecture)
        return Loaded(Classifier(net), OfTorchvision(nets.published(self.architecture).transforms()), names)

    def _of_transformers(self, outlined: bool) -> Loaded:
        """A checkpoint in the hub's format."""
        with opened(self._source()) as (place, options):
            config = config_of(place, CLASSIFIER, options)
            own = self._processor(place, options)
            if outlined:
                network = load_shape(CLASSIFIER, config, dtype="float32")
            else:
                network = load_model(place, CLASSIFIER, config, options, dtype="float32")
        names = [str(name) for _, name in sorted((config.id2label or {}).items())]
        unnamed = self.classes is None and all(map(UNNAMED.fullmatch, names))
        return Loaded(Classifier(network), own, len(names) if unnamed else self._named(names))

    def _processor(self, place: str, options: dict[str, Any]) -> Own:
        """The checkpoint's processor; it needs none where the options say all that it would.

        Raises:
            ConfigError: There is none.
        """
        from transformers import AutoImageProcessor

        try:
            return OfTransformers(AutoImageProcessor.from_pretrained(place, **options))
        except (OSError, ValueError) as error:
            if self.size is not None and self.mean is not None:
                return as_it_is
            rule = "hold a preprocessor_config.json, or model.size, model.mean and model.std be given"
            raise rule_error(FIELD, rule, place) from error

    def _named(self, own: Sequence[str]) -> Sequence[str]:
        """The names of the outputs: those that are given, else the model's own.

        Raises:
            ConfigError: There are as many outputs as are not given.
        """
        if self.classes is None:
            return own
        if len(self.classes) != len(own):
            rule = f"name each of the {len(own)} outputs of {self.name}"
            raise rule_error("model.classes", rule, f"{len(self.classes)} names")
        return self.classes


def outputs_of(classes: Sequence[str], own: Sequence[str] | int, name: str) -> Int[Tensor, " classes"]:
    """For each class of a dataset the output of a model that is it.

    Args:
        classes: The dataset's.
        own: The names of the model's outputs, upper and lower case alike; or their number, where they have none.
        name: What errors call the model.

    Raises:
        ConfigError: There is none, or there are another number of them.
    """
    if isinstance(own, int):
        if own != len(classes):
            rule = f"hold as many classes as {name} has outputs, {own}, since these have no names"
            hint = "Give their names in their order, model.classes=[...]."
            raise rule_error("dataset", rule, len(classes), hint)
        return torch.arange(own)
    places = {one.casefold(): place for place, one in reversed(list(enumerate(own)))}
    for one in classes:
        if one.casefold() not in places:
            near = difflib.get_close_matches(one.casefold(), places, n=1) or list(places)
            some = ", ".join([known for known in own if fits_a_line(known)][:5])
            more = f" and {len(own) - 5} more" if len(own) > 5 else ""
            hint = f"Did you mean {near[0]}? Or say which output is which, model.classes=[...]."
            raise rule_error("dataset", f"hold classes that {name} knows ({some}{more})", one, hint)
    return torch.tensor([places[one.casefold()] for one in classes])


def encoded(prepared: Preparation, outputs: Int[Tensor, " classes"], samples: Samples) -> tuple[Tensor, Tensor]:
    """Images as the network reads them, and their outputs.

    Args:
        prepared: What is done to their pixels.
        outputs: For each class of the dataset.
        samples: Images.
    """
    if not isinstance(samples, Images):
        raise ConfigError(f"dataset must hold images, got {type(samples).__name__}.")
    return prepared(samples.pixels).contiguous(), outputs[samples.labels]


def features(module: Classifier, pixels: Tensor) -> Float[Tensor, "n d"]:
    """What the network's head reads: the input of its last linear layer; without one, its logits.

    Args:
        module: The network.
        pixels: As it reads them.
    """
    heads = [one for one in module.modules() if isinstance(one, nn.Linear)]
    if not heads:
        return module(pixels)
    seen: list[Tensor] = []
    handle = heads[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        logits = module(pixels)
    finally:
        handle.remove()
    return seen[-1].flatten(1) if seen else logits


@torch.no_grad()
def accuracy(module: nn.Module, inputs: Tensor, targets: Tensor, device: str) -> float:
    """The share of images whose own output is the largest."""
    hits = [
        module(some.to(device)).argmax(1).cpu() == right
        for some, right in zip(inputs.split(READ_AT_ONCE), targets.split(READ_AT_ONCE))
    ]
    return torch.cat(hits).float().mean().item()
