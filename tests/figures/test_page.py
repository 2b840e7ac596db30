"""The page: what it holds is what the store holds, whatever the texts contain, and a browser shows it."""

import base64
import gzip
import html.parser
import json
import re
import shutil
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eif_lab import judge, load_task
from eif_lab.commands.report import main
from eif_lab.data.images.digits import Digits
from eif_lab.data.images.image_folder import ImageFolder
from eif_lab.data.images.mnist import MNIST
from eif_lab.data.task import RELATIONS
from eif_lab.desiderata.format import number_text
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.desiderata.wording import explain
from eif_lab.influence.array import annotate
from eif_lab.learners import imitate
from eif_lab.options import Options
from eif_lab.page.arrays import most_moved, overview, shares, strongest_cells
from eif_lab.page.matrix import short_overrides
from eif_lab.page.page import BUDGETS, LARGEST_PAGE, Budget, job_names, render_page, write_page
from eif_lab.page.pictures import Pictures
from eif_lab.perturbations.noise import Noise
from eif_lab.results.job import JobResults, write_job
from eif_lab.results.manifest import Manifest, manifest_text
from eif_lab.results.rows import ADDED
from eif_lab.results.sweep import open_results

HOSTILE = "</script><img src=x onerror=alert(1)> & \"quotes\" 'single' {{ 7 * 7 }} | is <b>bold</b>"
CONFIG = {
    "seed": 0,
    "dataset": {"_target_": "eif_lab.data.images.digits.Digits", "name": "digits", "stimuli": 12, "probes": 12},
    "method": {"_target_": "eif_lab.methods.full.Full"},
    "perturbation": {"_target_": "eif_lab.perturbations.include.Include"},
}
TYPES = {"float32": np.float32, "int32": np.int32, "uint8": np.uint8}


def array_of(values, readouts=("log_prob",)):
    """Values (stimulus, probe) as an array of one seed and one step."""
    dims = ("seed", "stimulus", "step", "probe", "readout")
    coords = {"seed": [0], "step": [1], "readout": list(readouts)}
    attrs = {"units": json.dumps({"log_prob": "nat"}), "sign": "after minus before"}
    return xr.DataArray(values[None, :, None, :, None].astype(np.float32), dims=dims, coords=coords, attrs=attrs)


def images(random):
    """12 digits by 12 digits, with one undefined row."""
    task = Digits(stimuli=12, probes=12).load(0)
    values = np.random.default_rng(random).normal(size=(12, 12)) / 3
    values[5] = np.nan
    return annotate(array_of(values), task, task.distances, "class")


def statements(label="a dax |is a bird", worlds=3, each=4):
    """Texts in worlds, more probes than stimuli."""
    rng = np.random.default_rng(7)
    stimuli, probes = worlds * 2, worlds * each
    array = array_of(rng.normal(size=(stimuli, probes)))
    coords = {
        "stimulus_id": ("stimulus", [f"s{i} {label}" for i in range(stimuli)]),
        "stimulus_label": ("stimulus", [f"s{i} {label}" for i in range(stimuli)]),
        "stimulus_world": ("stimulus", np.arange(stimuli) % worlds),
        "stimulus_neutral": ("stimulus", np.arange(stimuli) == 1),
        "probe_id": ("probe", [f"p{j} {label}" for j in range(probes)]),
        "probe_label": ("probe", [f"p{j} {label}" for j in range(probes)]),
        "probe_world": ("probe", np.arange(probes) % worlds),
        "relation": (("stimulus", "probe"), rng.choice(RELATIONS, size=(stimuli, probes))),
    }
    return array.assign_coords(coords)


def write(path, array, name="cnn digits full", note="", **more):
    findings = [Finding("auc", 0.7, 0.65, 0.75, 0.01, 12, "stimuli", 0.6)]
    verdict = Verdict("symmetry", "a sample teaches as it is taught", findings, 0.05, note=note)
    strength = {"statistic": "strength", "effect": 0.5, "low": 0.4, "high": 0.6, "n": 12, "unit": "stimuli"}
    manifest = {
        "name": name,
        "status": "done",
        "config": CONFIG,
        "seeds": [0],
        "strength": strength,
        "unit": "nat",
    }
    write_job(
        path,
        manifest | {"base_model": {"name": name.split()[0], "hash": "0"}, **more},
        array,
        [verdict],
        {"logic": "no foils"},
    )
    return open_results(path)


def data_of(page):
    """The page's data, its contents decoded."""

    text = page.split('id="data">')[1].split("</script>")[0]
    data = json.loads(text)
    for name, item in data["contents"].items():
        raw = base64.b64decode(item["content"])
        if item["kind"] in TYPES:
            raw = np.frombuffer(gzip.decompress(raw), TYPES[item["kind"]])
        elif item["kind"] == "json":
            raw = json.loads(gzip.decompress(raw))
        data["contents"][name] = raw
    return data


