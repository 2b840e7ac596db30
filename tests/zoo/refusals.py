"""What must be told in one line, what must be taken, and zeros that are right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from .case import Case, task
from .data import images, labels, normal, vectors, words
from .layers import MaskGiven, TwoInputs, image_and_vector, with_word_mask
from .trials import identity, network

THREE = {"update": {"learning_rate": 0.1, "steps": 3}}


def instead(name: str, value: Any):
    """A maker of the plain task with one part in another's place; functions are given the part itself."""

    def make(stimuli: int, probes: int) -> tuple[Any, Any, Any, Any]:
        parts = dict(zip(("model", "loss", "stimuli", "probes"), task(network, vectors())(stimuli, probes)))
        parts[name] = value(parts[name])
        return tuple(parts.values())

    return make


class Giving(nn.Module):
    """A net whose output is put into something."""

    def __init__(self, give) -> None:
        super().__init__()
        self.inner, self.give = network(), give

    def forward(self, x: Tensor) -> Any:
        return self.give(self.inner(x))


def model_output(logits: Tensor) -> Any:
    from transformers.modeling_outputs import SequenceClassifierOutput

    return SequenceClassifierOutput(logits=logits)


def first_tensor(output: Any) -> Tensor:
    """A user's loss that knows where the logits are."""
    if isinstance(output, dict):
        output = output["logits"]
    if isinstance(output, tuple | list):
        output = output[0]
    return getattr(output, "logits", output)


class Random(nn.Module):
    """Draws in every forward, also in eval mode."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.first, self.drop, self.head, self.way = nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 3), way

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.drop.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if self.way == "F.dropout":
            h = F.dropout(h, 0.5)
        elif self.way == "a dropout layer kept in train mode":
            h = self.drop(h)
        elif self.way == "torch.randn":
            h = h + torch.randn_like(h)
        elif self.way == "gumbel softmax":
            h = F.gumbel_softmax(h)
        elif self.way == "torch.rand of the whole batch":
            h = h * torch.rand((), dtype=h.dtype)
        elif self.way == "torch.bernoulli":
            h = h * torch.bernoulli(torch.full_like(h, 0.5))
        elif self.way == "randperm":
            h = h[:, torch.randperm(5)]
        elif self.way == "numpy":
            h = h + torch.from_numpy(np.random.randn(5))
        elif self.way == "an occasional draw":
            h = torch.where(torch.rand(h.shape) < 0.1, 0.0, h)
        elif self.way == "drawn and not used":  # as transformers' layers that may be dropped in training
            if torch.rand(()) < 0.5 and self.training:
                h = h * 0
        elif self.way == "seeded in forward":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                h = F.dropout(h, 0.5)
        return self.head(h)


class NoGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class NoRows(nn.Module):
    """Gives one row whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.mean(0, keepdim=True))


class Counting(nn.Module):
    """No parameter at all."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3]


class WholeNumbers(nn.Module):
    """A parameter in whole numbers, and no other."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.arange(3), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.table]


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.Linear(5, 3)).double()


def on_meta(_: Any) -> nn.Module:
    with torch.device("meta"):
        return network().double()


class Stream(IterableDataset):
    def __init__(self, pair) -> None:
        self.pair = pair

    def __iter__(self):
        yield from zip(*self.pair)


class Rows(Dataset):
    """Rows as a list."""

    def __init__(self, rows) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def ragged(pair) -> Dataset:
    return Rows((x[: 6 - i % 2], y) for i, (x, y) in enumerate(zip(*pair)))


def tuple_loss(output: Tensor, target: Tensor) -> Any:
    return F.cross_entropy(output, target), {"extra": 1}


def vector_loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, reduction="none")


def number_loss(output: Tensor, target: Tensor) -> float:
    return F.cross_entropy(output, target).item()


def dead_loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target).detach()


def none_loss(output: Tensor, target: Tensor) -> None:
    return None


