"""Recognises errors that mean too little memory, whichever library raises them, and tells them in one line."""

from __future__ import annotations

import errno

SIGNS = (
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "bad_alloc",
    "failed to map segment",
)
"""What errors say where memory is too little: of the CPU's allocators, of MPS, of CUDA's libraries, of the loader."""


def short_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is too little; torch's own are told by `eif_lab.influence.memory`."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | ImportError) and any(sign in str(error) for sign in SIGNS)


def memory_line(error: BaseException) -> str:
    """What ran out, and what to try, in one line."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    hint = "Try a lower engine.memory_budget, fewer stimuli or probes, or more memory for this process (ulimit -v)."
    return f"out of memory ({reason}). {hint}"
