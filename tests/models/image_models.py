"""Small image classifiers of transformers and torchvision, for the tests."""

from __future__ import annotations

import torch
from torchvision import models
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    BitImageProcessor,
    ConvNextImageProcessor,
    ViTImageProcessor,
)

CONFIGS = {
    "vit": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24},
    "resnet": {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"},
}
SIZES = {"vit": {"image_size": 16, "patch_size": 8}, "resnet": {}}
PROCESSORS = {
    "vit": lambda: ViTImageProcessor(size={"height": 16, "width": 16}),
    "resnet": lambda: ConvNextImageProcessor(size={"shortest_edge": 16}, image_mean=[0.2, 0.3, 0.4]),
    "cropped": lambda: BitImageProcessor(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}),
}


def small_classifier(kind, names, *, channels=3):
    """A random one of transformers, in eval mode, whose batch-norms have seen something."""
    config = AutoConfig.for_model(
        kind,
        **CONFIGS[kind],
        **SIZES[kind],
        num_channels=channels,
        initializer_range=0.3,
        id2label=dict(enumerate(names)),
        label2id={name: place for place, name in enumerate(names)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForImageClassification.from_config(config)
        for _ in range(3):
            model.train()(torch.randn(8, channels, 16, 16))
    return model.eval()


def save_classifier(directory, kind, names, *, processor="", channels=3):
    small_classifier(kind, names, channels=channels).save_pretrained(directory)
    if processor is not None:
        PROCESSORS[processor or kind]().save_pretrained(directory)
    return str(directory)


def small_torchvision(architecture, classes):
    """A random one of torchvision, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.get_model(architecture, weights=None, num_classes=classes).eval()