def cells_on(data, job=0, readout="log_prob"):
    """What the page shows as (stimulus, probe, value, relation), cell by cell."""
    told = data["jobs"][job]["readouts"][readout]
    get = lambda name: data["contents"][told[name]]  # noqa: E731
    height, width = told["block"]
    columns = len(get("columns")) // width
    for at, (value, offset, relation) in enumerate(zip(get("values"), get("offsets"), get("relations"))):
        row, column = divmod(at, columns)
        stimulus = get("rows")[row * height + offset // width]
        yield stimulus, get("columns")[column * width + offset % width], value, relation


def test_every_cell_on_the_page_is_the_stores(tmp_path):
    job = write(tmp_path / "job", statements(), "phi3-tiny ontology full")
    stored = job.influence.sel(readout="log_prob").isel(seed=0, step=-1)
    seen = set()
    for stimulus, probe, value, relation in cells_on(data_of(render_page(job))):
        assert value == stored.isel(stimulus=stimulus, probe=probe).item()
        assert RELATIONS[relation] == stored["relation"].isel(stimulus=stimulus, probe=probe).item()
        seen.add((stimulus, probe))
    assert len(seen) == stored.size


@pytest.mark.parametrize("cells", [1, 7, 30, 1000])
def test_a_block_shows_its_strongest_cell_and_says_which(cells):
    rng = np.random.default_rng(cells)
    values = rng.normal(size=(7, 11)).astype(np.float32)
    values[2] = np.nan
    relations = rng.integers(0, 6, size=values.shape).astype(np.uint8)
    seen = overview(values, relations, (rng.permutation(7), rng.permutation(11)), cells)
    assert seen.values.size <= cells
    held = [sorted(index for index in units.ravel() if index >= 0) for units in (seen.rows, seen.columns)]
    assert held == [list(range(7)), list(range(11))]
    for r, row in enumerate(seen.rows):
        for c, column in enumerate(seen.columns):
            block = [(i, j) for i in row for j in column if i >= 0 and j >= 0]
            known = [cell for cell in block if not np.isnan(values[cell])]
            best = max(known or block, key=lambda cell: abs(values[cell]) if known else 0)
            down, across = divmod(seen.offsets[r, c], len(column))
            assert (row[down], column[across]) == best or not known
            assert np.array_equal(seen.values[r, c], values[best], equal_nan=True)
            assert not known or seen.relations[r, c] == relations[best]


def test_the_most_moved_probes_and_strongest_cells_are_those_of_a_full_sort():
    values = np.random.default_rng(1).normal(size=(9, 30))
    values[3, :25] = np.nan
    moved = most_moved(values, 4)
    for row, found in zip(values, moved):
        known = sorted((j for j in range(30) if not np.isnan(row[j])), key=lambda j: row[j])
        assert found[:4].tolist() == known[::-1][:4]
        assert found[4:].tolist() == known[:4]
    order = sorted((k for k in range(values.size) if not np.isnan(values.flat[k])), key=lambda k: -abs(values.flat[k]))
    assert strongest_cells(values, 11).tolist() == order[:11]


def test_small_arrays_are_whole_before_large_ones_get_more():
    assert shares([10, 10, 1000], 520) == [10, 10, 500]
    assert shares([1000, 1000], 500) == [250, 250]
    assert shares([5, 5], 500) == [5, 5]


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_data(self, data):
        self.text += data


def read(page):
    tags = Tags()
    tags.feed(page)
    return tags


def test_markup_in_names_notes_and_texts_stays_text(tmp_path):
    plain = write(tmp_path / "plain", statements(), "cnn plain", note="plain", reason="plain")
    hostile = write(tmp_path / "hostile", statements(HOSTILE), f"cnn {HOSTILE}", note=HOSTILE, reason=HOSTILE)
    claims = [dict.fromkeys(("claim", "what", "verdict", "agrees"), HOSTILE) | {"effect": 1, "low": 0, "high": 2}]
    tags = read(render_page(hostile, claims))
    assert tags.tags == read(render_page(plain, claims)).tags
    assert tags.text.count(HOSTILE) >= 5
    data = data_of(render_page(hostile))
    assert data["contents"][data["jobs"][0]["samples"]["stimulus"]]["ids"][0] == f"s0 {HOSTILE}"


def test_claims_come_last_and_only_when_given(tmp_path):
    job = write(tmp_path, statements())
    row = {"claim": "arrays are symmetric", "what": "cnn", "effect": 0.9, "low": 0.8, "high": 1.0}
    without, rows, text = (
        render_page(job, claims)
        for claims in (None, [row | {"verdict": "satisfied", "agrees": True}], "| claim | agrees |")
    )
    assert 'id="claims"' not in without
    for page in (rows, text):
        assert read(page).ids[-2:] == ["claims", "data"]
    assert "arrays are symmetric" in rows and "0.9 [0.8, 1]" in rows and "| claim | agrees |" in text


def test_the_model_is_called_by_its_own_name(tmp_path):
    base = {"name": "phi3-tiny", "hash": "0", "parameters": 891008}
    page = render_page(write(tmp_path, statements(), "phi3-tiny ontology full", base_model=base))
    assert "phi3-tiny (891,008 parameters)" in page
    assert "Phi-3" not in page


def test_verdicts_of_a_sweep_are_those_of_its_table(tmp_path):
    for name in ("cnn digits full", "cnn digits lora"):
        write(tmp_path / name, images(0), name)
    write_job(tmp_path / "failed", {"name": "cnn digits bad", "status": "failed", "reason": "no memory"}, None, [], {})
    sweep = open_results(tmp_path)
    page = read(render_page(sweep))
    for row in sweep.table.itertuples():
        assert row.job in page.text and row.reason in page.text
        if row.status == "done":
            assert f"p = {row.p_adjusted:.2g} against {row.threshold:g} or less" in page.text
            assert f"{row.n} {row.unit}" in page.text and row.explanation in page.text
    assert {"run", "verdicts", "arrays", "stimulus", "jobs"} <= set(page.ids)
    assert job_names(sweep) == [job.manifest["name"] for job in sweep.jobs]


VIOLATED = {
    "reversed": Finding("gain", -0.4, -0.5, -0.3, 0.9999, 9, "worlds", 0.0, 0.0001),
    "absent": Finding("share", 0.03, 0.01, 0.05, 0.98, 9, "worlds", 0.1, 0.02, 0.02),
    "short": Finding("reach", 0.05, 0.03, 0.07, 0.97, 9, "worlds", 0.1, 0.03),
}


@pytest.mark.parametrize("how", VIOLATED)
def test_a_violated_finding_says_how_with_its_own_p_value_its_bar_and_chance(tmp_path, how):
    finding = VIOLATED[how]
    verdict = Verdict("logic", "what follows rises", [finding], 0.05)
    for name in ("a", "b"):
        write_job(tmp_path / name, {"name": name, "status": "done", "config": CONFIG}, None, [verdict], {})
    p = "p <= 0.001" if how == "reversed" else f"p = {finding.p_violated:g}"
    p += f" against {finding.threshold:g} or more"
    bar = {"reversed": "gain > 0", "absent": "share > 0.1 (chance 0.02)", "short": "reach > 0.1"}[how]
    job = read(render_page(open_results(tmp_path / "a"))).text
    assert f"✗ violated: {how}" in job and bar in job and p in job and explain(verdict) in job
    sweep = read(render_page(open_results(tmp_path)))
    assert sweep.text.count(f"✗ violated: {how}") == 2 and sweep.text.count(p) == 2
    assert f"violated, p {finding.p_violated:g}" not in sweep.text


def test_what_an_earlier_version_judged_is_on_the_page_as_it_was(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, statements())
        frame = pd.read_parquet(tmp_path / name / "verdicts.parquet")
        frame = frame.drop(columns=list(ADDED)).assign(verdict="violated", finding_verdict="violated")
        frame.to_parquet(tmp_path / name / "verdicts.parquet")
        (tmp_path / name / "checksums.txt").unlink()
        told = json.loads((tmp_path / name / "manifest.json").read_text())
        told = {key: value for key, value in told.items() if key not in ("checksum", "strength")}
        told |= {"format": 2, "direct_influence": {"effect": 0.7, "low": 0.6, "high": 0.8}}
        (tmp_path / name / "manifest.json").write_text(manifest_text(told))
    for results in (open_results(tmp_path), open_results(tmp_path / "a")):
        text = read(render_page(results)).text
        assert "✗ violated" in text and "✗ violated:" not in text
        assert "Direct influence" in text and "0.7 [0.6, 0.8] nat" in text


def test_the_bounding_learners_stand_beside_each_finding(tmp_path):
    task = load_task("ontology", worlds=8, stimuli_per_world=2)
    fields = {"logic": {"_target_": "eif_lab.desiderata.logic.Logic"}}
    for number, name in enumerate(("a", "b")):
        scores = np.isin(task.relation, ("direct", "entailed")) + np.random.default_rng(number).normal(
            scale=0.3, size=task.relation.shape
        )
        array = annotate(array_of(scores), task)
        verdicts = judge(array, "logic")
        manifest = {"name": name, "status": "done", "config": {"seed": 0, "desideratum": fields}, "unit": "nat"}
        write_job(tmp_path / name, manifest, array, verdicts, {})
    findings = len(verdicts[0].findings)
    for results in (open_results(tmp_path / "a"), open_results(tmp_path)):
        html = render_page(results)
        text = read(html).text
        assert text.count("bound: perfect") == text.count("bound: bag of words") == 1  # one dataset
        charts = charts_of(html)
        assert len(charts) == (0 if results.path.name == "a" else findings)
        for row in (row for chart in charts for row in chart["rows"]):
            bounds = row["bounds"]
            assert set(bounds) == {"perfect", "bag_of_words"} and np.isfinite(list(bounds.values())).all()


def test_runs_on_the_same_samples_have_a_verdict_over_all_of_them(tmp_path):
    task, effects = load_task("ontology", worlds=8, stimuli_per_world=2), []
    for seed in (0, 1):
        noise = np.random.default_rng(seed).normal(scale=0.3, size=task.relation.shape)
        array = annotate(array_of(np.isin(task.relation, ("direct", "entailed")) + noise), task)
        verdicts = judge(array, "logic")
        effects.append(verdicts[0].findings[0].effect)
        config = {"seed": seed, "data_seed": 0, "desideratum": {}}
        write_job(
            tmp_path / str(seed), {"name": "a", "status": "done", "config": config, "unit": "nat"}, array, verdicts, {}
        )
    text = read(render_page(open_results(tmp_path))).text
    assert "Over seeds" in text and "2 runs" in text and number_text(np.mean(effects)) in text
    assert "Over seeds" not in read(render_page(open_results(tmp_path / "0"))).text


def charts_of(page):
    data = data_of(page)
    return data["contents"][data["forests"]]["charts"]


def test_a_small_model_that_was_made_to_read_such_sentences_says_so(tmp_path):
    base = {"name": "phi3-tiny", "hash": "0"}
    ours = render_page(write(tmp_path / "a", statements(), "phi3-tiny ontology full", base_model=base))
    assert "it was trained to read documents" in ours
    assert "trained to read documents" not in render_page(write(tmp_path / "b", images(0)))


def test_images_have_the_pictures_of_their_dataset(tmp_path):
    from io import BytesIO

    from PIL import Image

    job = write(tmp_path, images(0))
    data = data_of(render_page(job))
    sheet, task = data["jobs"][0]["sheet"], Digits(stimuli=12, probes=12).load(0)
    whole = np.asarray(Image.open(BytesIO(data["contents"][sheet["picture"]])).convert("L")) / 255
    height, width = sheet["tile"]
    table = data["contents"][data["jobs"][0]["samples"]["probe"]]
    for index, place in enumerate(table["pictures"]):
        row, column = divmod(place, sheet["columns"])
        tile = whole[row * height : (row + 1) * height, column * width : (column + 1) * width]
        others = [np.abs(tile - pixels[0].numpy()).mean() for pixels in task.probes.pixels]
        assert int(np.argmin(others)) == index  # the picture lost a little, but it is nearest to its own image


@dataclass
class Remote(Options):
    """A dataset that would have to be fetched."""

    group: ClassVar[str] = "dataset"
    kind: ClassVar[str] = "image"
    port: int = 0

    def load(self, seed):
        socket.create_connection(("127.0.0.1", self.port)).close()


def test_a_page_fetches_no_data_and_says_that_pictures_are_missing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        Remote(port).load(0)  # there is something to connect to
        dataset = {"_target_": f"{__name__}.Remote", "port": port}
        job = write(tmp_path, images(0), config=CONFIG | {"dataset": dataset})
        data = data_of(render_page(job, pictures=Pictures(plugins=[__name__])))
        Remote(port).load(0)  # and there is again, afterwards
    assert data["jobs"][0]["sheet"] is None
    assert "data was not found (a page is made without the network)" in data["jobs"][0]["pictures_note"]


def test_pictures_are_of_the_draw_that_was_trained_on(tmp_path):
    """Jobs draw samples, and noise, by ``data_seed``."""
    noise = {"_target_": "eif_lab.perturbations.noise.Noise", "noise": "gaussian", "levels": [0.5]}
    shown = []
    for name, seeds in {"one": {"seed": 0, "data_seed": 7}, "other": {"seed": 7}}.items():
        drawn = Noise(noise="gaussian", levels=[0.5]).apply(Digits(stimuli=12, probes=12).load(7), 7)
        array = annotate(array_of(np.ones((len(drawn.stimuli), len(drawn.probes)))), drawn, drawn.distances, "class")
        job = write(tmp_path / name, array, config={**CONFIG, "perturbation": noise, **seeds})
        data = data_of(render_page(job))
        shown.append(data["contents"][data["jobs"][0]["sheet"]["picture"]])
        assert data["jobs"][0]["pictures_note"] == ""
    assert shown[0] == shown[1]


@pytest.fixture
def secret(tmp_path, monkeypatch):
    """A folder with pictures, and a current folder beside it."""
    from PIL import Image

    for number, name in enumerate(("a/0.png", "a/1.png", "b/0.png", "b/1.png")):
        file = tmp_path / "home" / "secret" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 60 * number).save(file)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "home" / "secret")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EIF_LAB_DATA", str(tmp_path / "home"))
    return tmp_path / "home" / "secret"


