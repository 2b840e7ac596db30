"""Shared by all tests: quiet threads, tiny models, and the real data where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

pytest_plugins = ["language_fixtures"]

os.environ.setdefault("WANDB_MODE", "offline")
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    import jaxtyping
    import typecheck

    # annotations are checked while the tests run
    jaxtyping.jaxtyped = typecheck.jaxtyped
    config.jaxtyping = jaxtyping.install_import_hook("eif_lab", "typecheck.check")
    config.jaxtyping.__enter__()


LONGEST = ("test_zoo.py", "test_docs.py", "test_resume.py", "test_main_job.py", "test_command_line.py")
"""Files of minutes, which must not be what one worker is left with at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def real_data() -> Path:
    """The folder with MNIST and FashionMNIST; the test is skipped where EIF_LAB_DATA does not name one."""
    root = os.environ.get("EIF_LAB_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("EIF_LAB_DATA names no folder with the real data")
    return Path(root)


class Net(nn.Module):
    """A network with what can go wrong in it: convolution, batch-norm, dropout, linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))]
        )
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * 3 * 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(self.drop(x.flatten(1)))


@pytest.fixture
def net() -> nn.Module:
    """A float64 network in train mode, with batch-norm statistics that are not the initial ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net().double()
        with torch.no_grad():
            for _ in range(5):
                model(torch.randn(16, 1, 6, 6, dtype=torch.float64) * 2 + 1)
    return model


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Seven samples for `net`."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(7, 1, 6, 6, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (7,), generator=generator)
