"""Peaks that can be worked out by hand, and work that goes on with less where memory runs out."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from eif_lab.errors import ConfigError
from eif_lab.influence.resources.memory import Chunks, TooLittleMemory, glibc, out_of_memory, peak_bytes, with_halving

N = 1000
ROW = 4 * N  # bytes of N float32 numbers


@pytest.fixture
def x():
    return torch.linspace(0, 1, N)


def chain(x, length):
    for _ in range(length):
        x = x.exp()
    return x


def test_peak_is_what_is_alive_at_once_not_what_was_ever_made(x):
    assert peak_bytes(lambda: torch.empty(N)) == ROW
    assert peak_bytes(lambda: [x + i for i in range(5)]) == 5 * ROW
    with torch.no_grad():
        assert peak_bytes(lambda: chain(x, 5)) == 2 * ROW


def test_peak_counts_the_precision_and_every_output_of_an_operator(x):
    assert peak_bytes(x.double) == 2 * ROW
    assert peak_bytes(x.sort) == ROW + 8 * N  # values and places
    assert peak_bytes(lambda: torch.tensor([1.0, 2.0])) == 8
    assert peak_bytes(lambda: torch.ops.aten.lift_fresh(x + 1)) == ROW  # which `torch.tensor` ends in


def test_peak_counts_no_view_no_work_in_place_and_nothing_from_before(x):
    assert peak_bytes(lambda: x[3:7].expand(9, 4).t().detach()) == 0
    assert peak_bytes(lambda: x.mul_(1)) == 0
    assert peak_bytes(lambda: (x + 1).view(10, -1).t()[2:].mul_(2).unsqueeze(0)) == ROW
    assert peak_bytes(lambda: torch.add(x, 1, out=x)) == 0


def test_a_view_keeps_its_whole_base_alive(x):
    def one_of_each():
        return [(x + i)[:1] for i in range(3)]

    assert peak_bytes(one_of_each) == 3 * ROW


def test_what_autograd_saves_is_alive(x):
    x.requires_grad_()
    assert peak_bytes(lambda: chain(x, 5)) == 5 * ROW  # exp saves its output
    # then, at the first step back: the sum, its gradient, and the gradient by the last output
    assert peak_bytes(lambda: torch.autograd.grad(chain(x, 5).sum(), x)) == 6 * ROW + 8


def test_functional_calls_and_vmap_are_seen(x):
    layer = nn.Linear(N, N, bias=False)
    weight = torch.zeros(N, N)
    with torch.no_grad():
        assert peak_bytes(lambda: functional_call(layer, {"weight": weight}, (x[None],))) == ROW
        assert peak_bytes(lambda: functional_call(layer, {"weight": weight + 1}, (x[None],))) == N * ROW + ROW

    def loss(w, z):
        return (w * z).sum()

    # the products, and when they are gone the gradients, beside five sums and the sums' gradients
    rows = torch.ones(5, N)
    assert peak_bytes(lambda: vmap(grad(loss), (None, 0))(x, rows)) == 5 * ROW + 2 * 5 * 4


def test_peak_of_a_model_without_memory():
    model = nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, 1)).to("meta").requires_grad_(False)
    # the input, and at most two of the two hidden results and the output
    assert peak_bytes(lambda: model(torch.empty(50, N, device="meta")), "meta") == 3 * 50 * ROW


def test_a_result_that_outlives_the_call_does_no_harm(x):
    kept = []
    assert peak_bytes(lambda: kept.append(x + 1)) == ROW
    kept.clear()
    assert peak_bytes(lambda: x + 1) == ROW


def test_peak_within_a_peak_hides_nothing_from_the_outer_one(x):
    def high_then_low():
        peak_bytes(lambda: [x + i for i in range(5)])
        peak_bytes(lambda: x + 1)

    assert peak_bytes(high_then_low) == 5 * ROW


class Statistics:
    """In the place of torch's statistics of a CUDA device."""

    def __init__(self, monkeypatch):
        self.now = self.highest = 100
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: self.now)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: self.highest)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", self.reset)

    def reset(self, _):
        self.highest = self.now

    def use(self, size):
        self.highest = max(self.highest, self.now + size)


def test_peak_on_cuda_is_the_statistics_and_hides_nothing_from_an_outer_one(monkeypatch):
    device = Statistics(monkeypatch)
    inner = []

    def high_then_low():
        device.use(30)
        device.now += 7
        inner.append(peak_bytes(lambda: device.use(50), "cuda"))
        inner.append(peak_bytes(lambda: device.use(2), "cuda"))

    device.use(1000)  # before anything is measured
    assert peak_bytes(high_then_low, "cuda") == 57
    assert inner == [50, 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_peak_on_cuda_is_the_allocators_own():
    x = torch.zeros(2**20, device="cuda")
    assert peak_bytes(lambda: [x + i for i in range(3)], "cuda") == 3 * x.nbytes


def test_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)  # a pebibyte: what the CPU's allocator really raises
    assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("can't allocate memory"))
    assert not out_of_memory(ConfigError("engine must be one"))