@pytest.mark.parametrize("path", ["{secret}", "../home/secret", "link", "~/secret", "{secret}/../secret"])
def test_no_picture_comes_from_a_folder_that_only_a_manifest_names(tmp_path, secret, path):
    dataset = {"_target_": "eif_lab.data.images.image_folder.ImageFolder", "path": path.format(secret=secret)}
    dataset |= {"stimuli": 2, "probes": 2, "size": [9, 9]}
    drawn = ImageFolder(path=str(secret), stimuli=2, probes=2, size=[9, 9]).load(0)
    array = annotate(array_of(np.ones((2, 2))), drawn, drawn.distances, "class")
    write(tmp_path / "job", array, config=CONFIG | {"dataset": dataset})
    assert main([str(tmp_path / "job")]) == 0
    told = data_of((tmp_path / "job" / "report.html").read_text())["jobs"][0]
    assert told["sheet"] is None and "Give --data FOLDER" in told["pictures_note"]
    assert main([str(tmp_path / "job"), "--data", str(secret)]) == 0
    assert data_of((tmp_path / "job" / "report.html").read_text())["jobs"][0]["sheet"]


def test_published_data_is_taken_from_the_users_folder_and_unpacked_nowhere(tmp_path, real_data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"root": str(tmp_path / "theirs"), "download": str(tmp_path / "planted")}
    dataset = {"_target_": "eif_lab.data.images.mnist.MNIST", "stimuli": 10, "probes": 10, **places}
    drawn = MNIST(stimuli=10, probes=10, root=str(real_data), download=str(tmp_path / "own")).load(0)
    array = annotate(array_of(np.ones((10, 10))), drawn, drawn.distances, "class")
    job = write(tmp_path / "job", array, config=CONFIG | {"dataset": dataset})
    assert data_of(render_page(job))["jobs"][0]["sheet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job", "own"]


