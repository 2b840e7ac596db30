"""The device that a job computes on, and whether it does so by deterministic algorithms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from eif_lab.errors import rule_error

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Within this, torch gives the same bits again on the same machine; an operator that cannot raises a RuntimeError.

    Afterwards every setting is what it was.

    Args:
        wanted: Whether at all; else nothing is touched.
    """
    if not wanted:
        yield
        return
    # cuBLAS is deterministic only with a workspace of its own for each stream; it looks when CUDA is first used
    workspace = os.environ.get(CUBLAS)
    os.environ.setdefault(CUBLAS, ":4096:8")
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop(CUBLAS, None)


def must_be_usable(device: str, dtype: str = "float32") -> None:
    """Refuse a device that torch does not know, cannot use here, or that has no numbers of that precision.

    Raises:
        ConfigError: With torch's own reason.
    """
    try:
        torch.zeros(1, dtype=getattr(torch, dtype), device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).strip().splitlines()[0].split(". ")[0]
        raise rule_error("device", f"be one that torch can use here ({reason})", device, "Try cpu.") from None
