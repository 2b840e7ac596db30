"""Every kind of torch layer, and ways to put layers together."""

from __future__ import annotations

import types
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .case import Case, task
from .data import arrays, images, labels, normal, padded, sequences, vectors, words
from .trials import network

UPDATES = (
    {"learning_rate": 0.1},
    {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.05, "steps": 2},
    {"optimizer": "adam", "learning_rate": 0.01, "steps": 2},
    {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "steps": 2},
    {"learning_rate": 0.3, "gradient_clip": 0.2, "steps": 2},
)
EXCLUDE = {"perturbation": "exclude", "update": {"learning_rate": 0.3}}
THREE = {"update": {"learning_rate": 0.1, "steps": 3}}


def headed(*body: nn.Module) -> nn.Module:
    """The layers, flattened, and a linear head of three classes."""
    return nn.Sequential(*body, nn.Flatten(), nn.LazyLinear(3))


def activated(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), activation, nn.LazyLinear(3))


class Recurrent(nn.Module):
    """The last output of a recurrent layer."""

    def __init__(self, layer: nn.RNNBase, state: bool = False) -> None:
        super().__init__()
        self.layer, self.head, self.state = layer, nn.LazyLinear(3), state

    def forward(self, x: Tensor) -> Tensor:
        first = self.layer.batch_first
        out, state = self.layer(x if first else x.transpose(0, 1))
        if self.state:
            state = state[0] if isinstance(state, tuple) else state
            return self.head(state.transpose(0, 1).flatten(1))
        return self.head(out[:, -1] if first else out[-1])


class Cells(nn.Module):
    """A cell, step by step, from a learned first state."""

    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell, self.start, self.head = kind(4, 5), nn.Parameter(torch.randn(1, 5)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.start.expand(len(x), -1)
        state = (h, torch.zeros_like(h)) if isinstance(self.cell, nn.LSTMCell) else h
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class PackedWords(nn.Module):
    """A recurrent layer over packed sequences."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(11, 4, padding_idx=0), kind(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, ids: Tensor) -> Tensor:
        lengths = (ids != 0).sum(1)
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        return self.head(out.sum(1) / lengths[:, None])


class Encoder(nn.Module):
    """``nn.TransformerEncoder`` over words, with the padding masked."""

    def __init__(
        self, batch_first: bool, masked: bool = True, norm_first: bool = False, nested: bool = False, mean: bool = False
    ) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, norm_first=norm_first)
        self.embedding = nn.Embedding(11, 8, padding_idx=0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
        self.head, self.batch_first, self.masked, self.mean = nn.Linear(8, 3), batch_first, masked, mean

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        mask = ids == 0 if self.masked else None
        if not self.batch_first:
            return self.head(self.encoder(x.transpose(0, 1), src_key_padding_mask=mask).mean(0))
        x = self.encoder(x, src_key_padding_mask=mask)
        return self.head(x.mean(1) if self.mean else x[:, 0])


class Decoder(nn.Module):
    """A causal ``nn.TransformerDecoder`` that looks at a memory made from the same words."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=batch_first)
        self.embedding, self.memory, self.decoder = (
            nn.Embedding(11, 8),
            nn.Linear(8, 8),
            nn.TransformerDecoder(layer, 1),
        )
        self.head, self.batch_first = nn.Linear(8, 3), batch_first

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        x = x if self.batch_first else x.transpose(0, 1)
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1], dtype=x.dtype)
        x = self.decoder(x, self.memory(x), tgt_mask=mask, tgt_is_causal=True)
        return self.head(x[:, -1] if self.batch_first else x[-1])


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 8), nn.Linear(8, 3)
        self.transformer = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        self.start = nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.transformer(self.embedding(ids), self.start.expand(len(ids), -1, -1))[:, 0])


class Cross(nn.Module):
    """Attention from a few learned queries to keys and values of other widths."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=4, vdim=3, batch_first=True, **options)
        self.query, self.value, self.head = nn.Parameter(torch.randn(1, 2, 4)), nn.Linear(4, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        query = self.query.expand(len(x), -1, -1)
        out, weights = self.attention(query, x, self.value(x))
        return self.head((out * (1 + weights.sum(-1, keepdim=True))).flatten(1))


class ScaledDotProduct(nn.Module):
    """``F.scaled_dot_product_attention`` with heads split by hand, causal."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(4, 12, bias=False), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(x.transpose(1, 2).flatten(2).mean(1))


