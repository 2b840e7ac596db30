"""How each kind of layer computes with each stimulus's own parameters: a file for each, and here a line that names it."""

from eif_lab.influence.per_sample.layers import convolution, embedding, linear
from eif_lab.influence.per_sample.layers.layer import LayerRule, register

__all__ = ["LayerRule", "convolution", "embedding", "linear", "register"]
