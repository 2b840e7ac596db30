"""Convolutions of images: ``W_i`` times the unfolded input, since one whose weights differ per sample is slow."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.per_sample.layers.layer import (
    Forward,
    LayerRule,
    Parameters,
    Site,
    Stack,
    computes_like,
    register,
    tensors,
)

Sides = tuple[int, int]
"""Of height and width."""


def convolution(site: Site, parameters: Parameters, stack: Stack) -> Forward:
    """The forward with each stimulus's weight, its bias, or both."""
    module, copies, count = site.module, tensors(parameters), stack.count
    weight, bias = copies.get("weight"), copies.get("bias")

    def forward(input: Tensor) -> Tensor:
        x, call = input, stack.next_call(input)
        if x.ndim != 4 or (call is not None and call.input_axes[0] != 0):
            raise Disagreement(f"a convolution is given {tuple(x.shape)} for {count} stimuli, not a row for each")
        if weight is None:
            y = F.conv2d(x, module.weight, None, module.stride, module.padding, module.dilation)
            biases = copies["bias"]  # or it would not be a site
            return (y.reshape(count, -1, *y.shape[1:]) + biases[:, None, :, None, None]).flatten(0, 1)
        patches = Patches.apply(x, module.kernel_size, module.dilation, module.padding, module.stride)
        rows = patches.reshape(count, -1, patches.shape[-1])
        matrix = weight.permute(0, 3, 4, 2, 1).flatten(1, 3)
        added = module.bias if bias is None else bias[:, None]
        y = torch.bmm(rows, matrix) if added is None else torch.baddbmm(added, rows, matrix)
        y = y.view(*patches.shape[:3], -1).permute(0, 3, 1, 2)
        return y if site.channels_last else y.contiguous()

    return forward


class Patches(torch.autograd.Function):
    """``torch.nn.functional.unfold`` with the channels last, by strided copies: on a CPU in a fraction of its time."""

    @staticmethod
    def forward(x: Tensor, kernel: Sides, dilation: Sides, padding: Sides, stride: Sides) -> Tensor:
        """(n, channels, height, width) to (n, places down, places across, kernel * channels)."""
        padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        padded = padded.contiguous(memory_format=torch.channels_last)
        n, channels, *sides = padded.shape
        places = [(size - d * (k - 1) - 1) // s + 1 for size, k, d, s in zip(sides, kernel, dilation, stride)]
        batch, channel, down, across = padded.stride()
        steps = (down * stride[0], across * stride[1], down * dilation[0], across * dilation[1])
        return padded.as_strided((n, *places, *kernel, channels), (batch, *steps, channel)).flatten(3)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save the shapes alone."""
        x, *ctx.options = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients at the patches, added up where they overlap."""
        (n, channels, height, width), (kernel, dilation, padding, stride) = ctx.shape, ctx.options
        parts = gradient.unflatten(3, (*kernel, channels))
        padded = gradient.new_zeros(n, height + 2 * padding[0], width + 2 * padding[1], channels)
        for i, j in product(*map(range, kernel)):
            down = slice(i * dilation[0], i * dilation[0] + stride[0] * (parts.shape[1] - 1) + 1, stride[0])
            across = slice(j * dilation[1], j * dilation[1] + stride[1] * (parts.shape[2] - 1) + 1, stride[1])
            padded[:, down, across] += parts[:, :, :, i, j]
        inside = padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
        return inside.permute(0, 3, 1, 2), None, None, None, None


def is_plain(module: nn.Module) -> bool:
    """Whether a module is an ungrouped convolution with padding of zeros."""
    if not (isinstance(module, nn.Conv2d) and computes_like(module, nn.Conv2d)):
        return False
    plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return plain and not module.weight.is_complex()


register(LayerRule(is_plain, convolution))