class Lists(nn.Module):
    """Parameters in lists and dicts, and modules in lists and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(6, 6) / 3) for _ in range(2)])
        self.named = nn.ParameterDict({"scale": torch.ones(6) * 1.2, "shift": torch.zeros(6)})
        self.modules_by_name = nn.ModuleDict({"a": nn.Linear(6, 6), "b": nn.Linear(6, 3)})

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = (x @ weight).tanh()
        x = x * self.named["scale"] + self.named["shift"]
        return self.modules_by_name["b"](self.modules_by_name["a"](x).relu())


class OneParameter(nn.Module):
    """0-d parameters beside a layer and a buffer that is used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale, self.shift = (
            nn.Linear(6, 3),
            nn.Parameter(torch.tensor(1.3)),
            nn.Parameter(torch.zeros(())),
        )
        self.register_buffer("offset", torch.randn(3))
        self.register_buffer("unsaved", torch.randn(6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x + self.unsaved) * self.scale + self.shift * self.offset + self.offset


class ParametersAlone(nn.Module):
    """No layer at all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(6, 5) / 2), nn.Parameter(torch.randn(3, 5) / 2)
        self.bias = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear((x @ self.first).tanh(), self.second, self.bias)


class Twice(nn.Module):
    """A layer held under two names and called under both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second, self.head = self.first, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).tanh()).tanh())


class SharedWeight(nn.Module):
    """Layers that share a weight and not a bias, one of them transposed; an autoencoder's tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(self.first(x).tanh()).tanh()
        return self.head(F.linear(h, self.first.weight.T))


class Siamese(nn.Module):
    """Two halves of the input through one encoder; a triplet would be three."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.head = nn.Sequential(nn.Linear(3, 5), nn.Tanh()), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.encode(x[:, :3]), self.encode(x[:, 3:])
        return self.head(torch.cat([(a - b).abs(), a * b], 1))


class Doubled(nn.Module):
    """Both halves as one batch of twice the rows: (2 n, d)."""

    def __init__(self, interleaved: bool) -> None:
        super().__init__()
        self.encode, self.head, self.interleaved = network(3, 5, 4), nn.Linear(8, 3), interleaved

    def forward(self, x: Tensor) -> Tensor:
        if self.interleaved:
            return self.head(self.encode(x.view(-1, 3)).view(len(x), -1))
        return self.head(torch.cat(self.encode(torch.cat(x.split(3, 1))).chunk(2), 1))


class Residual(nn.Module):
    """A residual block of convolutions with batch-norm, a strided shortcut, and changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm_a, self.norm_b, self.short = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Conv2d(1, 4, 1, stride=2)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm_b(self.b(self.relu(self.norm_a(self.a(x)))))
        out += self.short(x)
        return self.head(self.relu(out).mean((2, 3)))


class Mnist(nn.Module):
    """The classic net of many tutorials: ``view(-1, k)`` mixes up rows where k is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3)
        self.drop, self.fc1, self.fc2 = nn.Dropout2d(), nn.Linear(20, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.drop(self.conv2(x)), 2))
        x = x.view(-1, 20)
        x = F.dropout(F.relu(self.fc1(x)), training=self.training)
        return self.fc2(x)