def mean_readout(output: Tensor, target: Tensor) -> Tensor:
    """One number for all probes."""
    return output.mean()


def by_class(output: Tensor, target: Tensor) -> Tensor:
    """(probes, classes)."""
    return output


def as_float(output: Tensor, target: Tensor) -> float:
    return output.mean().item()


def as_list(output: Tensor, target: Tensor) -> list[float]:
    return output.mean(1).tolist()


def nothing_read(output: Tensor, target: Tensor) -> None:
    return None


def out_of_range(label: int):
    return lambda pair: (pair[0], torch.where(torch.arange(len(pair[1])) == 2, label, pair[1]))


class Centres(nn.Module):
    """A loss with a parameter of its own, which nobody trains."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output * self.scale, target)


def shifting(output: Tensor, target: Tensor) -> Tensor:
    """A readout that works in place, on the output and on the target."""
    output -= output.mean(-1, keepdim=True)
    target %= 2
    return output.gather(-1, target[:, None])[:, 0]


def whole_flags(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return normal(count, 6, generator=generator), torch.randint(2, (count, 3), generator=generator)


def float_flags(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, y = whole_flags(count, generator)
    return x, y.double()


def bits(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, target.to(output.dtype))


def one_flag(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return normal(count, 6, generator=generator), torch.randint(2, (count, 1), generator=generator)


def flat_flag(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, y = one_flag(count, generator)
    return x, y[:, 0]


def frozen() -> nn.Module:
    return network().requires_grad_(False)


def refused(name: str, make, matches: str, options: dict[str, Any] | None = None, **more: Any) -> Case:
    own = {"update": {"learning_rate": 0.1}, **(options or {})}
    return Case(f"refused: {name}", "refused", make, options=own, refused=f"(?i){matches}", scales=False, **more)


# -- taken -------------------------------------------------------------------------------------------------------------


def as_numpy(pair) -> tuple[Any, Any]:
    return pair[0].numpy().copy(), pair[1].numpy().copy()


def both(change):
    """The plain task with stimuli and probes both changed."""

    def make(stimuli: int, probes: int):
        model, loss, a, b = task(network, vectors())(stimuli, probes)
        return model, loss, change(a), change(b)

    return make


def numpy_by_name(count: int, generator: torch.Generator):
    inputs, y = with_word_mask(count, generator)
    return {name: value.numpy() for name, value in inputs.items()}, y.numpy()


def rows_by_name(count: int, generator: torch.Generator):
    inputs, y = with_word_mask(count, generator)
    return Rows(({name: value[i] for name, value in inputs.items()}, int(y[i])) for i in range(count))


def rows_of_two(count: int, generator: torch.Generator):
    (image, vector), y = image_and_vector(count, generator)
    return Rows(((image[i], vector[i]), int(y[i])) for i in range(count))


def with_gradients() -> nn.Module:
    """Gradients from another training are still there."""
    model = network().double()
    model(torch.randn(4, 6, dtype=torch.float64)).sum().backward()
    return model


def partly_in_eval() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    model[1].eval()
    return model


def needing_gradients(pair):
    return pair[0].requires_grad_(), pair[1]


def expanded(pair):
    """Not contiguous, and with a stride of zero."""
    x = torch.stack([pair[0], pair[0]], 0).transpose(0, 1)[:, 0]
    x = torch.cat([x[:, :3], x[:, :1].expand(-1, 3)], 1).mT.contiguous().mT
    return x, pair[1]


# -- zeros -------------------------------------------------------------------------------------------------------------


class Vectors(nn.Module):
    """Word vectors against fixed ones."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Embedding(30, 4)
        self.register_buffer("classes", torch.randn(4, 3))

    def forward(self, ids: Tensor) -> Tensor:
        return self.vectors(ids) @ self.classes


def disjoint(stimuli: int, probes: int):
    """Stimuli hold words that the probes lack."""
    model, loss, a, b = task(Vectors, words(1))(stimuli, probes)
    return model, loss, (a[0][:, 0], a[1]), (b[0][:, 0] + 15, b[1])


