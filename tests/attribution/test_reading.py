"""Scores are read from every format, in the task's order and with its sign; what is none is one line."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr
import zarr
from safetensors.torch import save_file

from eif_lab import annotate, judge, load_task
from eif_lab.attribution import SOURCES, read_scores
from eif_lab.errors import ConfigError


@pytest.fixture(scope="module")
def task():
    return load_task("ontology", worlds=3, stimuli_per_world=2)


@pytest.fixture(scope="module")
def scores(task):
    return np.random.default_rng(0).normal(size=task.relation.shape).astype(np.float32)


def labelled(scores, task):
    coords = {"stimulus_id": ("stimulus", task.stimuli.ids), "probe_id": ("probe", task.probes.ids)}
    return xr.DataArray(scores, coords, dims=("stimulus", "probe"), name="influence")


def write_bergson(folder, scores, finished=True, **info):
    """As `bergson.score.score_writer.MemmapSequenceScoreWriter` lays it out, by its documentation."""
    folder.mkdir()
    names = [f"{kind}_{query}" for query in range(scores.shape[1]) for kind in ("score", "written")]
    places = [8 * query + place for query in range(scores.shape[1]) for place in (0, 4)]
    kind = {
        "names": names,
        "formats": ["<f4", "?"] * scores.shape[1],
        "offsets": places,
        "itemsize": 8 * scores.shape[1],
    }
    stored = np.zeros(len(scores), dtype=kind)
    for query in range(scores.shape[1]):
        stored[f"score_{query}"], stored[f"written_{query}"] = scores[:, query], finished
    stored.tofile(folder / "scores.bin")
    whole = {"num_items": len(scores), "num_rows": len(scores), "num_scores": scores.shape[1], "dtype": kind}
    (folder / "info.json").write_text(json.dumps({"attribute_tokens": False, **whole, **info}))


def long(scores, task):
    """A row for each pair, in an order of its own."""
    pairs = pd.MultiIndex.from_product([task.stimuli.ids, task.probes.ids], names=["stimulus_id", "probe_id"])
    return pd.DataFrame({"score": scores.ravel()}, index=pairs).reset_index().sample(frac=1, random_state=0)


WRITERS = {
    "scores.npy": lambda path, s, task: np.save(path, s),
    "scores.pt": lambda path, s, task: torch.save(torch.from_numpy(s), path),
    "long.parquet": lambda path, s, task: long(s, task).to_parquet(path),
    "wide.parquet": lambda path, s, task: pd.DataFrame(s, columns=[f"p{j}" for j in range(s.shape[1])]).to_parquet(
        path
    ),
    "scores.zarr": lambda path, s, task: labelled(s, task)[::-1, ::-1].to_zarr(path),
    "scores.nc": lambda path, s, task: labelled(s, task)[::-1, ::-1].to_netcdf(path),
    "plain.nc": lambda path, s, task: xr.DataArray(s, dims=("stimulus", "probe")).to_netcdf(path),
    "pairwise_scores.safetensors": lambda path, s, task: save_file(
        {"first": torch.from_numpy(s.T / 4).contiguous(), "second": torch.from_numpy(s.T * 3 / 4).contiguous()}, path
    ),
    "bergson": lambda path, s, task: write_bergson(path, s),
}


@pytest.mark.parametrize("name", WRITERS)
def test_scores_come_back_from_every_format_in_the_tasks_order(tmp_path, task, scores, name):
    WRITERS[name](tmp_path / name, scores, task)
    assert np.allclose(read_scores(tmp_path / name, task), scores, atol=1e-6)
    assert np.allclose(read_scores(str(tmp_path / name), task, reverse=True), -scores, atol=1e-6)


@pytest.mark.parametrize("source", SOURCES)
def test_each_programs_way_round_is_known(tmp_path, task, scores, source):
    np.save(tmp_path / "scores.npy", scores.T if SOURCES[source].probes_first else scores)
    assert np.allclose(read_scores(tmp_path / "scores.npy", task, source=source), scores)


def test_bergsons_config_says_its_sign(tmp_path, task, scores):
    write_bergson(tmp_path / "store", scores)
    config = "steps:\n- score:\n    score_cfg:\n      higher_is_better: false\n"
    (tmp_path / "store" / "config.yaml").write_text(config)
    assert np.allclose(read_scores(tmp_path / "store", task), -scores)


def test_a_jobs_own_array_is_read_by_its_names_with_its_unit(tmp_path, task, scores):
    whole = annotate(scores, task).expand_dims(seed=[0], step=[3], readout=["log_prob"])
    whole.assign_attrs(units=json.dumps({"log_prob": "nat"})).to_dataset(name="influence").isel(
        stimulus=slice(1, None)
    ).to_zarr(tmp_path / "influence.zarr")
    found = read_scores(tmp_path / "influence.zarr", task)
    assert found.attrs["unit"] == "nat"
    assert np.allclose(found[1:], scores[1:]) and np.isnan(found[0]).all()  # a stimulus that the file does not have


def test_of_several_seeds_it_is_the_mean_and_ids_that_are_numbers_are_ids(tmp_path, scores):
    task = load_task("digits", stimuli=6, probes=8)
    scores = np.random.default_rng(0).normal(size=task.relation.shape)
    ids = {"stimulus_id": ("stimulus", np.arange(6)), "probe_id": ("probe", np.arange(8))}
    task = replace(
        task,
        stimuli=replace(task.stimuli, ids=np.arange(6).astype(str)),
        probes=replace(task.probes, ids=np.arange(8).astype(str)),
    )
    runs = xr.DataArray(np.stack([scores - 1, scores + 1]), ids, dims=("seed", "stimulus", "probe"))
    runs[:, ::-1, ::-1].to_netcdf(tmp_path / "scores.nc")
    assert np.allclose(read_scores(tmp_path / "scores.nc", task), scores)


def test_an_array_whose_stimuli_are_read_on_some_probes_only_is_read_again(tmp_path):
    task = load_task("ontology", worlds=6, stimuli_per_world=1, elsewhere=2)
    assert not task.read.all(axis=1).any()
    scores = annotate(np.random.default_rng(0).normal(size=task.relation.shape), task)
    scores.to_dataset(name="influence").to_zarr(tmp_path / "influence.zarr")
    np.testing.assert_array_equal(read_scores(tmp_path / "influence.zarr", task), np.where(task.read, scores, np.nan))
    scores.where(scores["relation"] == "none of these").to_dataset(name="influence").to_zarr(tmp_path / "none.zarr")
    with pytest.raises(ConfigError, match="path must hold finite scores of at least one stimulus"):
        read_scores(tmp_path / "none.zarr", task)


@pytest.mark.parametrize(
    ("units", "readout", "unit"),
    [
        ("nat", None, "nat"),
        ("1", None, "1"),
        ('["nat"]', None, '["nat"]'),
        (2.5, None, "2.5"),
        (json.dumps({"log_prob": "nat"}), None, "nat"),
        (json.dumps({"log_odds": "logit"}), "log_odds", "logit"),  # the only one there is, whichever is asked for
        (json.dumps({"log_odds": "logit"}), None, "score"),
        ("", None, "score"),
    ],
)
def test_a_unit_is_that_of_the_readout_or_the_text_itself(tmp_path, task, scores, units, readout, unit):
    array = labelled(scores, task).assign_attrs(units=units)
    array = array if readout is None else array.expand_dims(readout=[readout])
    array.to_netcdf(tmp_path / "scores.nc")
    assert read_scores(tmp_path / "scores.nc", task).attrs["unit"] == unit


def test_the_table_of_programs_says_what_the_code_holds():
    text = (Path(__file__).parents[2] / "docs/scores.md").read_text(encoding="utf-8").replace("`", "")
    table = text.split("| source |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert [row[:4] for row in rows] == [
        [name, "(probes, stimuli)" if one.probes_first else "(stimuli, probes)", one.sign, one.scale]
        for name, one in SOURCES.items()
    ]


def test_what_is_read_can_be_judged(tmp_path):
    task = load_task("ontology", worlds=8, stimuli_per_world=2)
    noise = np.random.default_rng(0).normal(scale=0.1, size=task.relation.shape)
    right = np.isin(task.relation, ("direct", "entailed")) + noise
    for factor, reverse, outcome in ((1, False, "satisfied"), (1e6, False, "satisfied"), (-1, True, "satisfied")):
        np.save(tmp_path / "scores.npy", factor * right)
        scores = read_scores(tmp_path / "scores.npy", task, reverse=reverse)
        assert judge(annotate(scores, task), "logic")[0].outcome() == outcome


# Mistakes, and what others may have made


class Malicious:
    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


def duplicated(path, s, task):
    pd.concat([long(s, task)] * 2).to_parquet(path)


def of_other_worlds(path, s, task):
    other = load_task("ontology", worlds=3, stimuli_per_world=2, seed=1)
    labelled(s, other).to_netcdf(path)


MISTAKES = {
    "none.npy": (lambda path, s, task: None, "path must name a file or a folder, got"),
    "scores.csv": (
        lambda path, s, task: path.write_text("1,2"),
        "path must name scores in a known format (.npy, .mmap,",
    ),
    "folder": (lambda path, s, task: path.mkdir(), "path must name scores in a known format"),
    "small.npy": (lambda path, s, task: np.save(path, s[1:]), "path must hold scores (stimuli, probes) of this task"),
    "turned.npy": (lambda path, s, task: np.save(path, s.T), "source=captum, whose arrays are the other way round."),
    "texts.npy": (lambda path, s, task: np.save(path, s.astype(str)), "path must be real numbers"),
    "nan.npy": (
        lambda path, s, task: np.save(path, s * np.nan),
        "path must hold finite scores of at least one stimulus",
    ),
    "cut.npy": (lambda path, s, task: path.write_bytes(b"\x93NUMPY\x01"), "path must name scores that can be read ("),
    "object.npy": (lambda path, s, task: np.save(path, np.array([{}])), "path must name scores that can be read ("),
    "dict.pt": (
        lambda path, s, task: torch.save({"a": torch.zeros(2)}, path),
        "path must hold one tensor, got 'dict'.",
    ),
    "twice.parquet": (duplicated, "path must hold each pair of a stimulus and a probe once"),
    "other.nc": (of_other_worlds, "path must name samples of this task in"),
    "some.nc": (lambda p, s, task: labelled(s, task)[:, 1:].to_netcdf(p), "path must have a score for each of"),
    "dims.nc": (
        lambda p, s, t: xr.DataArray(s, dims=("a", "b")).to_netcdf(p),
        "path must hold one array with the dims",
    ),
    "tokens": (
        lambda path, s, task: write_bergson(path, s, attribute_tokens=True),
        "path must hold a score for each stim",
    ),
    "half": (lambda path, s, task: write_bergson(path, s, finished=False), "path must hold scores that are finished"),
    "huge": (lambda path, s, task: write_bergson(path, s, num_rows=10**15), "path must name scores that can be read ("),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_no_scores_of_the_task_is_one_line(tmp_path, task, scores, name):
    write, line = MISTAKES[name]
    write(tmp_path / name, scores, task)
    with pytest.raises(ConfigError) as told:
        read_scores(tmp_path / name, task)
    assert line in str(told.value) and "\n" not in str(told.value)


def test_a_table_of_other_samples_is_refused_before_a_cell_is_made_for_each_pair(tmp_path, task, monkeypatch):
    """A small file can name so many samples that an array of their pairs fits no memory."""
    names = [f"s{i}" for i in range(2000)]
    pd.DataFrame({"stimulus_id": names, "probe_id": names, "score": 1.0}).to_parquet(tmp_path / "long.parquet")
    monkeypatch.setattr(pd.DataFrame, "pivot", lambda *_, **__: pytest.fail("a cell for each pair"))
    with pytest.raises(ConfigError, match=f"path must hold scores of at most {len(task.stimuli)} stimuli"):
        read_scores(tmp_path / "long.parquet", task)


def test_a_table_with_more_rows_than_pairs_is_refused_before_it_is_read(tmp_path, task, monkeypatch):
    one = {"stimulus_id": task.stimuli.ids[0], "probe_id": task.probes.ids[0], "score": 1.0}
    pd.DataFrame(one, index=range(10**5)).to_parquet(tmp_path / "long.parquet")
    assert pq.ParquetFile(tmp_path / "long.parquet").metadata.num_rows == 10**5
    monkeypatch.setattr(pd, "read_parquet", lambda *_, **__: pytest.fail("the whole table"))
    with pytest.raises(ConfigError, match="path must hold each pair of a stimulus and a probe once"):
        read_scores(tmp_path / "long.parquet", task)


@pytest.mark.parametrize("name", ["stimulus", "stimulus_id"])
def test_named_scores_that_declare_more_than_the_task_are_refused_before_they_are_read(tmp_path, task, name):
    """The file is empty: all that it holds are headers, and to read the names would take terabytes."""
    many, group = 10**12, zarr.open_group(tmp_path / "large.zarr", mode="w")
    sizes = {"stimulus": many, "probe": len(task.probes)}
    options = {"chunks": (1000, sizes["probe"]), "dimension_names": ("stimulus", "probe")}
    array = group.create_array("influence", shape=tuple(sizes.values()), dtype="f4", **options)
    names = [name, name.replace("stimulus", "probe")]
    array.attrs["coordinates"] = " ".join(names)
    for one, (dim, size) in zip(names, sizes.items()):
        group.create_array(one, shape=(size,), chunks=(1000,), dtype="<U4", dimension_names=(dim,))
    with pytest.raises(ConfigError, match=f"path must hold scores of at most {len(task.stimuli)} stimuli"):
        read_scores(tmp_path / "large.zarr", task)


@pytest.mark.skipif(find_spec("h5netcdf") is not None, reason="h5netcdf is installed")
def test_netcdf_of_version_4_says_what_it_takes(tmp_path, task):
    (tmp_path / "scores.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ConfigError, match="Try pip install 'eif-lab\\[netcdf\\]'"):
        read_scores(tmp_path / "scores.nc", task)


@pytest.mark.parametrize("name", ["scores.npy", "scores.pt", "scores.mmap", "scores.safetensors", "scores.nc"])
def test_a_pickle_in_the_place_of_scores_is_refused_and_not_run(tmp_path, task, name):
    (tmp_path / name).write_bytes(pickle.dumps(Malicious(tmp_path / "ran")))
    with pytest.raises(ConfigError) as told:
        read_scores(tmp_path / name, task)
    assert not (tmp_path / "ran").exists() and "\n" not in str(told.value)


def test_an_array_of_pickles_is_refused_and_not_run(tmp_path, task):
    np.save(tmp_path / "scores.npy", np.array([[Malicious(tmp_path / "ran")]], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError):
        read_scores(tmp_path / "scores.npy", task)
    assert not (tmp_path / "ran").exists()