class Inception(nn.Module):
    """Branches of several kernels, joined along channels, with squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 3, padding="same")
        self.deep = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.squeeze, self.excite, self.head = nn.Linear(4, 2), nn.Linear(2, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(
            torch.cat(
                [
                    self.one(x),
                    self.three(x),
                ][::-1],
                1,
            )
        ).relu()
        gate = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return self.head((x * gate[..., None, None]).amax((2, 3)))


class DepthChannels(nn.Module):
    """Normalises channels last, as ConvNeXt does, with a scale for each layer, and drops whole paths in training."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(1, 4, 2, stride=2), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm, self.up, self.down = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4)
        self.gamma, self.head = nn.Parameter(torch.full((4,), 0.5)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        return self.head((x + y.permute(0, 3, 1, 2)).mean((2, 3)))


class Patches(nn.Module):
    """A small vision transformer written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 8, 2, stride=2)
        self.token, self.place = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 10, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu")
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.block(x)[:, 0])


class Reshaped(nn.Module):
    """Rearranges as einops does."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(4, 4), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        x = x.reshape(n, 1, 3, 2, 3, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, 9, 4)
        return self.head(torch.einsum("npc,dc->npd", x, self.mix.weight).amax(-1))


class Rounded(torch.autograd.Function):
    """Rounds, and lets the gradient through."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.mul(4).round().div(4)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


class RoundedWithRule(torch.autograd.Function):
    """Rounding with a straight-through gradient, and a rule for vmap."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.mul(4).round().div(4)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        pass

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


class Reversed(torch.autograd.Function):
    """The gradient with its sign turned, as for domain adaptation."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return -0.5 * gradient


class LinearFunction(torch.autograd.Function):
    """A product whose weight gradient is written out by hand, and divided by the rows."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.T @ x / len(x)


class OwnFunction(nn.Module):
    def __init__(self, function, on: str = "activations") -> None:
        super().__init__()
        self.first, self.head, self.function, self.on = nn.Linear(6, 5), nn.Linear(5, 3), function, on

    def forward(self, x: Tensor) -> Tensor:
        if self.on == "weights":
            return self.head(F.linear(x, self.function.apply(self.first.weight), self.first.bias).tanh())
        if self.on == "product":
            return self.head(self.function.apply(x, self.first.weight).tanh())
        return self.head(self.function.apply(self.first(x)).tanh())


class Numbers(nn.Module):
    """Takes numbers out of tensors, or looks for unique ones, or sorts."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.first, self.head, self.way = nn.Linear(6, 5), nn.Linear(5, 3), way
        self.table = nn.Embedding(11, 5)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "unique ids":
            values, place = torch.unique(x, return_inverse=True)
            return self.head(self.table(values)[place].sum(1) / 2)
        h = self.first(x)
        if self.way == "item of the parameters":
            h = h * (1 + self.first.bias.sum().item())
        elif self.way == "item of the rows":
            h = torch.stack([row / (1 + row.norm().item()) for row in h])
        elif self.way == "numpy":
            h = h + torch.from_numpy(h.detach().numpy() ** 2)
        elif self.way == "tolist":
            h = h * h.new_tensor([[max(row)] for row in h.tolist()])
        elif self.way == "sort":
            h = h.sort(1).values
        elif self.way == "topk":
            h = torch.zeros_like(h).scatter(1, h.topk(2).indices, h.topk(2).values)
        elif self.way == "argmax":
            h = h + self.table(h.argmax(1))
        elif self.way == "assignment":
            h[:, 1] = h[:, 0] * 2
            h[h < 0] = 0.1
        elif self.way == "nonzero":
            rows, columns = (h > 0).nonzero(as_tuple=True)
            h = torch.zeros_like(h).index_put((rows, columns), h[rows, columns])
        elif self.way == "lists":
            h = torch.tensor([[float(v) for v in row] for row in h.detach()], dtype=h.dtype) + h
        elif self.way == "linalg":
            h = h @ torch.linalg.inv(torch.eye(5, dtype=h.dtype) * 3 + self.first.weight[:, :5])
        elif self.way == "segments":
            h = torch.zeros_like(h).scatter_add(0, torch.arange(len(h))[:, None].expand_as(h), h)
        return self.head(h.tanh() if self.way != "assignment" else h)


def hooked(way: str) -> nn.Module:
    """A net with the user's own hooks."""
    model = network()
    if way == "output replaced":
        model[0].register_forward_hook(lambda module, args, output: output * 2)
    elif way == "output looked at":
        model[0].register_forward_hook(lambda module, args, output: None)
    elif way == "output changed in place":
        model[0].register_forward_hook(lambda module, args, output: output.mul_(2).add_(0))
    elif way == "input replaced":
        model[2].register_forward_pre_hook(lambda module, args: (args[0] + 0.5,))
    elif way == "on the model":
        model.register_forward_hook(lambda module, args, output: output - output.mean(-1, keepdim=True) * 3 * output)
    elif way == "with keywords":
        model[0].register_forward_pre_hook(lambda module, args, kwargs: ((args[0] * 2,), kwargs), with_kwargs=True)
    elif way == "of the gradient":
        model[0].register_full_backward_hook(lambda module, into, out: (None if into[0] is None else into[0] * 2,))
        model[2].register_full_backward_hook(lambda module, into, out: (into[0] * 2,))
    return model


class BackwardHooked(nn.Module):
    """Changes the gradient of what is inside, by a hook on the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner[0](x)
        if h.requires_grad:
            h.register_hook(lambda gradient: gradient.clamp(-0.05, 0.05))
        return self.inner[2](h.tanh())


class Keywords(nn.Module):
    """Calls its layers by keyword, with options and with nested arguments."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 6) / 2)

        def forward(self, parts: dict[str, list[Tensor]], *, scale: float, mode: str = "tanh") -> dict[str, Tensor]:
            return {"out": getattr(torch, mode)(sum(parts["x"]) @ self.weight) * scale}

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = self.Inner(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner({"x": [x, x * 2]}, scale=1.5)["out"]
        return self.head(input=self.inner({"x": [h]}, scale=0.5, mode="sin")["out"])


class MoreThanOne(nn.Module):
    """A layer's other methods are called beside its forward."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def encode(self, x: Tensor) -> Tensor:
            return self.layer(x).tanh()

        def decode(self, h: Tensor) -> Tensor:
            return h @ self.layer.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.decode(self.encode(x))

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = self.Inner(), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.inner(x), self.inner.encode(x)], 1))


class Ensemble(nn.Module):
    """Members as one parameter with a dimension of their own: bmm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(4, 6, 5) / 2), nn.Parameter(torch.randn(4, 5, 3) / 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(torch.bmm(x.expand(4, -1, -1), self.first).tanh(), self.second).mean(0)


class Scanned(nn.Module):
    """A state space: a scan with complex-free diagonal dynamics."""

    def __init__(self) -> None:
        super().__init__()
        self.decay, self.into, self.out = nn.Parameter(torch.randn(5)), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 5)
        for step in self.into(x).unbind(1):
            h = h * self.decay.sigmoid() + step
        return self.out(h)


class Kernel(nn.Module):
    """Radial basis functions around learned centres."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.width, self.head = (
            nn.Parameter(torch.randn(5, 6)),
            nn.Parameter(torch.ones(5)),
            nn.Linear(5, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head((-torch.cdist(x, self.centres).square() * self.width.square() / 6).exp() * 3)


class PlainList(nn.Module):
    """Layers in a list of Python are used, and are no parameters of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = [nn.Linear(6, 6).double() for _ in range(2)], nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = layer(x).tanh()
        return self.head(x)


class BufferWithGradient(nn.Module):
    """A buffer that needs a gradient, and a plain tensor that does; neither is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.register_buffer("scale", torch.full((6,), 1.5, dtype=torch.float64, requires_grad=True))
        self.shift = torch.full((6,), 0.2, dtype=torch.float64, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x * self.scale + self.shift)


class OneStorage(nn.Module):
    """Parameters that are views of one flat tensor, and one that is transposed."""

    def __init__(self) -> None:
        super().__init__()
        flat = torch.randn(6 * 5 + 5, dtype=torch.float64) / 2
        self.weight, self.bias = nn.Parameter(flat[:30].view(6, 5)), nn.Parameter(flat[30:])
        self.head = nn.Parameter(torch.randn(5, 3, dtype=torch.float64).T)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear((x @ self.weight + self.bias).tanh(), self.head)


class MixedPrecision(nn.Module):
    """A body in float32 and a head in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def double(self) -> nn.Module:
        self.head.double()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.float()).tanh().double())


