"""A store of 100,000 x 100,000, in the layout that jobs write, on little disk and in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from eif_lab.files.checksums import sha256
from eif_lab.results.arrays import CHUNK_BYTES, blocks, open_array, write_array

SIDE, KINDS, CLASSES = 100_000, 3, 10
ROWS = CHUNK_BYTES // (4 * SIDE)
MOST = 2**30
"""Bytes; what zarr reads at once (10 chunks), and how much of it, is a matter of timing: 320 to 430 MiB were seen."""


def value(rows: np.ndarray) -> np.ndarray:
    """The law that the store is filled by: a row's kind of chunk, and its class: (rows,)."""
    return (rows // ROWS % KINDS + rows % ROWS % CLASSES).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three kinds of chunks, written as jobs write them; every chunk of the large store is a link to one of them."""
    folder = tmp_path_factory.mktemp("scale")
    rows = np.arange(KINDS * ROWS)
    probes = np.arange(SIDE)
    values = np.broadcast_to(value(rows)[:, None], (len(rows), SIDE))[None, :, None, :, None]
    coords = {
        "seed": [0],
        "stimulus": rows,
        "step": [1],
        "probe": probes,
        "readout": ["log_prob"],
        "probe_class": ("probe", probes % CLASSES),
        "distance_class": (("stimulus", "probe"), values[0, :, 0, :, 0]),
    }
    dims = ("seed", "stimulus", "step", "probe", "readout")
    write_array(folder / "influence.zarr", xr.DataArray(values, dims=dims, coords=coords))
    sums = enlarge(folder / "influence.zarr")
    (folder / "sums.json").write_text(json.dumps(sums))
    return folder


def enlarge(path: Path) -> dict[str, str]:
    """Make the store as high as it is wide, by its metadata and by links; the checksum of each of its files."""
    known: dict[int, str] = {}
    for name, axis in (("influence", 1), ("distance_class", 0), ("stimulus", 0)):
        told = json.loads((path / name / "zarr.json").read_text())
        told["shape"][axis] = SIDE
        if name == "stimulus":
            told["chunk_grid"]["configuration"]["chunk_shape"] = [SIDE]
        (path / name / "zarr.json").write_text(json.dumps(told))
        for number in range(KINDS, -(-SIDE // ROWS)) if name != "stimulus" else ():
            place = [str(number % KINDS if i == axis else 0) for i in range(len(told["shape"]))]
            source = path.joinpath(name, "c", *place)
            place[axis] = str(number)
            target = path.joinpath(name, "c", *place)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
    write_stimuli(path)

    files = [one for one in path.rglob("*") if one.is_file()]
    for file in files:
        if file.stat().st_ino not in known:  # links are one file
            known[file.stat().st_ino] = sha256(file.read_bytes())
    return {str(file.relative_to(path.parent)): known[file.stat().st_ino] for file in files}


def write_stimuli(path: Path) -> None:
    """The coordinate of the stimuli, whole."""
    import zarr

    zarr.open_array(path / "stimulus", mode="r+")[:] = np.arange(SIDE)


READER = r"""
import json, re, sys
import numpy as np
from pathlib import Path
from eif_lab.results.arrays import blocks, open_array

def peak():
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])

folder = Path(sys.argv[1])
before = peak()
array = open_array(folder / "influence.zarr", json.loads((folder / "sums.json").read_text()))
told = {"shape": array.shape, "bytes": array.nbytes}
one = array.isel(stimulus=77_777)
told["row"] = [float(one.values.min()), float(one.values.max()), float(one["distance_class"].values.max())]
told["column"] = array.isel(stimulus=slice(50_000, 51_000), probe=99_999).values.ravel().tolist()
told["block"] = float(array.isel(stimulus=slice(99_990, 100_000), probe=slice(0, 5)).values.sum())
means, classes = [], []
for part in blocks(array.isel(stimulus=slice(0, 4_000))):
    flat = part.values[0, :, 0, :, 0]
    means += flat.mean(1, dtype=float).tolist()
    classes.append(part.groupby("probe_class").mean().values.reshape(len(flat), -1))
told["means"], told["classes"] = means, np.concatenate(classes)[:, 3].tolist()
told["memory"] = peak() - before
print(json.dumps(told))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's peak memory")
def test_a_store_of_100_000_by_100_000_opens_slices_and_aggregates_in_little_memory(store):
    done = subprocess.run([sys.executable, "-c", READER, store], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(done.stdout)
    assert record["shape"] == [1, SIDE, 1, SIDE, 1] and record["bytes"] == 4 * SIDE**2
    assert record["row"] == [float(value(np.array([77_777]))[0])] * 3
    np.testing.assert_array_equal(record["column"], value(np.arange(50_000, 51_000)))
    assert record["block"] == 5 * value(np.arange(99_990, 100_000)).sum()
    np.testing.assert_allclose(record["means"], value(np.arange(4_000)))
    np.testing.assert_allclose(record["classes"], value(np.arange(4_000)))
    assert 0 < record["memory"] < MOST


def test_blocks_are_the_array(tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 50, 1, 7, 2)).astype(np.float32)
    coords = {"stimulus": np.arange(50), "stimulus_class": ("stimulus", np.arange(50) % 3)}
    array = xr.DataArray(values, dims=("seed", "stimulus", "step", "probe", "readout"), coords=coords)
    write_array(tmp_path / "influence.zarr", array)
    parts = list(blocks(open_array(tmp_path / "influence.zarr"), most=1))
    xr.testing.assert_equal(xr.concat(parts, "stimulus"), array.rename("influence"))
    assert len(parts) == 1  # one chunk is read at once


def test_a_large_coordinate_stays_on_disk_until_it_is_sliced(tmp_path, monkeypatch):
    monkeypatch.setattr("eif_lab.results.arrays.LARGEST_COORDINATE", 100)
    relation = np.array([["direct", "entailed"], ["foil", "direct"]] * 4)
    coords = {"relation": (("stimulus", "probe"), relation)}
    array = xr.DataArray(
        np.zeros((1, 8, 1, 2, 1), np.float32), dims=("seed", "stimulus", "step", "probe", "readout"), coords=coords
    )
    write_array(tmp_path / "influence.zarr", array)
    found = open_array(tmp_path / "influence.zarr")
    assert not found["relation"].variable._in_memory
    assert (found.isel(stimulus=1)["relation"].values == relation[1]).all()
