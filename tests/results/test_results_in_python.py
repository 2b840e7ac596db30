"""Results in a console and a notebook: what they show of themselves, and how a job is got from a sweep."""

import inspect
import json
import re
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eif_lab import load_task, open_results
from eif_lab.errors import ConfigError
from eif_lab.results.display import HEIGHT, LONGEST_NAME, MOST_JOBS, WIDTH
from eif_lab.results.job import write_job
from eif_lab.results.manifest import manifest_text
from eif_lab.results.sweep import SweepResults, write_sweep


def describe(model, dataset, method, **more):
    return {
        "name": f"{model} {dataset} {method}",
        "status": "done",
        "config": {"seed": 0, "update": {"_target_": "Update", "steps": 1}, "dataset": {"worlds": 4}},
        "choices": {"model": model, "dataset": dataset, "method": method, "perturbation": "include"},
        "base_model": {"name": model, "parameters": 1234567},
        "strength": {"effect": 0.0612, "low": 0.04, "high": 0.08, "n": 20, "unit": "worlds"},
        "unit": "nat",
        "engine": "stacked",
        "stimuli": 80,
        "probes": 1180,
        **more,
    }


@pytest.fixture
def sweep(tmp_path, make_verdict):
    """Two models by two methods, and a job that failed; LoRA's symmetry is satisfied alone, but not in the sweep."""
    for number, (model, method) in enumerate((m, n) for m in ("cnn", "phi3-tiny") for n in ("full", "lora")):
        verdicts = [
            make_verdict("symmetry", (0.5, 0.3, 0.7, 0.04 if method == "lora" else 0.9)),
            make_verdict("logic", (0.6, 0.5, 0.7, 1e-6), (0.05, 0.03, 0.07, 1 - 1e-6)),
        ]
        data = {"seed": number, "dataset": {"worlds": 4 + number}}
        given = describe(model, "ontology", method, config=data)
        write_job(tmp_path / str(number), given, None, verdicts, {"negation": "no denials"})
    failed = {"name": "cnn mnist full", "status": "failed", "reason": "why", "choices": {"dataset": "mnist"}}
    write_job(tmp_path / "4", failed, None, [], {})
    return open_results(tmp_path)


def test_a_job_shows_name_model_sizes_strength_and_verdicts(sweep):
    text = repr(sweep["phi3-tiny ontology lora"])
    for part in (
        "phi3-tiny ontology lora: done",
        "phi3-tiny, 1,234,567 parameters",
        "80 stimuli x 1,180 probes, engine stacked",
        "0.061 nat [0.04, 0.08], 20 worlds",
        "✓ 0.5",
        "✗ statistic 1 0.05 short",
        "statistic 1 > 0.1, [0.03, 0.07]",
        "not applicable  negation",
    ):
        assert part in text
    assert re.findall(r"<td.*?>(✗ .*?)<", sweep["phi3-tiny ontology lora"]._repr_html_()) == [
        "✗ statistic 1 0.05 short"
    ]


def test_a_sweep_shows_jobs_by_desiderata_with_corrected_verdicts(sweep):
    assert sweep.matrix.loc["phi3-tiny ontology lora"].to_dict() == {
        "symmetry": "? 0.5",  # satisfied alone, at p = 0.04
        "logic": "✗ statistic 1 0.05 short",
        "negation": "-",
    }
    assert set(sweep.matrix.loc["cnn mnist full"]) == {"failed"}
    text, html = repr(sweep), sweep._repr_html_()
    assert "5 jobs (4 done, 1 failed)" in text and "? 0.5" in text and "0.061 nat" in text
    assert "5 jobs (4 done, 1 failed)" in html and html.count("<tr") == 6


def test_what_results_show_fits_a_screen_whatever_they_hold(tmp_path, make_verdict):
    name = "<b>\x1b[31m" + "a very long name " * 20
    for number in range(MOST_JOBS + 5):
        verdicts = [make_verdict(f"desideratum_{k}", (0.5, 0.3, 0.7, 0.01)) for k in range(6)]
        given = {"name": f"{name}{number}", "status": "done", "config": {"a": ["text " * 900] * 99}}
        write_job(tmp_path / str(number), {**given, "versions": {str(k): "1" for k in range(999)}}, None, verdicts, {})
    sweep = open_results(tmp_path)
    job = sweep.jobs[0]
    for text in (repr(sweep), repr(job), repr(load_task("ontology")), repr(load_task("digits").stimuli)):
        lines = text.splitlines()
        assert len(lines) <= HEIGHT and max(map(len, lines)) <= WIDTH and "\x1b" not in text
    assert len(repr(job.manifest)) <= HEIGHT * WIDTH
    shown = sum(line.startswith("<b>") for line in repr(sweep).splitlines())  # in blocks, each with the same jobs
    left = int(re.search(r"and (\d+) more jobs: sweep.matrix has all", repr(sweep))[1])
    assert shown % (MOST_JOBS + 5 - left) == 0 and "and 5 more jobs" in sweep._repr_html_()
    assert re.search(r"^<b>.*….*long name \d+ ", repr(sweep), flags=re.MULTILINE)  # the end tells jobs apart
    for html in (sweep._repr_html_(), job._repr_html_()):
        assert "<b>" not in html and "\x1b" not in html and len(html) < 200 * LONGEST_NAME * MOST_JOBS