class Autocast(nn.Module):
    """Computes its body in bfloat16 by autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            h = self.inner(x)
        return h.float()


def patched_forward() -> nn.Module:
    """The instance's own forward in place of the class's; a layer's too."""
    model = network()
    model.forward = types.MethodType(lambda self, x: self[2](self[0](x).relu() * 1.5), model)
    model[0].forward = types.MethodType(lambda self, x: F.linear(x, self.weight.abs(), self.bias), model[0])
    return model


def frozen_part() -> nn.Module:
    model = network()
    model[0].requires_grad_(False)
    return model


def partly_frozen() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    model[0].weight.requires_grad_(False)
    model[1].requires_grad_(False)
    return model


def named_blocks() -> nn.Module:
    body = OrderedDict(conv=nn.Conv2d(1, 4, 3), norm=nn.GroupNorm(2, 4), act=nn.SiLU(), flat=nn.Flatten())
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(body), head=nn.Linear(64, 3)))


def with_word_mask(count: int, generator: torch.Generator):
    ids, y = padded()(count, generator)
    return {"ids": ids, "mask": ids != 0}, y


class MaskGiven(nn.Module):
    """Takes ids and a mask by name."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer, self.head = nn.Embedding(11, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.layer(self.embedding(ids)).tanh()
        return self.head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True) * 2)


class TwoInputs(nn.Module):
    """An image and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer, self.mix = nn.Conv2d(1, 3, 3), nn.Linear(4, 3), nn.Bilinear(3, 3, 3)

    def forward(self, image: Tensor, vector: Tensor) -> Tensor:
        return self.mix(self.conv(image).relu().mean((2, 3)), self.layer(vector))