@dataclass(frozen=True)
class InMemory(JobResults):
    """A job whose array was never written: writing 10 million names of relations takes longer than the test may."""

    array: xr.DataArray = None

    @property
    def influence(self):
        return self.array

    @property
    def verdict_rows(self):
        return []


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """1,000 stimuli by 10,000 probes of long texts, in 50 worlds."""
    rng = np.random.default_rng(3)
    array = array_of(rng.normal(size=(1000, 10_000)).astype(np.float32))
    relation = np.broadcast_to(rng.choice(RELATIONS, size=(1, 10_000)), (1000, 10_000))
    words = np.array(["gvame", "mlawa", "dliwe", "fnodi", "vruta", "zroli", "zripo", "sroga"])
    coords = {"relation": (("stimulus", "probe"), relation)}
    for dim, size in (("stimulus", 1000), ("probe", 10_000)):
        texts = [" ".join(row) for row in words[rng.integers(0, 8, size=(size, 20))]]
        coords |= {f"{dim}_id": (dim, texts), f"{dim}_label": (dim, texts), f"{dim}_world": (dim, np.arange(size) % 50)}
    path = tmp_path_factory.mktemp("large")
    (path / "influence.zarr").mkdir()
    manifest = Manifest(name="phi3-tiny large full", status="done")
    (path / "manifest.json").write_text(manifest_text(manifest))
    return InMemory(path, manifest, array.assign_coords(coords))


def test_a_thousand_by_ten_thousand_cells_fit_and_the_strongest_are_exact(large, tmp_path):
    size = write_page(large, tmp_path / "page.html")
    assert size == (tmp_path / "page.html").stat().st_size <= LARGEST_PAGE
    data = data_of((tmp_path / "page.html").read_text())
    told = data["jobs"][0]["readouts"]["log_prob"]
    assert told["block"][0] * told["block"][1] > 1
    values = large.influence.values[0, :, 0, :, 0]
    shown = data["contents"][told["values"]]
    assert np.abs(shown).max() == np.abs(values).max()
    top = data["contents"][told["strongest"]]
    assert np.array_equal(data["contents"][told["strongest_values"]], values.ravel()[top])
    assert len(shown) <= BUDGETS[0].cells


def test_the_command_writes_beside_the_results_and_tells_mistakes_in_one_line(tmp_path, capsys):
    write(tmp_path / "job", statements())
    assert main([str(tmp_path / "job")]) == 0
    assert (tmp_path / "job" / "report.html").stat().st_size > 0
    assert "report.html" in capsys.readouterr().out
    (tmp_path / "claims.json").write_text('[{"claim": 1}]')
    for wrong in ([str(tmp_path / "none")], [str(tmp_path / "job"), "--claims", str(tmp_path / "claims.json")]):
        assert main(wrong) == 2
        printed = capsys.readouterr().err.strip()
        assert printed.count("\n") == 0 and "must" in printed