class Device:
    """It holds ``room`` numbers at once; what asks for more is out of memory, with tensors in its frames."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked: list[int] = []
        self.alive: list[weakref.ref] = []

    def work(self, rows: slice) -> list[int]:
        assert all(one() is None for one in self.alive), "a failed attempt still holds memory"
        numbers = torch.arange(rows.start, rows.stop)
        self.asked.append(len(numbers))
        if len(numbers) > self.room:
            self.alive.append(weakref.ref(numbers))
            cycle = [numbers]
            cycle.append(cycle)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has none.")
        return numbers.tolist()


@pytest.fixture(autouse=True)
def _no_luck_with_the_garbage_collector():
    gc.disable()
    yield
    gc.enable()


def test_halving_goes_on_with_the_size_that_fits_and_says_so_once(caplog):
    device = Device(room=5)
    result, size = with_halving(lambda size: device.work(slice(0, size)), 32, "stimuli")
    assert (result, size) == ([0, 1, 2, 3], 4)
    assert device.asked == [32, 16, 8, 4]
    assert [r.getMessage() for r in caplog.records] == ["out of memory with 32 stimuli at once: going on with 4"]


def test_work_that_fits_is_done_once_and_nothing_is_said(caplog):
    device = Device(room=32)
    assert with_halving(lambda size: device.work(slice(0, size)), 32, "stimuli")[1] == 32
    assert device.asked == [32] and not caplog.records


def test_too_little_for_one_is_a_users_error_in_one_line():
    message = r"^engine must fit into memory with one of the probes at a time, got 'CUDA out of memory'. Try a smaller "
    with pytest.raises(ConfigError, match=message) as caught:
        with_halving(lambda size: Device(room=0).work(slice(0, size)), 4, "probes")
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None, "the failed attempt's frames hang on the error"


def test_another_error_passes_through_at_once():
    calls = []

    def broken(size: int) -> None:
        calls.append(size)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        with_halving(broken, 8, "stimuli")
    assert calls == [8]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 40])
@pytest.mark.parametrize("room", [1, 3, 8, 100])
def test_chunks_cover_everything_in_order_whatever_fits(count, room):
    device, chunks = Device(room), Chunks(8, "stimuli")
    parts = list(chunks.over(count, device.work))
    assert [number for part in parts for number in part] == list(range(count))
    assert max(map(len, parts)) <= room


def test_chunks_find_out_and_say_once_that_less_fits(caplog):
    device, chunks = Device(room=3), Chunks(8, "stimuli")
    assert [len(part) for part in chunks.over(11, device.work)] == [2, 2, 2, 2, 2, 1]
    assert [len(part) for part in chunks.over(4, device.work)] == [2, 2]
    assert device.asked == [8, 4, 2, 2, 2, 2, 2, 1, 2, 2]
    assert [r.getMessage() for r in caplog.records] == ["out of memory with 8 stimuli at once: going on with 2"]


def test_a_short_last_chunk_does_not_shrink_the_others():
    chunks = Chunks(8, "stimuli")
    device = Device(room=8)
    assert [len(part) for part in chunks.over(11, device.work)] == [8, 3]
    assert [len(part) for part in chunks.over(11, device.work)] == [8, 3]


def test_where_not_one_probe_fits_fewer_stimuli_are_taken():
    """A loop within a loop: each stimulus takes a room's unit, so that probes fit beside two stimuli, not four."""
    stimuli, probes = Chunks(4, "stimuli"), Chunks(2, "probes")

    def update_and_read(rows: slice) -> list[tuple[int, int]]:
        held = rows.stop - rows.start

        def read(some: slice) -> list[int]:
            if held + some.stop - some.start > 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return list(range(some.start, some.stop))

        return [(i, j) for i in range(rows.start, rows.stop) for part in probes.over(3, read) for j in part]

    pairs = [pair for part in stimuli.over(4, update_and_read) for pair in part]
    assert pairs == [(i, j) for i in range(4) for j in range(3)]
    assert (stimuli.size, probes.size) == (2, 1)


def test_a_chunk_is_not_kept_while_the_next_is_made():
    made: list[weakref.ref] = []

    def work(rows: slice) -> torch.Tensor:
        assert not made or made[-1]() is None
        part = torch.zeros(rows.stop - rows.start)
        made.append(weakref.ref(part))
        return part

    for part in Chunks(2, "stimuli").over(6, work):
        del part
    assert len(made) == 3
    assert isinstance(TooLittleMemory(""), ConfigError)


KEPT = """
import resource, torch
from eif_lab.influence.resources.memory import keep_pages

def faults():
    for size in (2_000_000, 3_000_000):
        held = [torch.ones(size), torch.ones(size)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

with keep_pages():
    torch.ones(100_000_000)
    faults()
    before = faults()
    within = faults() - before, resident()
torch.ones(1_000_000)
print(*within, resident())
"""


@pytest.mark.skipif(glibc() is None, reason="only of glibc is it known how it gives memory back")
def test_freed_memory_is_kept_while_it_is_needed_and_given_back_afterwards():
    ended = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    faults, within, afterwards = map(int, ended.stdout.split())
    assert faults < 500  # 40 MB are 10,000 pages
    assert within - afterwards > 3e8
