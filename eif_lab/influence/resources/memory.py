"""How much memory a piece of work takes, and going on with less at once where there is too little."""

from __future__ import annotations

import ctypes
import gc
import logging
import platform
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from eif_lab.errors import ConfigError, one_line, rule_error, short_of_memory

log = logging.getLogger(__name__)

T = TypeVar("T")

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""As malloc.h numbers them, in bytes: idle memory above the one, and freed blocks above the other, are given back."""


class TooLittleMemory(ConfigError):
    """Not even one fits into memory; a caller that works on many such at once can retry with fewer."""


def peak_bytes(call: Callable[[], Any], device: torch.device | str = "cpu") -> int:
    """The most bytes of tensors, made by ``call``, that were alive at once.

    What lived before is not counted, nor is its end. On CUDA it is the allocator's own figure, which has everything in
    it (torch's peak statistics are reset). Elsewhere every operator's new storages are counted from their making to
    their end, wherever they lie, so that the peak of a model on the ``meta`` device can be had without its memory. A
    view shares its base's storage; what autograd saves is alive until the graph goes. Not seen are the workspaces that
    an operator allocates and frees within itself, what compiled code allocates, and memory that is not a tensor's.

    Args:
        call: What to run; its result is dropped.
        device: Where it runs.
    """
    if torch.device(device).type == "cuda":
        return cuda_peak(call, device)
    with Storages() as storages:
        call()
    return storages.peak


peaks: list[int] = []
"""Of each peak that is being measured on CUDA, one within the other, the most bytes seen before torch's last reset."""


def cuda_peak(call: Callable[[], Any], device: torch.device | str) -> int:
    """As `peak_bytes`, by torch's statistics, which know of one peak at a time."""

    def note() -> None:
        peaks[:] = [max(peak, torch.cuda.max_memory_allocated(device)) for peak in peaks]

    note()
    before = torch.cuda.memory_allocated(device)
    peaks.append(before)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        call()
    finally:
        note()
        peak = peaks.pop()
    return peak - before


class Storages(TorchDispatchMode):
    """Within this, the storages that operators make are followed to their end.

    Attributes:
        alive: Their bytes at present.
        peak: The most there were.
    """

    supports_higher_order_operators = True  # such as torch.cond, whose insides are then not seen

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.peak = 0
        self.known: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self.given: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operator, and count what it returns on storages that it was not given."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for address, storage in storages_in(result).items():
            if address in self.known or address in self.given:
                continue
            # `torch.tensor` makes its storage out of sight, and hands it to this operator, which returns it
            if func is not torch.ops.aten.lift_fresh.default and address in storages_in((args, kwargs)):
                self.given[address] = storage  # kept, so that its address is not another's later
            else:
                self.follow(address, storage)
        return result

    def follow(self, address: int, storage: torch.UntypedStorage) -> None:
        """Count a storage until it dies."""
        size = storage.nbytes()
        self.known[address] = weakref.ref(storage, partial(self.forget, address, size))
        self.alive += size
        self.peak = max(self.peak, self.alive)

    def forget(self, address: int, size: int, _: object) -> None:
        """Count a storage no longer."""
        self.alive -= size
        del self.known[address]


def storages_in(tree: Any) -> dict[int, torch.UntypedStorage]:
    """The storages of all tensors in nested lists, tuples and dictionaries, by the address of the storage object."""
    storages = [tensor.untyped_storage() for tensor in tensors_in(tree) if has_storage(tensor)]
    return {storage._cdata: storage for storage in storages}


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors in what an operator is given or returns; torch's own pytree takes most of an operator's time."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for one in tree:
            yield from tensors_in(one)
    elif isinstance(tree, dict):
        yield from tensors_in(list(tree.values()))


def has_storage(tensor: Tensor) -> bool:
    """Whether it is dense: sparse and quantised ones of MKL-DNN have none to look at."""
    return tensor.layout == torch.strided


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device or the CPU has too little memory.

    Where the kernel promises more than there is (Linux by default), a process can also be ended without one.
    """
    return isinstance(error, torch.OutOfMemoryError | TooLittleMemory) or short_of_memory(error)


@contextmanager
def keep_pages() -> Iterator[None]:
    """Within this, the process keeps memory that the CPU frees, which would be faulted in anew at every pass.

    With glibc; elsewhere nothing happens. It holds for the whole process. Afterwards it is given back, and from then on
    as in a process that has freed a block of 32 MiB, to which glibc adjusts itself.
    """
    libc = glibc()
    if libc is None:
        yield
        return
    try:
        libc.mallopt(MMAP_THRESHOLD, 2**30)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
        yield
    finally:
        libc.mallopt(MMAP_THRESHOLD, 2**25)
        libc.mallopt(TRIM_THRESHOLD, 2**26)
        libc.malloc_trim(0)


@cache
def glibc() -> Any:
    """The C library that allocates for this process, where it is glibc."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def free_caches() -> None:
    """Free unused memory: objects in reference cycles, and the caches of the devices' allocators."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def with_halving(call: Callable[[int], T], size: int, what: str) -> tuple[T, int]:
    """``call(size)``; out of memory, with half the size, and so on; the log says once where it ended.

    Args:
        call: Can be called again after it ran out of memory.
        size: How many at once.
        what: Of what, in the plural.

    Returns:
        The result, and the size that it was had with.

    Raises:
        TooLittleMemory: It is too little for one.
    """
    asked = size
    while True:
        reason = ""
        try:
            result = call(size)
        except Exception as error:
            if not out_of_memory(error):
                raise
            reason = one_line(error).split(". ")[0] or "out of memory"
        # only here, outside, are the exception and its traceback gone, whose frames hold the tensors of the attempt
        if not reason:
            break
        free_caches()
        if size == 1:
            rule = f"fit into memory with one of the {what} at a time"
            hint = "Try a smaller engine.memory_budget, method=lora, or a device with more memory."
            raise TooLittleMemory(str(rule_error("engine", rule, reason, hint)))
        size //= 2
    if size < asked:
        log.warning("out of memory with %d %s at once: going on with %d", asked, what, size)
    return result, size


@dataclass
class Chunks:
    """How many of something are worked on at once, halved for good where memory runs out.

    One is kept for a whole measurement, so that what was found out in one chunk is not found out, and said, again.

    Attributes:
        size: How many.
        what: Of what, in the plural, such as "stimuli".
    """

    size: int
    what: str

    def over(self, count: int, call: Callable[[slice], T]) -> Iterator[T]:
        """``call`` on chunk after chunk.

        Args:
            count: How many there are.
            call: Given the chunk's place; it can be called again, on less, after it ran out of memory.

        Raises:
            TooLittleMemory: It is too little for one.
        """
        start = 0

        def from_here(size: int) -> T:
            return call(slice(start, start + size))

        while start < count:
            asked = min(self.size, count - start)
            result, size = with_halving(from_here, asked, self.what)
            self.size = size if size < asked else self.size
            start += size
            yield result
            del result  # or it would be alive while the next one is made
