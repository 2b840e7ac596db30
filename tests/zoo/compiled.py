"""Models that are compiled, scripted, traced or exported, and functional transforms inside a forward."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from .case import Case, task
from .data import images, vectors
from .trials import network

EAGER = {"backend": "eager"}
LORA = {"method": "lora", "update": {"learning_rate": 0.2, "steps": 2}}


def compiled_in_place(**options) -> nn.Module:
    model = network()
    model.compile(**options)
    return model


def compiled_convolutions() -> nn.Module:
    return torch.compile(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)), **EAGER)


class Parts(nn.Module):
    """A compiled submodule, and optionally a compiled function."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(6, 5), nn.Tanh()), nn.Linear(5, 3)
        if way == "submodule":
            self.body = torch.compile(self.body, **EAGER)
        elif way == "submodule in place":
            self.body.compile(**EAGER)
        self.function = way == "function"

    def forward(self, x: Tensor) -> Tensor:
        return squashed(self.head(self.body(x))) if self.function else self.head(self.body(x))


@torch.compile(backend="eager")
def squashed(x: Tensor) -> Tensor:
    return x * x.sigmoid()


class WithCompiledMethod(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    @torch.compile(backend="eager")
    def inner(self, x: Tensor) -> Tensor:
        return self.layer(x).tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x))


def scripted() -> nn.Module:
    return torch.jit.script(network())


def traced() -> nn.Module:
    return torch.jit.trace(network(), torch.zeros(2, 6))


def exported() -> nn.Module:
    model = network().double()
    rows = torch.export.Dim("rows", min=1)
    example = torch.zeros(3, 6, dtype=torch.float64)
    return torch.export.export(model, (example,), dynamic_shapes=({0: rows},)).module()


class ScriptedPart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.jit.script(nn.Sequential(nn.Linear(6, 5), nn.Tanh())), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Transforms(nn.Module):
    """``torch.func`` inside a forward."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.inner, self.head, self.way = nn.Linear(6, 5), nn.Linear(5, 3), way
        self.energy, self.scale = nn.Linear(6, 1), nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "vmap":
            return self.head(vmap(lambda row: self.inner(row).tanh())(x))
        if self.way == "grad":
            slope = vmap(grad(lambda row: self.energy(row.tanh()).square().sum()))(x)
            return self.head(self.inner(x + slope).tanh())
        if self.way == "functional_call":
            own = {name: p * 1.5 for name, p in self.inner.named_parameters()}
            return self.head(functional_call(self.inner, own, (x,)).tanh())
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            [slope] = torch.autograd.grad(self.energy((x * self.scale).tanh()).square().sum(), x, create_graph=True)
        return self.head(self.inner(x.detach() + slope).tanh())


class InnerStep(nn.Module):
    """One step of gradient descent on the input's own loss, inside the forward (meta-learning)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(6, 4) / 2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for row in x:
            with torch.enable_grad():
                weight = self.weight if self.weight.requires_grad else self.weight.detach().requires_grad_()
                loss = (row @ weight @ weight.mT - row).square().mean()
                [slope] = torch.autograd.grad(loss, weight, create_graph=True)
            outputs.append(self.head((row @ (weight - 0.3 * slope)).tanh()))
        return torch.stack(outputs)


CASES = [
    Case("torch.compile of the model", "compiled", task(lambda: torch.compile(network(), **EAGER), vectors())),
    Case(
        "torch.compile of the model, 2 steps of adam",
        "compiled",
        task(lambda: torch.compile(network(), **EAGER), vectors()),
        options={"update": {"optimizer": "adam", "learning_rate": 0.02, "steps": 2}},
    ),
    Case("torch.compile of convolutions", "compiled", task(compiled_convolutions, images())),
    Case(
        "torch.compile, all but one",
        "compiled",
        task(lambda: torch.compile(network(), **EAGER), vectors()),
        options={"perturbation": "exclude", "update": {"learning_rate": 0.5}},
    ),
    Case("torch.compile with inductor", "compiled", task(lambda: torch.compile(network()), vectors()), slow=True),
    Case("model.compile()", "compiled", task(lambda: compiled_in_place(**EAGER), vectors())),
    Case("model.compile() with inductor", "compiled", task(compiled_in_place, vectors()), slow=True),
    Case("a compiled submodule", "compiled", task(lambda: Parts("submodule"), vectors())),
    Case("a submodule compiled in place", "compiled", task(lambda: Parts("submodule in place"), vectors())),
    Case("a compiled function", "compiled", task(lambda: Parts("function"), vectors())),
    Case("a compiled method", "compiled", task(WithCompiledMethod, vectors())),
    Case(
        "a compiled submodule, lora", "compiled", task(lambda: Parts("submodule"), vectors()), slow=True, options=LORA
    ),
    Case(
        "torch.compile of the model, lora",
        "compiled",
        task(lambda: torch.compile(network(), **EAGER), vectors()),
        options=LORA,
    ),
    Case("model.compile(), lora", "compiled", task(lambda: compiled_in_place(**EAGER), vectors()), options=LORA),
    Case("scripted", "script", task(scripted, vectors()), may_refuse=True),
    Case("traced", "script", task(traced, vectors()), may_refuse=True),
    Case("exported", "script", task(exported, vectors()), may_refuse=True, slow=True),
    Case("a scripted submodule", "script", task(ScriptedPart, vectors()), may_refuse=True),
    Case("a symbolic trace", "script", task(lambda: torch.fx.symbolic_trace(network()), vectors())),
    Case("a symbolic trace, lora", "script", task(lambda: torch.fx.symbolic_trace(network()), vectors()), options=LORA),
    Case("DataParallel without a GPU", "script", task(lambda: nn.DataParallel(network()), vectors())),
    *[
        Case(f"torch.func inside: {way}", "transform", task(lambda w=way: Transforms(w), vectors()))
        for way in ("vmap", "grad", "functional_call", "autograd.grad")
    ],
    Case(
        "torch.func inside: autograd.grad, 2 steps of adamw",
        "transform",
        task(lambda: Transforms("autograd.grad"), vectors()),
        options={"update": {"optimizer": "adamw", "learning_rate": 0.02, "weight_decay": 0.1, "steps": 2}},
    ),
    Case(
        "a step of descent inside", "transform", task(InnerStep, vectors()), options={"update": {"learning_rate": 0.2}}
    ),
]
