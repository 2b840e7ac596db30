"""How each kind of layer computes with each stimulus's parameters: a file for each kind, and here a line for it."""

from eif_lab.influence.per_sample.layers import convolution, embedding, linear
from eif_lab.influence.per_sample.layers.layer import LayerRule, register

__all__ = ["LayerRule", "convolution", "embedding", "linear", "register"]