class Separate(nn.Module):
    """A value for each id, looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.randn(20))

    def forward(self, ids: Tensor) -> Tensor:
        return self.values[ids]


def regression(stimuli: int, probes: int):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Separate().double()
    a = torch.arange(stimuli) % 8, torch.linspace(0, 1, stimuli, dtype=torch.float64)
    b = 10 + torch.arange(probes) % 8, torch.linspace(0, 1, probes, dtype=torch.float64)
    return model, F.mse_loss, a, b


def minus_error(output: Tensor, target: Tensor) -> Tensor:
    return -(output - target).square()


def constant(output: Tensor, target: Tensor) -> Tensor:
    """Does not look at the output's values."""
    return output.new_full((len(output),), 0.3)


def easy(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Every margin is met."""
    target = labels(count, generator)
    return F.one_hot(target, 3).double() * 9, target


def wide_margin(output: Tensor, target: Tensor) -> Tensor:
    return F.multi_margin_loss(output, target, margin=0.5)


class DeadRelu(nn.Module):
    """Every unit is off for every stimulus; the head's bias is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)
        with torch.no_grad():
            self.first.bias.fill_(-50)
        self.head.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).relu())


def zero(name: str, make, options: dict[str, Any] | None = None) -> Case:
    own = {"update": {"learning_rate": 0.1}, **(options or {})}
    return Case(f"zeros: {name}", "zeros", make, options=own, zeros=True, scales=False)


DRAWS = (
    "F.dropout",
    "a dropout layer kept in train mode",
    "torch.randn",
    "gumbel softmax",
    "torch.rand of the whole batch",
    "torch.bernoulli",
    "randperm",
    "numpy",
    "an occasional draw",
)
OUTPUTS = {
    "a ModelOutput": model_output,
    "a tuple": lambda logits: (logits, logits.mean()),
    "a list": lambda logits: [logits],
    "a dict": lambda logits: {"logits": logits},
    "an object": lambda logits: SimpleNamespace(logits=logits),
    "None": lambda logits: None,
    "an array": lambda logits: logits.detach().numpy(),
}
LOSSES = {
    "a tuple": tuple_loss,
    "a vector": vector_loss,
    "a number": number_loss,
    "None": none_loss,
    "a constant": dead_loss,
}
READOUTS = {"one number": mean_readout, "a matrix": by_class, "a float": as_float, "a list": as_list,
            "None": nothing_read}  # fmt: skip