def image_and_vector(count: int, generator: torch.Generator):
    x = normal(count, 1, 6, 6, generator=generator), normal(count, 4, generator=generator)
    return x, labels(count, generator)


ACTIVATIONS = (
    *(nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.Softplus, nn.Mish, nn.Hardswish, nn.Sigmoid, nn.LogSigmoid),
    *(nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.GLU, nn.Tanhshrink, nn.Softsign, nn.Hardtanh, nn.CELU, nn.ReLU6),
)
IMAGES = {
    "Conv2d": lambda: [nn.Conv2d(2, 3, 3), nn.ReLU()],
    "Conv2d strided, dilated, without bias": lambda: [nn.Conv2d(2, 3, 3, stride=2, dilation=2, padding=2, bias=False)],
    "Conv2d of 1 x 1, strided": lambda: [nn.Conv2d(2, 3, 1, stride=2), nn.ReLU()],
    "Conv2d same": lambda: [nn.Conv2d(2, 3, 3, padding="same"), nn.ReLU()],
    "Conv2d valid": lambda: [nn.Conv2d(2, 3, 3, padding="valid"), nn.ReLU()],
    "Conv2d reflected": lambda: [nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.ReLU()],
    "Conv2d circular": lambda: [nn.Conv2d(2, 3, (3, 1), padding=(1, 0), padding_mode="circular"), nn.ReLU()],
    "Conv2d replicated": lambda: [nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), nn.ReLU()],
    "Conv2d in groups": lambda: [nn.Conv2d(2, 4, 3, groups=2), nn.ReLU()],
    "depthwise separable": lambda: [nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 4, 1), nn.ReLU()],
    "ConvTranspose2d": lambda: [nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1), nn.ReLU()],
    "ConvTranspose2d in groups": lambda: [nn.ConvTranspose2d(2, 4, 2, groups=2), nn.ReLU()],
    "BatchNorm2d": lambda: [nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU()],
    "GroupNorm": lambda: [nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()],
    "InstanceNorm2d": lambda: [nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3, affine=True), nn.ReLU()],
    "InstanceNorm2d that tracks": lambda: [nn.InstanceNorm2d(2, affine=True, track_running_stats=True)],
    "LayerNorm of images": lambda: [nn.LayerNorm((2, 6, 6)), nn.ReLU()],
    "LocalResponseNorm": lambda: [nn.Conv2d(2, 4, 3), nn.LocalResponseNorm(2, alpha=1.0), nn.ReLU()],
    "pools": lambda: [nn.MaxPool2d(2, 1), nn.Conv2d(2, 3, 2), nn.AdaptiveAvgPool2d(2), nn.ReLU()],
    "LPPool2d and fractional": lambda: [nn.Conv2d(2, 3, 2), nn.Softplus(), nn.LPPool2d(2, 2)],
    "adaptive max": lambda: [nn.Conv2d(2, 3, 2), nn.AdaptiveMaxPool2d((2, 3))],
    "PixelShuffle and Upsample": lambda: [nn.Conv2d(2, 4, 3), nn.PixelShuffle(2), nn.Upsample(scale_factor=0.5)],
    "bilinear Upsample": lambda: [nn.Conv2d(2, 2, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(2, 3, 3)],
    "Unfold": lambda: [nn.Unfold(3), nn.Linear(16, 4), nn.ReLU()],
    "Fold": lambda: [nn.Unfold(2, stride=2), nn.Linear(9, 9), nn.Fold((6, 6), 2, stride=2), nn.Conv2d(2, 2, 3)],
    "ZeroPad2d, ChannelShuffle": lambda: [nn.ZeroPad2d(1), nn.Conv2d(2, 4, 3), nn.ChannelShuffle(2), nn.Softmax2d()],
    "dropout in eval mode": lambda: [nn.Conv2d(2, 3, 3), nn.Dropout2d(0.5), nn.FeatureAlphaDropout(), nn.ReLU()],
}
LINES = {
    "Conv1d": lambda: [nn.Conv1d(3, 4, 3, padding=1), nn.ReLU()],
    "Conv1d causal, dilated, in groups": lambda: [
        nn.ConstantPad1d((4, 0), 0),
        nn.Conv1d(3, 6, 3, dilation=2, groups=3),
    ],
    "ConvTranspose1d": lambda: [nn.ConvTranspose1d(3, 4, 3, stride=2), nn.ReLU()],
    "BatchNorm1d of lines": lambda: [nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2)],
    "InstanceNorm1d": lambda: [nn.Conv1d(3, 4, 3), nn.InstanceNorm1d(4, affine=True), nn.AvgPool1d(2)],
    "Linear on the last of three dimensions": lambda: [nn.Linear(6, 4), nn.Tanh(), nn.LayerNorm(4)],
    "RMSNorm": lambda: [nn.Linear(6, 4), nn.RMSNorm(4)],
    "LayerNorm without bias": lambda: [nn.Linear(6, 4), nn.LayerNorm(4, bias=False)],
    "LayerNorm of two dimensions": lambda: [nn.LayerNorm((3, 6)), nn.Linear(6, 4)],
}
VECTORS = {
    "BatchNorm1d": lambda: [nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.AlphaDropout(0.3)],
    "Identity and Unflatten": lambda: [nn.Linear(6, 8), nn.Identity(), nn.Unflatten(1, (2, 4)), nn.Conv1d(2, 3, 2)],
    "one Linear": lambda: [],
    "a deep narrow net": lambda: [m for _ in range(8) for m in (nn.Linear(6, 6), nn.Tanh())],
}
RECURRENT = {
    "LSTM": lambda: Recurrent(nn.LSTM(4, 5, batch_first=True)),
    "LSTM, time first, both ways, 2 layers": lambda: Recurrent(nn.LSTM(4, 3, 2, bidirectional=True)),
    "LSTM with projection": lambda: Recurrent(nn.LSTM(4, 5, batch_first=True, proj_size=2)),
    "LSTM's last state": lambda: Recurrent(nn.LSTM(4, 3, 2, batch_first=True, bidirectional=True), state=True),
    "GRU": lambda: Recurrent(nn.GRU(4, 5, batch_first=True)),
    "GRU, time first, 2 layers with dropout": lambda: Recurrent(nn.GRU(4, 5, 2, dropout=0.5)),
    "RNN of relu": lambda: Recurrent(nn.RNN(4, 5, nonlinearity="relu", bias=False, batch_first=True)),
    "LSTMCell": lambda: Cells(nn.LSTMCell),
    "GRUCell": lambda: Cells(nn.GRUCell),
    "RNNCell": lambda: Cells(nn.RNNCell),
    "attention from queries": Cross,
    "attention with bias_kv and zeros": lambda: Cross(add_bias_kv=True, add_zero_attn=True, bias=False),
    "scaled_dot_product_attention": ScaledDotProduct,
    "state space": Scanned,
}
WORDS = {
    "packed LSTM": lambda: PackedWords(nn.LSTM),
    "packed GRU": lambda: PackedWords(nn.GRU),
    "TransformerEncoder": lambda: Encoder(True),
    "TransformerEncoder, time first": lambda: Encoder(False),
    "TransformerEncoder, norm first, no mask": lambda: Encoder(True, False, True),
    "TransformerEncoder with its fast path": lambda: Encoder(True, nested=True),
    # without gradients the fast path cuts positions, and gives zeros for the padding: what is read is what it gives
    "TransformerEncoder with its fast path, mean": lambda: Encoder(True, nested=True, mean=True),
    "TransformerDecoder": Decoder,
    "TransformerDecoder, time first": lambda: Decoder(False),
    "Transformer": Transformer,
}
PLAIN = {
    "lists and dicts of parameters": Lists,
    "0-d parameters and buffers": OneParameter,
    "parameters alone": ParametersAlone,
    "a layer under two names": Twice,
    "a weight shared by layers": SharedWeight,
    "siamese": Siamese,
    "siamese as one batch": lambda: Doubled(False),
    "siamese in turn": lambda: Doubled(True),
    "keywords and nested arguments": Keywords,
    "methods beside forward": MoreThanOne,
    "an ensemble in one parameter": Ensemble,
    "radial basis functions": Kernel,
    "a function without a vmap rule": lambda: OwnFunction(Rounded),
    "a function with a vmap rule": lambda: OwnFunction(RoundedWithRule),
    "a function on weights, without a rule": lambda: OwnFunction(Rounded, "weights"),
    "a function on weights, with a rule": lambda: OwnFunction(RoundedWithRule, "weights"),
    "reversed gradients": lambda: OwnFunction(Reversed),
    "a gradient written by hand": lambda: OwnFunction(LinearFunction, "product"),
    "a hook on a tensor": BackwardHooked,
    "layers in a plain list": PlainList,
    "a buffer that needs a gradient": BufferWithGradient,
    "parameters that are views of one tensor": OneStorage,
    "forwards of instances": patched_forward,
}
NUMBERS = (
    *("item of the parameters", "item of the rows", "numpy", "tolist", "sort", "topk", "argmax", "assignment"),
    *("nonzero", "lists", "linalg", "segments"),
)
HOOKS = (
    *("output replaced", "output looked at", "output changed in place", "input replaced", "on the model"),
    *("with keywords", "of the gradient"),
)
NETS = {
    "the classic MNIST net": (Mnist, arrays(1, 14, 14)),
    "residual": (Residual, images()),
    "inception with squeeze and excitation": (Inception, images()),
    "convnext-like": (DepthChannels, images()),
    "vision transformer by hand": (Patches, images()),
    "rearranged": (Reshaped, images()),
    "named blocks": (named_blocks, images()),
}
METHODS = {
    "lora": "lora",
    "adapter": {"name": "adapter", "target_modules": ["0"], "bottleneck": 3},
    "ia3": "ia3",
    "LOHA": {"name": "peft", "tuner": "LOHA"},
    "LOKR": {"name": "peft", "tuner": "LOKR"},
    "lora of rank 2 on one layer": {"name": "lora", "rank": 2, "target_modules": ["0"]},
    "DoRA": {"name": "peft", "tuner": "LORA", "options": {"use_dora": True, "r": 2}},
}
LORA = {"method": "lora", "update": {"learning_rate": 0.2, "momentum": 0.9, "steps": 2}}