def test_a_display_tells_damage_and_does_not_fail(tmp_path, make_verdict):
    write_job(tmp_path / "a", {"name": "a", "status": "done"}, None, [make_verdict("logic", (1, 0, 2, 0.5))], {})
    job = open_results(tmp_path / "a")
    (tmp_path / "a" / "verdicts.parquet").write_bytes(b"no table")
    assert "damage: verdicts.parquet" in repr(job) and "damage: verdicts.parquet" in job._repr_html_()


def test_a_job_is_got_by_its_name_and_a_wrong_one_is_told_with_near_ones(sweep):
    assert sweep["cnn ontology full"] is sweep.jobs[1] and len(sweep) == 5 and list(sweep) == list(sweep.jobs)
    with pytest.raises(ConfigError, match=r"one of the 5 jobs, got 'phi3 ontology lora'\. Did you mean 'phi3-tiny ont"):
        sweep["phi3 ontology lora"]
    with pytest.raises(ConfigError, match=r"job must be the name of a job, got 'int'\. Try sweep\.jobs\[0\]"):
        inspect.unwrap(SweepResults.__getitem__)(sweep, 0)
    assert sweep._ipython_key_completions_() == sweep.names


def test_two_jobs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("a", "b"):
        write_job(tmp_path / folder, {"name": "same", "status": "done"}, None, [], {})
    with pytest.raises(ConfigError, match=r"be the name of one job, got 'same'.*/a, .*/b"):
        open_results(tmp_path)["same"]


def test_a_smaller_sweep_is_selected_by_choices_and_options(sweep):
    assert sweep.sel(method="lora").names == ["cnn ontology lora", "phi3-tiny ontology lora"]
    assert sweep.sel(method="lora", model=["phi3-tiny", "cnn"]).names == sweep.sel(method="lora").names
    assert sweep.sel({"dataset.worlds": 5}).names == sweep.sel(seed=1).names == ["cnn ontology lora"]
    assert sweep.sel(dataset="mnist").jobs[0].manifest.status == "failed"
    assert sweep.sel(method="lora").sel(model="cnn")["cnn ontology lora"] is sweep["cnn ontology lora"]


def test_a_selection_keeps_the_p_values_corrected_over_the_whole_sweep(sweep):
    part = sweep.sel(method="lora", model="cnn")
    whole = sweep.table[sweep.table["job"] == "cnn ontology lora"].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.table, whole)
    pd.testing.assert_frame_equal(part.matrix, sweep.matrix.loc[["cnn ontology lora"]])


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        (
            {"metod": "lora"},
            "sel must be a setting of a job, such as model, .* got \"metod='lora'\". Did you mean method?",
        ),
        ({"zzz": 1}, "got 'zzz=1'. The jobs differ in .*dataset.worlds, .*method"),
        ({"method": "ia3"}, "method must be one that a job has: 'full', 'lora', got 'ia3'."),
        ({"method": ["lora", "ia3"]}, "method must be one that a job has: 'full', 'lora', got 'ia3'."),
        ({"method": "lora", "seed": 0}, "the sweep must hold a job with all of method='lora', seed=0, got none."),
    ],
)
def test_a_selection_of_nothing_is_one_line_with_what_there_is(sweep, wanted, line):
    with pytest.raises(ConfigError) as caught:
        sweep.sel(wanted)
    assert re.search(line.replace("?", r"\?"), str(caught.value)) and "\n" not in str(caught.value)


def test_jobs_stored_without_the_names_of_their_choices_are_selected_by_those_of_their_arrays(tmp_path, make_influence):
    for method in ("full", "lora"):
        array = make_influence().assign_attrs(method=method, model="cnn")
        write_job(tmp_path / method, {"name": method, "status": "done"}, array, [], {})
        text = (tmp_path / method / "manifest.json").read_text()
        assert '"choices": null' in text
        (tmp_path / method / "manifest.json").write_text(re.sub(r'"digest": ".*?"', '"digest": ""', text))
    for folder in tmp_path.iterdir():  # sealed anew, without a field that was not there before
        held = json.loads((folder / "manifest.json").read_text())
        held.pop("choices")
        (folder / "manifest.json").write_text(manifest_text(held))
    assert open_results(tmp_path).sel(method="lora").names == ["lora"]


def test_an_array_is_opened_by_xarray_alone_without_a_warning(tmp_path, make_influence):
    write_job(tmp_path / "job", {"name": "job", "status": "done"}, make_influence(), [], {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = xr.open_zarr(tmp_path / "job" / "influence.zarr")["influence"]
        np.testing.assert_array_equal(plain.values, make_influence().values)
        assert plain["stimulus_label"].values.tolist() == make_influence()["stimulus_label"].values.tolist()


def test_a_results_folder_can_be_moved(tmp_path, make_influence, make_verdict):
    before, after = tmp_path / "before", tmp_path / "other" / "after"
    for name in ("a", "b"):
        verdicts = [make_verdict("symmetry", (0.5, 0.3, 0.7, 0.01))]
        write_job(before / name, {"name": name, "status": "done"}, make_influence(), verdicts, {})
    write_sweep(before)
    after.parent.mkdir()
    shutil.move(before, after)
    moved = open_results(after)
    xr.testing.assert_identical(moved["a"].influence.load(), make_influence())
    held = b"".join(file.read_bytes() for file in after.rglob("*") if file.is_file())
    assert str(before).encode() not in held
    table = pd.read_parquet(after / "sweep.parquet")
    assert [open_results(after / path).manifest.name for path in table["path"]] == ["a", "b"]