WRONG = {
    "versions": 3, "update": [], "stimuli": "x", "seeds": {}, "trained_parameters": {"count": "a", "total": 1},
    "config": "digits", "base_model": [1], "strength": {"effect": "big"}, "overrides": 5, "unit": ["nat"],
    "seconds": "long", "git_commit": 7, "checksum": 1, "device": {}, "reason": ["why"], "name": 3, "created": 1,
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_a_field_of_the_wrong_type_is_told_in_one_line_with_its_manifest(tmp_path, capsys, field):
    write(tmp_path / "sweep" / "job", statements())
    file = tmp_path / "sweep" / "job" / "manifest.json"
    record = json.loads(file.read_text())
    file.write_text(manifest_text(record | {field: WRONG[field]}))  # whoever writes it can seal it
    for folder in (tmp_path / "sweep", tmp_path / "sweep" / "job"):
        assert main([str(folder)]) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and len(printed.err.splitlines()) == 1
        assert f"{file} {field}" in printed.err and " must be " in printed.err and "got " in printed.err


def test_an_array_without_relations_is_shown_with_undeclared_ones(tmp_path):
    job = write(tmp_path, statements().drop_vars("relation"))
    data = data_of(render_page(job))
    described = data["jobs"][0]["readouts"]["log_prob"]
    codes = data["contents"][described["relations"]]
    assert len(codes) and {data["relations"][code] for code in codes} == {"undeclared"}


def test_the_page_of_a_sweep_names_a_job_that_cannot_be_read(tmp_path):
    write(tmp_path / "a", statements())
    write(tmp_path / "b", statements())
    (tmp_path / "b" / "manifest.json").write_text("{")
    shown = render_page(open_results(tmp_path))
    assert "unreadable" in shown and "must be a job&#39;s manifest" in shown


@pytest.mark.parametrize("column", [None, "verdict", "effect", "details"])
def test_verdicts_that_are_none_are_told_in_one_line(tmp_path, capsys, column):
    """Checksums that fit do not help: whoever writes the one can write the other."""
    write(tmp_path, statements())
    frame = pd.read_parquet(tmp_path / "verdicts.parquet")
    if column is None:
        (tmp_path / "verdicts.parquet").write_bytes(b"PAR1")
    else:
        frame.drop(columns=column).to_parquet(tmp_path / "verdicts.parquet")
    (tmp_path / "checksums.txt").unlink()
    told = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(manifest_text({key: told[key] for key in told if key != "checksum"}))
    assert main([str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and "verdicts.parquet holds no verdicts" in told and (column or "") in told


# --- in a browser ---


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome")]
    with sync_api.sync_playwright() as playwright:
        try:
            launched = playwright.chromium.launch(
                executable_path=next(filter(None, found), None), args=["--no-sandbox"]
            )
        except sync_api.Error as error:
            pytest.skip(f"no browser: {str(error).splitlines()[0]}")
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep")
    write(path / "0", images(0), "cnn digits full")
    write(path / "1", images(1), "cnn digits lora")
    write(path / "2", statements(HOSTILE), "phi3-tiny ontology full")
    claims = [{"claim": "c", "what": "w", "effect": 1, "low": 0, "high": 2, "verdict": "satisfied", "agrees": True}]
    write_page(open_results(path), path / "page.html", claims)
    return path


@contextmanager
def drawn(browser, file):
    """A page in the browser; afterwards it must have told no error and asked for nothing but itself."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000})
    opened = context.new_page()
    wrong, urls = [], []
    opened.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: urls.append(request.url))
    opened.goto(file.as_uri())
    opened.wait_for_selector("body[data-ready]")
    yield opened
    context.close()
    assert wrong == [] and all(url.startswith(("file:", "data:")) for url in urls)


@pytest.fixture
def page(browser, sweep):
    with drawn(browser, sweep / "page.html") as opened:
        yield opened


def point(page, row, column, shape=(12, 12), click=False):
    """Point at a place of the drawn array; what the page then reads: stimulus, probe, value."""
    measure = """async canvas => {
      canvas.scrollIntoView({block: "center"});
      await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));  // a scroll is told late
      const {x, y} = canvas.getBoundingClientRect();
      return [x + +canvas.dataset.left, y, +canvas.dataset.width, +canvas.dataset.height];
    }"""
    left, top, width, height = page.locator("#main-map canvas").evaluate(measure)
    move = page.mouse.click if click else page.mouse.move
    move(left + (column + 0.5) / shape[1] * width, top + (row + 0.5) / shape[0] * height)
    return read_out(page)


def read_out(page):
    told = page.locator("#cell .value").evaluate("element => ({...element.dataset})")
    return int(told["stimulus"]), int(told["probe"]), float(told["value"])


def choose(page, control, value):
    page.locator(f"select[name={control}]").select_option(value)


def stored(sweep, job):
    return open_results(sweep / str(job)).influence.isel(seed=0, step=-1, readout=0)


def test_pointing_at_a_cell_reads_the_stores_value_with_its_names(page, sweep):
    choose(page, "order", "stored")
    array = stored(sweep, 0)
    for row, column in ((0, 0), (3, 8), (11, 2)):
        stimulus, probe, value = point(page, row, column)
        assert (stimulus, probe) == (row, column)
        assert np.float32(value) == array.values[row, column]
        told = page.locator("#cell").inner_text()
        names = [str(array[name].values[at]) for name, at in (("stimulus_id", row), ("probe_id", column))]
        assert all(name in told for name in [*names, str(array["relation"].values[row, column]), "nat"])
    point(page, 5, 1)
    assert "undefined" in page.locator("#cell").inner_text()


def test_a_block_that_is_pointed_at_reads_its_strongest_cell(browser, tmp_path):
    job = write(tmp_path / "job", images(0))
    html = render_page(job, budget=Budget(40, 1, 100, 60))
    (tmp_path / "page.html").write_text(html)
    data = data_of(html)
    told = data["jobs"][0]["readouts"]["log_prob"]
    rows, columns = (
        data["contents"][told[name]].reshape(-1, size) for name, size in zip(("rows", "columns"), told["block"])
    )
    values = stored(tmp_path, "job").values
    with drawn(browser, tmp_path / "page.html") as page:
        choose(page, "order", "class")  # blocks are of neighbours by class, so that this is their own order
        for row, column in ((0, 0), (len(rows) - 1, 1), (1, len(columns) - 1)):
            stimulus, probe, value = point(page, row, column, (len(rows), len(columns)))
            block = values[np.ix_(rows[row][rows[row] >= 0], columns[column][columns[column] >= 0])]
            assert stimulus in rows[row] and probe in columns[column]
            assert np.float32(value) == values[stimulus, probe]
            assert abs(values[stimulus, probe]) == np.nanmax(np.abs(block))


def test_the_line_of_python_gives_the_value_that_was_read(page, sweep):
    *_, value = point(page, 2, 7)
    *before, last = page.locator("#line").inner_text().splitlines()
    scope = {}
    exec("\n".join(before), scope)
    assert np.float32(eval(last, scope)) == np.float32(value)


def test_ordering_by_class_puts_classes_together_and_back_again(page, sweep):
    classes = stored(sweep, 0)["stimulus_class"].values
    choose(page, "order", "class")
    seen = [point(page, place, place)[:2] for place in range(12)]
    for side in zip(*seen):
        assert sorted(side) == list(range(12))
        assert [classes[index] for index in side] == sorted(classes)
    choose(page, "order", "stored")
    assert [point(page, place, 0)[0] for place in range(12)] == list(range(12))


def test_ordering_by_relation_and_influence_follows_the_chosen_stimulus(page, sweep):
    choose(page, "job", "2")
    page.wait_for_selector("body[data-ready^='2']")
    array = stored(sweep, 2)
    page.locator("#chosen").select_option("4")
    choose(page, "order", "relation")
    rows = [point(page, row, 0, array.shape)[0] for row in range(6)]
    row = rows.index(4)
    probes = [point(page, row, column, array.shape)[1] for column in range(array.shape[1])]
    codes = [RELATIONS.index(str(array["relation"].values[4, probe])) for probe in probes]
    assert codes == sorted(codes) and len(set(codes)) > 1
    choose(page, "order", "influence")
    row = [point(page, row, 0, array.shape)[0] for row in range(6)].index(4)
    values = [point(page, row, column, array.shape)[2] for column in range(array.shape[1])]
    assert values == sorted(values, reverse=True)


def test_zooming_and_keys_keep_cells_and_values_together(page, sweep):
    choose(page, "order", "stored")
    array = stored(sweep, 0).values
    canvas = page.locator("#main-map canvas")
    point(page, 8, 3)
    canvas.focus()
    for _ in range(3):
        page.keyboard.press("+")
    stimulus, probe, value = point(page, 0, 0, shape=(4, 4))  # four by four are left of the view
    assert 5 <= stimulus <= 8 and 0 < probe <= 3
    assert np.float32(value) == array[stimulus, probe]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert read_out(page)[:2] == (stimulus + 1, probe + 1)
    page.keyboard.press("Enter")
    assert page.locator("#chosen").input_value() == str(stimulus + 1)
    page.keyboard.press("0")
    assert point(page, 11, 11)[:2] == (11, 11)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 200, steps=3)
    page.mouse.up()
    stimulus, probe, value = point(page, 0, 0, shape=(4, 4))
    assert probe > 0 and np.float32(value) == array[stimulus, probe]


def test_a_stimulus_lists_the_probes_that_it_moved_most(page, sweep):
    choose(page, "order", "stored")
    point(page, 7, 4, click=True)
    row = stored(sweep, 0).values[7]
    assert page.locator("#chosen").input_value() == "7"
    for name, side in (("raised", 1), ("lowered", -1)):
        items = page.locator(f"#{name} li").evaluate_all("all => all.map((li) => +li.dataset.probe)")
        expected = sorted((j for j in range(12) if row[j] * side > 0), key=lambda j: -row[j] * side)[:8]
        assert items == expected
    assert page.locator("#raised .picture").count() == page.locator("#raised li").count()
    page.locator("#next").click()
    assert page.locator("#chosen").input_value() == "8"


def test_two_jobs_side_by_side_show_the_same_cell_of_both(page, sweep):
    choose(page, "order", "stored")
    choose(page, "beside", "1")
    page.locator("#beside-map canvas").wait_for()
    point(page, 2, 9)
    other = stored(sweep, 1).values[2, 9]
    assert page.locator("#cell .other").inner_text() == f"{other:+.5g} nat in cnn digits lora"


@pytest.mark.parametrize("width", [360, 390, 1200])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('#main-map canvas').getBoundingClientRect().right") <= width


LONG = "x" * 5000


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("most_open", [50, 1], ids=["open", "packed"])
def test_no_name_widens_the_page(browser, tmp_path, monkeypatch, width, most_open):
    monkeypatch.setattr("eif_lab.page.page.MOST_OPEN", most_open)
    for number, name in enumerate((LONG, f"ネコ שלום 😀 $5_a$ {LONG}")):
        base = {"name": LONG, "hash": LONG}
        more = {"unit": LONG, "engine": LONG, "base_model": base, "note": LONG, "reason": LONG}
        write(tmp_path / str(number), statements(LONG), name, **more)
    write_job(tmp_path / "failed", {"name": LONG, "status": "failed", "reason": LONG}, None, [], {LONG: LONG})
    claims = [dict.fromkeys(("claim", "what", "verdict", "agrees"), LONG) | {"effect": 1, "low": 0, "high": 2}]
    write_page(open_results(tmp_path), tmp_path / "page.html", claims)
    with drawn(browser, tmp_path / "page.html") as page:
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.wait_for_function("document.querySelectorAll('[data-part]:not([data-filled])').length === 0")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # a table may be wider than a telephone, where it scrolls, but by no name
        widest = "Math.max(...[...document.querySelectorAll('.scroll')].map((one) => one.scrollWidth))"
        assert page.evaluate(widest) <= 2000


def test_tables_of_very_many_jobs_open_when_asked_for_and_are_the_same(browser, sweep, tmp_path, monkeypatch):
    results = open_results(sweep)
    with drawn(browser, sweep / "page.html") as page:
        whole = [told.split() for told in page.locator("details.job").all_text_contents()]
        tables = [page.locator(f"#{name}").text_content().split() for name in ("matrix", "findings")]
        marks = page.locator(".forest [data-tip]").evaluate_all("all => all.map((one) => one.dataset.tip)")
    monkeypatch.setattr("eif_lab.page.page.MOST_OPEN", 2)
    (tmp_path / "packed.html").write_text(render_page(results, budget=Budget(10_000, 2, 100, 600)), encoding="utf-8")
    text = (tmp_path / "packed.html").read_text(encoding="utf-8")
    assert "the arrays of the first 2 of 3 jobs" in text and len(data_of(text)["jobs"]) == 2
    with drawn(browser, tmp_path / "packed.html") as page:
        assert page.locator(".forest svg, #matrix, #findings, details.job dl").count() == 0
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.wait_for_selector(".forest svg")
        page.wait_for_function("document.querySelectorAll('details.job dl').length === 3")
        assert [told.split() for told in page.locator("details.job").all_text_contents()] == whole
        assert [page.locator(f"#{name}").text_content().split() for name in ("matrix", "findings")] == tables
        assert page.locator(".forest [data-tip]").evaluate_all("all => all.map((one) => one.dataset.tip)") == marks


RULES = ("perfect", "faint", "negation_blind")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Three learners on two datasets, a job each, and a job that failed."""
    path = tmp_path_factory.mktemp("learnt")
    for name in ("ontology", "reversal"):
        task = load_task(name, worlds=8, stimuli_per_world=2)
        blank = annotate(array_of(np.zeros(task.relation.shape)), task)
        fields = {one: {"_target_": f"eif_lab.desiderata.{one}.{one.title()}"} for one in ("logic", "negation")}
        dataset = {"_target_": f"eif_lab.data.worlds.{name}.{name.title()}", "name": name}
        for rule in RULES:
            array = imitate(blank, rule)
            manifest = {
                "name": f"{rule} {name} full",
                "status": "done",
                "config": CONFIG | {"dataset": dataset, "desideratum": fields},
                "base_model": {"name": rule, "hash": "0"},
                "strength": {"effect": 1.0, "low": 0.9, "high": 1.1, "n": 8, "unit": "worlds"},
                "unit": "nat",
            }
            write_job(path / f"{rule}-{name}", manifest, array, judge(array, list(fields)), {"symmetry": "no pairs"})
    write_job(path / "failed", {"name": "lost", "status": "failed", "reason": "no memory"}, None, [], {})
    write_page(open_results(path), path / "page.html")
    return path


@pytest.fixture
def matrix(browser, learnt):
    with drawn(browser, learnt / "page.html") as opened:
        yield opened


LONG_STATISTICS = {
    "distance_decay": ("within_class_feature", "between_classes_feature"),
    "sparsity": ("precision_other_classes", "precision_same_subject", "concentration"),
    "noise_invariance": ("taught_less", "asymmetry"),
}


def test_tables_of_a_sweep_fit_a_laptops_screen_and_say_where_they_go_on(browser, tmp_path):
    task = load_task("ontology", worlds=8, stimuli_per_world=1)
    blank = annotate(array_of(np.zeros(task.relation.shape)), task)
    finding = (-0.0234, -0.0765, -0.0172, 0.9987, 20, "worlds", 0.05, 0.0013)
    others = [
        Verdict(name, "a claim", [Finding(one, *finding) for one in statistics], 0.05)
        for name, statistics in LONG_STATISTICS.items()
    ]
    config = CONFIG | {
        "dataset": {"_target_": "eif_lab.data.worlds.ontology.Ontology", "name": "ontology"},
        "desideratum": {"logic": {"_target_": "eif_lab.desiderata.logic.Logic"}},
    }
    for rule in RULES:
        array, name = imitate(blank, rule), f"SmolLM2-135M ontology adapter model.rule={rule}"
        manifest = {"name": name, "status": "done", "config": config, "base_model": {"name": rule, "hash": "0"}}
        strength = {"strength": {"effect": 0.0576, "low": 0.05, "high": 0.06, "n": 8, "unit": "worlds"}, "unit": "nat"}
        write_job(tmp_path / rule, manifest | strength, array, [*judge(array, ["logic"]), *others], {})
    write_page(open_results(tmp_path), tmp_path / "page.html")
    told = "(box) => [box.scrollWidth - box.clientWidth, box.scrollHeight - box.clientHeight, {...box.dataset}]"
    with drawn(browser, tmp_path / "page.html") as page:
        assert page.locator("#findings thead th", has_text="bag of words").count() == 1
        for width in (1280, 1920, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            for table in ("matrix", "findings"):
                beyond, below, data = page.locator(f".scroll:has(#{table})").evaluate(told)
                assert beyond <= 0 or width == 390
                assert data == {"more": "more" if beyond > 2 else "", "below": "more" if below > 2 else ""}


def headlines(path):
    """The sweep's headline findings, by job and desideratum."""
    table = open_results(path).table
    first = table[(table["status"] == "done") & (table["finding"] == 0)]
    return {(row.job, row.desideratum): row for row in first.itertuples()}


def rows_shown(page, table):
    rows = page.locator(f"#{table} tbody tr").filter(visible=True)
    return rows.evaluate_all("all => all.map((row) => row.cells[0].textContent.trim().split(/\\s+/).join(' '))")


def test_the_page_opens_with_every_jobs_verdicts_and_headline_effects(matrix, learnt):
    top = matrix.locator("#matrix").bounding_box()["y"]
    assert 0 < top < 400 and matrix.locator("#story").bounding_box()["y"] < top
    signs = {"satisfied": "✓", "violated": "✗", "inconclusive": "?"}
    found = headlines(learnt)
    assert {row.verdict for row in found.values()} == set(signs)
    heads = [told.split("\n")[0].strip() for told in matrix.locator("#matrix thead th").all_inner_texts()]
    for (job, desideratum), row in found.items():
        line = matrix.locator(f"#matrix tr:has(th[data-tip='{job}']) td")
        told = line.nth(heads.index(desideratum) - 1).inner_text()
        assert told.startswith(f"{signs[row.verdict]} {row.effect:.3g}") and row.verdict in told
    assert [group.split()[0] for group in rows_shown(matrix, "matrix")] == ["ontology"] * 5 + ["reversal"] * 5 + [
        "dataset"
    ]
    assert "failed no memory" in matrix.locator("#matrix").inner_text()


def test_jobs_are_told_apart_by_the_ends_of_their_overrides_where_these_are_clear():
    jobs = [["update.strength=1", "model.name=a=b", "dataset.name=c"], ["update.strength=3"]]
    assert short_overrides(jobs) == [["strength=1", "model.name=a=b", "dataset.name=c"], ["strength=3"]]
    assert short_overrides([["dataset=a", "flag"], []]) == [["dataset=a", "flag"], []]


def test_the_sentence_counts_what_the_table_says(learnt):
    results = open_results(learnt)
    found = headlines(learnt).values()
    told = re.search(r'<p id="story">(.*?)</p>', render_page(results))[1]
    satisfied = sum(row.verdict == "satisfied" for row in found if row.desideratum == "logic")
    violated = sum(row.verdict == "violated" for row in found if row.desideratum == "negation")
    assert "7 jobs on 3 datasets, 1 of them without verdicts: " in told
    assert f"logic is satisfied in {satisfied} of 6" in told and f"(violated in {violated})" in told
    assert "perfect satisfies most (4 of 4 verdicts)" in told
    one = re.search(r'<p id="story">(.*?)</p>', render_page(open_results(learnt / "perfect-ontology")))[1]
    assert one == "Logic and negation are satisfied; symmetry is not applicable."


def test_a_click_sorts_by_a_column_and_says_so(matrix, learnt):
    found = headlines(learnt)
    stored = rows_shown(matrix, "findings")
    header = matrix.locator("#findings th", has_text="Effect")
    for order in ("descending", "ascending"):
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == order
        values = matrix.locator("#findings tbody td:nth-child(5)").evaluate_all(
            "all => all.filter((one) => one.dataset.value).map((one) => +one.dataset.value)"
        )
        assert values == sorted((row.effect for row in found.values()), reverse=order == "descending")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") is None and rows_shown(matrix, "findings") == stored
    matrix.locator("#matrix th", has_text="negation").first.get_by_role("button").click()
    for name in ("ontology", "reversal"):  # rows stay with their dataset
        rows = [row for row in rows_shown(matrix, "matrix") if row.startswith(name) and "bound" not in row]
        effects = {f"{name} {rule}": found[f"{rule} {name} full", "negation"].effect for rule in RULES}
        assert rows == sorted(effects, key=effects.get, reverse=True)


def test_words_filter_rows_and_a_cell_shows_its_own_findings(matrix):
    matrix.locator("[data-table=matrix]").fill("reversal faint")
    assert rows_shown(matrix, "matrix") == ["reversal faint"]
    assert "1 of 11 rows" in matrix.locator("#verdicts output").first.inner_text()
    matrix.locator("[data-table=matrix]").fill("violated")
    assert all("bound" in row or "perfect" not in row for row in rows_shown(matrix, "matrix"))
    matrix.locator("[data-table=matrix]").fill("")
    matrix.locator("#matrix [data-show='faint reversal full logic']").click()
    assert len(rows_shown(matrix, "findings")) == 1
    assert rows_shown(matrix, "findings")[0].startswith("reversal: faint")


def tip(page):
    """The text beside the pointer, which must lie within the window."""
    box = page.locator("#tip").bounding_box()
    size = page.viewport_size
    assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"]
    assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"]
    return page.locator("#tip").inner_text()


def hover(page, target):
    """Point at something once it has been scrolled into view, which takes two frames to be told."""
    target.scroll_into_view_if_needed()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    target.hover()


@pytest.mark.parametrize("width", [390, 1200])
def test_what_is_pointed_at_or_has_the_focus_is_told_beside_it(matrix, learnt, width):
    matrix.set_viewport_size({"width": width, "height": 800})
    row = headlines(learnt)["faint reversal full", "logic"]
    cell = matrix.locator("#matrix [data-show='faint reversal full logic']")
    hover(matrix, cell)
    assert f"gain > 0: {row.effect:.3g} [{row.low:.3g}, {row.high:.3g}]" in tip(matrix)
    marks = matrix.locator(".forest [data-tip*='faint reversal full']")
    hover(matrix, marks.first)
    assert tip(matrix).startswith("faint reversal full") and "perfect: " in tip(matrix)
    matrix.mouse.move(2, 2)
    assert matrix.locator("#tip").is_hidden()
    stops = matrix.locator(".forest").first.locator("[tabindex='0']")
    assert stops.count() == 1  # one stop of the tabulator, whatever the number of marks
    matrix.locator("#shapes").scroll_into_view_if_needed()
    stops.focus()
    matrix.keyboard.press("ArrowDown")
    first = tip(matrix)
    matrix.keyboard.press("ArrowDown")
    assert tip(matrix) != first
    matrix.keyboard.press("Escape")
    assert matrix.locator("#tip").is_hidden()


def test_a_cell_of_the_array_is_told_beside_the_pointer_and_the_keys(page, sweep):
    choose(page, "order", "stored")
    *_, value = point(page, 3, 8)
    assert tip(page).startswith(f"{value:+.5g} nat") and stored(sweep, 0)["probe_id"].values[8] in tip(page)
    page.locator("#main-map canvas").focus()
    page.keyboard.press("ArrowDown")
    assert tip(page).startswith(f"{stored(sweep, 0).values[4, 8]:+.5g} nat")
    page.mouse.move(1, 1)
    assert page.locator("#tip").is_hidden()


STATE = """() => [
  ...[...document.querySelectorAll("#controls select, #chosen, input[type=search]")].map((one) => one.value),
  ...[...document.querySelectorAll("[aria-sort]")].map((one) => one.textContent + one.ariaSort),
  ...[...document.querySelectorAll("tbody tr")].filter((row) => row.checkVisibility()).map((row) => row.textContent),
  document.querySelector("#cell").textContent,
  document.querySelector("#main-map canvas").toDataURL(),
]"""


def test_an_address_brings_back_all_that_was_chosen(browser, page, sweep):
    usual = page.evaluate(STATE)
    assert "#" not in page.url
    choose(page, "job", "1")
    page.wait_for_selector("body[data-ready^='1']")
    for name, value in {"order": "stored", "scale": "2", "relation": "1", "beside": "0"}.items():
        choose(page, name, value)
    page.locator("#chosen").select_option("4")
    page.locator("#closer").click()
    page.locator("[data-table=matrix]").fill("cnn")
    page.locator("[data-table=findings]").fill("symmetry")
    for table in ("matrix", "findings"):
        page.locator(f"#{table} th", has_text="Job").first.get_by_role("button").click()
    page.mouse.move(1, 1)
    chosen = page.evaluate(STATE)
    context = browser.new_context(viewport={"width": 1200, "height": 1000})
    sent = context.new_page()
    sent.goto(page.url)
    sent.wait_for_selector("body[data-ready]")
    assert sent.evaluate(STATE)[:-2] == chosen[:-2] != usual[:-2]
    assert sent.locator("#beside-map").is_visible() and sent.url == page.url
    wrong = "#job=99&order=none&stimulus=x&view=1,2&relation=7&scale=9&beside=9&matrix.sort=none&at=none"
    sent = context.new_page()
    sent.goto((sweep / "page.html").as_uri() + wrong)
    sent.wait_for_selector("body[data-ready]")
    assert sent.evaluate(STATE)[:-2] == usual[:-2]  # an address that fits nothing is none
    context.close()


def test_the_library_inside_the_page_keeps_its_licence(learnt):
    page = (learnt / "page.html").read_text(encoding="utf-8")
    assert "Copyright 2020-2025 Observable, Inc." in page and "Mike Bostock" in page and "Permission to use" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)


CONTRAST = """() => {
  const part = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || ["SCRIPT", "STYLE", "OPTION"].includes(element.tagName)) continue;
    const pair = [light(rgba(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), element.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_in_light_and_dark(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = page.evaluate(CONTRAST)
    assert len(found) > 100
    assert [one for one in found if one[0] < 4.5] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 384) == (scheme == "dark")