def spread(kind: str, builds, data, update: bool = True) -> list[Case]:
    """A case of each, with the updates taken in turn."""
    return [
        Case(f"{kind}: {name}", kind, task(build, data), options={"update": UPDATES[k % len(UPDATES) if update else 0]})
        for k, (name, build) in enumerate(builds.items())
    ]


def bodies(builds) -> dict:
    return {name: lambda b=build: headed(*b()) for name, build in builds.items()}


CASES = [
    *spread("activation", {k.__name__: lambda k=k: activated(k()) for k in ACTIVATIONS}, vectors()),
    *spread("image layer", bodies(IMAGES), images(2)),
    *spread("line layer", bodies(LINES), arrays(3, 6)),
    *spread("vector layer", bodies(VECTORS), vectors()),
    Case(
        "volume layer: Conv3d", "volume layer", task(lambda: headed(nn.Conv3d(1, 2, 2), nn.ReLU()), arrays(1, 3, 3, 3))
    ),
    Case(
        "volume layer: ConvTranspose3d and BatchNorm3d",
        "volume layer",
        task(lambda: headed(nn.ConvTranspose3d(1, 2, 2), nn.BatchNorm3d(2), nn.AvgPool3d(2)), arrays(1, 3, 3, 3)),
        options=THREE,
    ),
    *spread("sequence layer", RECURRENT, sequences()),
    *spread("words", WORDS, padded(whole=1)),
    *spread("plain", PLAIN, vectors()),
    Case("plain: a body in float32, a head in float64", "plain", task(MixedPrecision, vectors()), tolerance=1e-4),
    Case("plain: autocast to bfloat16", "plain", task(Autocast, vectors(), dtype=torch.float32), tolerance=0.1),
    Case(
        "plain: forwards of instances, lora", "plain", task(patched_forward, vectors()), options=LORA, may_refuse=True
    ),
    *spread("numbers", {way: lambda w=way: Numbers(w) for way in NUMBERS}, vectors()),
    Case("numbers: unique ids", "numbers", task(lambda: Numbers("unique ids"), words()), options=THREE),
    *spread("hook", {way: lambda w=way: hooked(w) for way in HOOKS}, vectors()),
    Case("hook: of the gradient, lora", "hook", task(lambda: hooked("of the gradient"), vectors()), options=LORA),
    Case("hook: output replaced, lora", "hook", task(lambda: hooked("output replaced"), vectors()), options=LORA),
    *[
        Case(f"net: {name}", "net", task(*own), options={"update": UPDATES[k % len(UPDATES)]})
        for k, (name, own) in enumerate(NETS.items())
    ],
    *[
        Case(f"net: {name}, all but one", "net", task(*NETS[name]), options=EXCLUDE)
        for name in ("the classic MNIST net", "residual", "vision transformer by hand")
    ],
    Case("plain: a layer under two names, all but one", "plain", task(Twice, vectors()), options=EXCLUDE),
    Case("plain: a layer under two names, lora", "plain", task(Twice, vectors()), options=LORA),
    Case(
        "plain: a gradient written by hand, all but one",
        "plain",
        task(lambda: OwnFunction(LinearFunction, "product"), vectors()),
        options=EXCLUDE,
    ),
    Case(
        "words: packed LSTM, all but one", "words", task(lambda: PackedWords(nn.LSTM), padded(whole=1)), options=EXCLUDE
    ),
    Case("words: TransformerEncoder, lora", "words", task(lambda: Encoder(True), padded(whole=1)), options=LORA),
    *[
        Case(
            f"method: {name}",
            "method",
            task(network, vectors()),
            options={"method": method, "update": {"learning_rate": 0.3, "momentum": 0.5, "steps": 3}},
        )
        for name, method in METHODS.items()
    ],
    *[
        Case(
            f"method: {name} on convolutions, adamw",
            "method",
            task(lambda: headed(nn.Conv2d(2, 4, 3), nn.ReLU()), images(2)),
            options={"method": METHODS[name], "update": UPDATES[3] | {"learning_rate": 0.05}},
        )
        for name in ("lora", "adapter", "ia3", "LOHA")
    ],
    Case(
        "method: None with a layer frozen",
        "method",
        task(frozen_part, vectors()),
        options={"method": None, "update": UPDATES[1]},
    ),
    Case(
        "method: None with parts of layers frozen",
        "method",
        task(partly_frozen, images()),
        options={"method": None, "update": UPDATES[1]},
    ),
    Case("method: full with a layer frozen before", "method", task(frozen_part, vectors())),
    Case("method: lora, another seed", "method", task(network, vectors()), options=LORA | {"seed": 3}),
    Case("inputs: ids and a mask by name", "inputs", task(MaskGiven, with_word_mask), options=THREE),
    Case("inputs: ids and a mask by name, all but one", "inputs", task(MaskGiven, with_word_mask), options=EXCLUDE),
    Case("inputs: ids and a mask by name, lora", "inputs", task(MaskGiven, with_word_mask), options=LORA),
    Case("inputs: an image and a vector", "inputs", task(TwoInputs, image_and_vector), options=THREE),
    Case("inputs: an image and a vector, all but one", "inputs", task(TwoInputs, image_and_vector), options=EXCLUDE),
    Case(
        "inputs: an image and a vector, adam",
        "inputs",
        task(TwoInputs, image_and_vector),
        options={"update": UPDATES[2]},
    ),
]
