"""Outputs of every shape, all readouts, losses, candidates, numbers that are complex or coarse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Case, task
from .data import arrays, images, normal, tagged, valued, vectors, words
from .trials import network

ALL = ["log_prob", "log_odds", "prob", "rank", "correct"]
READ = {"readout": ALL, "update": {"learning_rate": 0.5, "steps": 2}}
EXCLUDE = {"perturbation": "exclude", "readout": ALL, "update": {"learning_rate": 0.5}}


class Segmenter(nn.Module):
    """(n, channels, height, width) to (n, classes, height, width); of lines and volumes with one axis less or more."""

    def __init__(self, classes: int, dims: int = 2) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.down, self.up = conv(2, 3, 3, padding=1), conv(3, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x).tanh())


class Upsampled(nn.Module):
    """A small U-net: down, up, and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.down = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up, self.leave = nn.ConvTranspose2d(4, 3, 2, stride=2), nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x).relu()
        return self.leave(torch.cat([x, self.up(self.down(x).relu())], 1))


def mapped(*shape: int, classes: int, ignored: bool = False):
    """(n, 2, *shape) with a class at each place."""

    def data(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        target = torch.randint(classes, (count, *shape), generator=generator)
        if ignored:
            target[:, 0] = -100
        return normal(count, 2, *shape, generator=generator), target

    return data


class Tagger(nn.Module):
    """(n, T, d) to (n, T, classes)."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 5), nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).tanh())


class ClassesFirst(Tagger):
    """(n, T, d) to (n, classes, T)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mT


def by_position(output: Tensor, target: Tensor) -> Tensor:
    """A mean over the positions of (n, T, classes)."""
    return F.cross_entropy(output.flatten(0, -2), target.flatten())


def weighted(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, weight=torch.tensor([0.2, 1.0, 3.0]).to(output), label_smoothing=0.1)


def focal(output: Tensor, target: Tensor) -> Tensor:
    logs = F.log_softmax(output, -1).gather(-1, target[:, None])[:, 0]
    return -((1 - logs.exp()).square() * logs).mean()


def margin(output: Tensor, target: Tensor) -> Tensor:
    """One function of one's own, of one scalar per row."""
    own = output.gather(-1, target[:, None])[:, 0]
    return own - output.mean(-1)


def negative_error(output: Tensor, target: Tensor) -> Tensor:
    return -(output - target).square().flatten(1).mean(1)


def bits_right(output: Tensor, target: Tensor) -> Tensor:
    return -F.binary_cross_entropy_with_logits(output, target, reduction="none").flatten(1).sum(1)


def flags(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Several labels for each row, 0.0 or 1.0."""
    return normal(count, 6, generator=generator), torch.randint(2, (count, 3), generator=generator).double()


def one_flag(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One label, 0.0 or 1.0, for a single logit."""
    return normal(count, 6, generator=generator), torch.randint(2, (count,), generator=generator).double()


class Single(nn.Module):
    """A single logit or value, (n,): ``squeeze`` of a batch of one row would take away its rows too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network(classes=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).squeeze(-1)


class SqueezedWhole(Single):
    """A batch of one row comes out without dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).squeeze()


def single_error(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output.view(-1), target.view(-1))


def minus_square(output: Tensor, target: Tensor) -> Tensor:
    return -(output.view(-1) - target.view(-1)).square()


def one_bit(output: Tensor, target: Tensor) -> Tensor:
    return -F.binary_cross_entropy_with_logits(output, target, reduction="none")


class Recogniser(nn.Module):
    """(n, T, d) to log-probabilities for CTC."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0] * 2).log_softmax(-1)


def transcribed(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Three symbols from 1 to 5."""
    return normal(count, 9, 4, generator=generator), torch.randint(1, 6, (count, 3), generator=generator)


def ctc(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    n, steps, _ = output.shape
    lengths = torch.full((n,), steps), torch.full((n,), target.shape[1])
    return F.ctc_loss(output.transpose(0, 1), target, *lengths, reduction=reduction)


def minus_ctc(output: Tensor, target: Tensor) -> Tensor:
    return -ctc(output, target, "none")


def cosine(output: Tensor, target: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(output, target, dim=-1).mean()


def similarity(output: Tensor, target: Tensor) -> Tensor:
    return F.cosine_similarity(output, target, dim=-1)


class Gaussian(nn.Module):
    """A mean and a variance for each value, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network(classes=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def gaussian(output: Tensor, target: Tensor) -> Tensor:
    mean, spread = output.chunk(2, -1)
    return F.gaussian_nll_loss(mean, target, F.softplus(spread) + 0.1)


def gaussian_read(output: Tensor, target: Tensor) -> Tensor:
    mean, spread = output.chunk(2, -1)
    return -F.gaussian_nll_loss(mean, target, F.softplus(spread) + 0.1, reduction="none").sum(-1)


def summed(output: Tensor, target: Tensor) -> Tensor:
    """A sum over the batch in place of a mean."""
    return F.cross_entropy(output, target, reduction="sum")


def penalised(weight: Tensor):
    """A loss that sees the output alone, with an entropy bonus."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        entropy = -(output.softmax(-1) * output.log_softmax(-1)).sum(-1).mean()
        return F.cross_entropy(output, target) - weight * entropy

    return loss


def autoencoder() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 6))


def onto_itself(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = normal(count, 6, generator=generator)
    return x, x.clone()


def soft_labels(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Distributions over the classes as targets."""
    return normal(count, 6, generator=generator), normal(count, 3, generator=generator).softmax(-1)


def expected_log(output: Tensor, target: Tensor) -> Tensor:
    return (output.log_softmax(-1) * target).sum(-1)


class ComplexNet(nn.Module):
    """Complex weights between real ends; the input may be complex too."""

    def __init__(self, dtype: torch.dtype = torch.complex128, fourier: bool = False) -> None:
        super().__init__()
        real = torch.float64 if dtype == torch.complex128 else torch.float32
        self.weight = nn.Parameter(torch.randn(4, 6, dtype=dtype) / 2)
        self.bias = nn.Parameter(torch.randn(4, dtype=dtype) / 2)
        self.head, self.fourier = nn.Linear(8, 3, dtype=real), fourier

    def forward(self, x: Tensor) -> Tensor:
        h = torch.fft.fft(x) if self.fourier else x.to(self.weight.dtype)
        h = h @ self.weight.mT + self.bias
        return self.head(torch.cat([h.real.tanh(), h.imag], -1))


class ComplexLayers(nn.Module):
    """``nn.Linear`` in complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4, dtype=torch.complex128)
        self.second = nn.Linear(4, 3, dtype=torch.complex128)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x.to(torch.complex128)))).abs() * 3