CASES = [
    *[
        refused(f"drawn by {way}", task(lambda w=way: Random(w), vectors()), "random|drop|draw|same|twice")
        for way in DRAWS
    ],
    refused(
        "drawn by F.dropout, lora",
        task(lambda: Random("F.dropout"), vectors()),
        "random|drop|draw|same|twice",
        {"method": "lora"},
    ),
    Case("drawn and not used", "state", task(lambda: Random("drawn and not used"), vectors()), options=THREE),
    Case(
        "drawn from a seed set in forward",
        "state",
        task(lambda: Random("seeded in forward"), vectors()),
        may_refuse=True,
    ),
    *[
        refused(
            f"output is {what}",
            task(
                lambda g=give: Giving(g),
                vectors(),
                lambda output, target: F.cross_entropy(first_tensor(output), target),
            ),
            "output|logits|tensor",
        )
        for what, give in OUTPUTS.items()
    ],
    *[refused(f"loss gives {what}", task(network, vectors(), loss), "loss") for what, loss in LOSSES.items()],
    refused("loss is a name", instead("loss", lambda _: "cross_entropy"), "loss"),
    refused("loss is None", instead("loss", lambda _: None), "loss"),
    *[
        refused(f"readout gives {what}", task(network, vectors()), "readout", {"readout": readout})
        for what, readout in READOUTS.items()
    ],
    refused("several labels in whole numbers", task(network, whole_flags, bits), "readout|target"),
    refused("several labels in real numbers", task(network, float_flags, bits), "readout|target"),
    refused("a single logit, targets (n, 1)", task(lambda: network(classes=1), one_flag, bits), "readout|target|class"),
    refused(
        "a single logit, targets (n,)",
        task(lambda: nn.Sequential(network(classes=1), nn.Flatten(0)), flat_flag, bits),
        "readout|target|class|output",
    ),
    refused("one class alone", task(lambda: network(classes=1), vectors(classes=1)), "class|readout|output"),
    refused("no parameters", task(Counting, vectors()), "parameter|train"),
    refused("parameters in whole numbers", task(WholeNumbers, vectors()), "parameter|train"),
    refused("nothing that needs a gradient", task(frozen, vectors()), "gradient|train", {"method": None}),
    refused("no gradient comes out of the model", task(NoGradient, vectors()), "gradient|depend|train"),
    refused(
        "lazy and not initialised",
        lambda n, m: (lazy(), F.cross_entropy, *task(network, vectors())(n, m)[2:]),
        "lazy|initiali|shape|model",
    ),
    refused("on the meta device", instead("model", on_meta), "meta"),
    refused("a model that is a function", instead("model", lambda _: torch.tanh), "model"),
    refused("a model that is a class", instead("model", lambda _: nn.Linear), "model"),
    refused("one row out of many", task(NoRows, vectors()), "row|output|probe"),
    refused("stimuli that stream", instead("stimuli", Stream), "stimuli"),
    refused("probes that stream", instead("probes", Stream), "probes"),
    refused("a ragged data set", instead("stimuli", ragged), "stimuli"),
    refused("a loader of batches", instead("stimuli", lambda pair: DataLoader(TensorDataset(*pair))), "stimuli"),
    refused("rows without targets", instead("stimuli", lambda pair: Rows(pair[0])), "stimuli"),
    refused("inputs alone", instead("stimuli", lambda pair: pair[0]), "stimuli"),
    refused("strings as inputs", instead("stimuli", lambda pair: (["a"] * len(pair[1]), pair[1])), "stimuli"),
    refused("targets None", instead("stimuli", lambda pair: (pair[0], None)), "stimuli"),
    refused("more inputs than targets", instead("stimuli", lambda pair: (pair[0], pair[1][:-1])), "stimuli"),
    refused("more probes than their targets", instead("probes", lambda pair: (pair[0], pair[1][:-1])), "probes"),
    refused(
        "named inputs of several lengths",
        instead("stimuli", lambda pair: ({"x": pair[0], "other": pair[0][1:]}, pair[1])),
        "stimuli",
    ),
    refused("no stimuli", instead("stimuli", lambda pair: (pair[0][:0], pair[1][:0])), "stimuli"),
    refused("no probes", instead("probes", lambda pair: (pair[0][:0], pair[1][:0])), "probes"),
    refused("an empty data set", instead("stimuli", lambda pair: Rows([])), "stimuli"),
    refused("one stimulus, all but one", task(network, vectors()), "stimuli", {"perturbation": "exclude"}, stimuli=1),
    refused("a label too large in the stimuli", instead("stimuli", out_of_range(3)), "stimuli|label|class|target"),
    refused("a label too large in the probes", instead("probes", out_of_range(7)), "probes|label|class|target"),
    refused("a label below zero", instead("probes", out_of_range(-1)), "probes|label|class|target"),
    refused("no seed", task(network, vectors()), "seed", {"seed": []}),
    refused("no rows", task(network, vectors()), "rows|stimul", {"rows": slice(3, 3)}),
    refused("rows behind the end", task(network, vectors()), "rows|stimul", {"rows": slice(50, 60)}),
    refused(
        "inputs in another precision",
        instead("stimuli", lambda pair: (pair[0].float(), pair[1])),
        "stimuli|input|model|dtype",
    ),
    refused(
        "inputs of another width", instead("probes", lambda pair: (pair[0][:, :4], pair[1])), "probes|input|model|shape"
    ),
    # taken
    Case("taken: NumPy arrays", "taken", both(as_numpy), options=THREE),
    Case(
        "taken: NumPy arrays, all but one",
        "taken",
        both(as_numpy),
        options={"perturbation": "exclude", "update": {"learning_rate": 0.5}},
    ),
    Case("taken: NumPy inputs with tensors as targets", "taken", both(lambda pair: (pair[0].numpy(), pair[1]))),
    Case("taken: a list of two", "taken", both(list)),
    Case("taken: TensorDataset", "taken", both(lambda pair: TensorDataset(*pair)), options=THREE),
    Case("taken: Subset", "taken", both(lambda pair: Subset(TensorDataset(*pair), [3, 1, 4, 0])), scales=False),
    Case("taken: ConcatDataset", "taken", both(lambda pair: ConcatDataset([TensorDataset(*pair)] * 2))),
    Case("taken: rows of tensors and numbers", "taken", both(lambda pair: Rows((x, int(y)) for x, y in zip(*pair)))),
    Case("taken: rows of NumPy arrays", "taken", both(lambda pair: Rows((x.numpy(), int(y)) for x, y in zip(*pair)))),
    Case("taken: rows with inputs by name", "taken", task(MaskGiven, rows_by_name), options=THREE),
    Case("taken: rows of two inputs", "taken", task(TwoInputs, rows_of_two), options=THREE),
    Case("taken: NumPy arrays by name", "taken", task(MaskGiven, numpy_by_name), options=THREE),
    Case("taken: one input by name", "taken", both(lambda pair: ({"input": pair[0]}, pair[1]))),
    Case("taken: one input in a tuple", "taken", both(lambda pair: ((pair[0],), pair[1]))),
    Case("taken: one stimulus, one probe", "taken", task(network, vectors()), stimuli=1, probes=1),
    Case("taken: inputs that need a gradient", "taken", both(needing_gradients), options=THREE),
    Case("taken: inputs with strides", "taken", both(expanded)),
    Case(
        "taken: images with the channels last",
        "taken",
        task(
            lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 3)).to(
                memory_format=torch.channels_last
            ),
            lambda n, g: (images(2)(n, g)[0].to(memory_format=torch.channels_last), labels(n, g)),
        ),
    ),
    Case("taken: a model with gradients left in it", "taken", task(with_gradients, vectors()), options=THREE),
    Case("taken: a model partly in eval mode", "taken", task(partly_in_eval, vectors()), options=THREE),
    Case("taken: a model that is frozen, full", "taken", task(frozen, vectors()), options=THREE),
    Case("taken: a model that is frozen, lora", "taken", task(frozen, vectors()), options={"method": "lora", **THREE}),
    Case("taken: a loss with a parameter", "taken", instead("loss", lambda _: Centres()), options=THREE),
    Case(
        "taken: a readout that works in place",
        "taken",
        task(network, vectors()),
        options={"readout": [shifting, "log_prob", "rank"], "update": {"learning_rate": 0.3, "steps": 2}},
    ),
    # zeros
    zero("words that the probes lack", disjoint),
    zero(
        "words that the probes lack, 3 steps with momentum",
        disjoint,
        {"update": {"learning_rate": 0.1, "momentum": 0.9, "steps": 3}},
    ),
    zero("words that the probes lack, adam", disjoint, {"update": {"optimizer": "adam", "learning_rate": 0.1}}),
    zero("values that the probes lack", regression, {"readout": minus_error}),
    zero("a readout that does not look", task(network, vectors()), {"readout": constant}),
    zero("a hinge that every stimulus meets", task(identity, easy, wide_margin)),
    zero("units that are off", task(DeadRelu, vectors()), {"method": None}),
    zero("a rate of zero", task(network, vectors()), {"update": {"learning_rate": 0.0, "steps": 2}}),
]