class Spectral(nn.Module):
    """A Fourier neural operator's layer."""

    def __init__(self) -> None:
        super().__init__()
        self.modes, self.skip = nn.Parameter(torch.randn(1, 3, 4, dtype=torch.complex128)), nn.Conv1d(1, 3, 1)
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        modes = torch.einsum("nim,iom->nom", torch.fft.rfft(x)[..., :4], self.modes)
        return self.head((torch.fft.irfft(modes, n=x.shape[-1]) + self.skip(x)).tanh().mean(-1))


COMPLEX = {
    "sgd": {"learning_rate": 0.1, "steps": 2, "momentum": 0.5, "weight_decay": 0.1},
    "adam": {"optimizer": "adam", "learning_rate": 0.05, "steps": 3, "weight_decay": 0.1},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.05, "steps": 2, "weight_decay": 0.1},
    "clipped": {"learning_rate": 0.5, "gradient_clip": 0.3, "steps": 2},
}


def among(*numbers: int):
    return {"candidates": torch.tensor(numbers), "readout": ALL, "update": {"learning_rate": 0.5}}


CASES = [
    Case(
        "segmentation, 3 classes of 5 x 4",
        "map",
        task(lambda: Segmenter(3), mapped(5, 4, classes=3)),
        options=READ,
        classes_at=1,
    ),
    Case(
        "segmentation, 4 classes of 5 x 4",
        "map",
        task(lambda: Segmenter(4), mapped(5, 4, classes=4)),
        options=READ,
        classes_at=1,
    ),
    Case(
        "segmentation, 4 classes of 4 x 4",
        "map",
        task(lambda: Segmenter(4), mapped(4, 4, classes=4)),
        options=READ,
        classes_at=1,
    ),
    Case(
        "segmentation, some pixels ignored",
        "map",
        task(lambda: Segmenter(3), mapped(4, 4, classes=3, ignored=True)),
        options=READ,
        classes_at=1,
    ),
    Case(
        "segmentation, all but one",
        "map",
        task(lambda: Segmenter(3), mapped(3, 3, classes=3)),
        options=EXCLUDE,
        classes_at=1,
    ),
    Case(
        "segmentation, lora",
        "map",
        task(lambda: Segmenter(3), mapped(4, 4, classes=3)),
        options={**READ, "method": "lora"},
        classes_at=1,
    ),
    Case("U-net", "map", task(Upsampled, mapped(4, 4, classes=3)), options=READ, classes_at=1),
    Case(
        "lines, 3 classes at 5 places",
        "map",
        task(lambda: Segmenter(3, 1), mapped(5, classes=3)),
        options=READ,
        classes_at=1,
    ),
    Case(
        "lines, some places ignored",
        "map",
        task(lambda: Segmenter(3, 1), mapped(5, classes=3, ignored=True)),
        options=READ,
        classes_at=1,
    ),
    # with as many classes as places the shapes do not say which dimension is which; the loss does
    Case(
        "lines, 3 classes at 3 places",
        "map",
        task(lambda: Segmenter(3, 1), mapped(3, classes=3)),
        options=READ,
        classes_at=1,
        may_refuse=True,
    ),
    Case(
        "volumes, 3 classes",
        "map",
        task(lambda: Segmenter(3, 3), mapped(2, 3, 4, classes=3)),
        options=READ,
        classes_at=1,
    ),
    Case(
        "classes first, 4 classes at 5 places",
        "map",
        task(lambda: ClassesFirst(4), tagged(5, classes=4)),
        options=READ,
        classes_at=1,
    ),
    Case(
        "sequences, 4 classes at 5 places",
        "map",
        task(lambda: Tagger(4), tagged(5, classes=4), by_position),
        options=READ,
    ),
    Case("sequences, 3 classes at 3 places", "map", task(lambda: Tagger(3), tagged(3), by_position), options=READ),
    Case("sequences, some places ignored", "map", task(Tagger, tagged(ignored=True), by_position), options=READ),
    Case("sequences, all but one", "map", task(Tagger, tagged(ignored=True), by_position), options=EXCLUDE),
    Case("classes, all readouts", "readout", task(network, vectors()), options=READ, stimuli=7, probes=9),
    Case("classes, all readouts, all but one", "readout", task(network, vectors()), options=EXCLUDE),
    Case("two classes, all readouts", "readout", task(lambda: network(classes=2), vectors(classes=2)), options=READ),
    Case(
        "trajectory, all readouts",
        "readout",
        task(network, vectors()),
        options={"readout": ALL, "trajectory": True, "update": {"learning_rate": 0.3, "momentum": 0.9, "steps": 3}},
    ),
    Case(
        "trajectory, all but one",
        "readout",
        task(network, vectors()),
        options={"trajectory": True, "perturbation": "exclude", "update": {"learning_rate": 0.3, "steps": 3}},
    ),
    Case(
        "trajectory of adamw, lora",
        "readout",
        task(network, vectors()),
        options={
            "trajectory": True,
            "method": "lora",
            "update": {"optimizer": "adamw", "learning_rate": 0.05, "steps": 3, "weight_decay": 0.1},
        },
    ),
    Case("some rows alone", "readout", task(network, vectors()), options={"rows": slice(1, 4)}, stimuli=6),
    Case(
        "some rows alone, all but one",
        "readout",
        task(network, vectors()),
        options={"rows": slice(2, 4), "perturbation": "exclude", "update": {"learning_rate": 0.5}},
    ),
    Case("a readout of one's own", "readout", task(network, vectors()), options={"readout": margin}),
    Case(
        "a readout of one's own beside others",
        "readout",
        task(network, vectors()),
        options={"readout": ["log_prob", margin, "rank"], "update": {"learning_rate": 0.5}},
    ),
    Case("candidates", "candidates", task(network, vectors()), options=among(0, 0, 1, 1, 1, 2), scales=False),
    Case(
        "candidates out of order, all but one",
        "candidates",
        task(network, vectors()),
        options={**among(1, 0, 1, 0, 0, 2), "perturbation": "exclude"},
        scales=False,
    ),
    Case(
        "candidates of sequences of several lengths",
        "candidates",
        task(Tagger, tagged(ignored=True), by_position),
        options=among(0, 0, 1, 1, 2, 2),
        scales=False,
    ),
    Case("label smoothing and class weights", "loss", task(network, vectors(), weighted)),
    Case("label smoothing and class weights, all but one", "loss", task(network, vectors(), weighted), options=EXCLUDE),
    Case("a loss that is a module", "loss", task(network, vectors(), nn.CrossEntropyLoss(label_smoothing=0.2))),
    Case("focal loss", "loss", task(network, vectors(), focal)),
    Case("a sum over the batch", "loss", task(network, vectors(), summed), options=EXCLUDE),
    Case("with a bonus for entropy", "loss", task(network, vectors(), penalised(0.3))),
    Case("soft labels", "loss", task(network, soft_labels), options={"readout": expected_log}),
    Case(
        "mean squared error",
        "loss",
        task(lambda: network(classes=2), valued(6), F.mse_loss),
        options={"readout": negative_error},
    ),
    Case(
        "mean squared error of a single value",
        "loss",
        task(Single, valued(6, out=()), F.mse_loss),
        options={"readout": minus_square},
    ),
    Case(
        "an output squeezed to no dimension",
        "loss",
        task(SqueezedWhole, valued(6, out=()), single_error),
        may_refuse=True,
        options={"readout": minus_square},
    ),
    Case(
        "huber loss, all but one",
        "loss",
        task(lambda: network(classes=2), valued(6), F.huber_loss),
        options={"readout": negative_error, "perturbation": "exclude", "update": {"learning_rate": 0.5}},
    ),
    Case("several labels", "loss", task(network, flags, nn.BCEWithLogitsLoss()), options={"readout": bits_right}),
    Case(
        "a single logit",
        "loss",
        task(Single, one_flag, F.binary_cross_entropy_with_logits),
        options={"readout": one_bit},
    ),
    Case("CTC", "loss", task(Recogniser, transcribed, ctc), options={"readout": minus_ctc}),
    Case("cosine", "loss", task(lambda: network(classes=2), valued(6), cosine), options={"readout": similarity}),
    Case("mean and variance", "loss", task(Gaussian, valued(6), gaussian), options={"readout": gaussian_read}),
    Case("autoencoder", "loss", task(autoencoder, onto_itself, F.mse_loss), options={"readout": negative_error}),
    Case(
        "images onto images",
        "loss",
        task(
            lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 1, 3, padding=1)),
            valued(1, 4, 4, out=(1, 4, 4)),
            F.l1_loss,
        ),
        options={"readout": negative_error},
    ),
    *[
        Case(f"complex parameters, {name}", "complex", task(ComplexNet, vectors()), options={"update": update})
        for name, update in COMPLEX.items()
    ],
    Case(
        "complex64 parameters, sgd",
        "complex",
        task(lambda: ComplexNet(torch.complex64), vectors(), dtype=torch.float32),
        options={"update": COMPLEX["sgd"]},
        tolerance=1e-4,
    ),
    Case(
        "complex64 parameters, adam",
        "complex",
        task(lambda: ComplexNet(torch.complex64), vectors(), dtype=torch.float32),
        options={"update": COMPLEX["adam"]},
        tolerance=1e-3,
    ),
    Case("complex linear layers", "complex", task(ComplexLayers, vectors()), options={"update": COMPLEX["sgd"]}),
    Case("complex linear layers, adam", "complex", task(ComplexLayers, vectors()), options={"update": COMPLEX["adam"]}),
    Case("Fourier transform and complex weights", "complex", task(lambda: ComplexNet(fourier=True), vectors())),
    Case("Fourier neural operator", "complex", task(Spectral, arrays(1, 8)), options={"update": COMPLEX["clipped"]}),
    Case("complex parameters, all but one", "complex", task(ComplexNet, vectors()), options=EXCLUDE),
    Case(
        "complex parameters, those that need a gradient",
        "complex",
        task(ComplexNet, vectors()),
        options={"method": None, "update": {"learning_rate": 0.1}},
    ),
    Case("float32", "precision", task(network, vectors(), dtype=torch.float32), tolerance=1e-4),
    Case(
        "float32 images, adam",
        "precision",
        task(
            lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)),
            images(),
            dtype=torch.float32,
        ),
        options={"update": COMPLEX["adam"]},
        tolerance=1e-3,
    ),
    Case(
        "float32 words",
        "precision",
        task(lambda: nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(24, 3)), words(), dtype=torch.float32),
        tolerance=1e-4,
    ),
    Case(
        "bfloat16 under lora",
        "precision",
        task(lambda: network(32, 32), vectors(32), dtype=torch.bfloat16),
        options={"method": "lora", "update": {"learning_rate": 0.5, "steps": 2}},
        tolerance=0.1,
    ),
    Case(
        "sequences, ranks alone",
        "readout",
        task(lambda: Tagger(4), tagged(5, classes=4), by_position),
        options={"readout": "rank", "update": {"learning_rate": 3.0}},
    ),
    Case(
        "steps that cross classes, correct alone",
        "readout",
        task(network, vectors()),
        options={"readout": "correct", "update": {"learning_rate": 3.0}},
    ),
]
