import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from statsmodels.stats.multitest import multipletests

from eif_lab.console.tables import WIDTH, page, print_job, print_sweep
from eif_lab.desiderata.verdict import ABSENT, HOW, INCONCLUSIVE, REVERSED, SATISFIED, SHORT, VIOLATED, Finding, Verdict
from eif_lab.errors import ConfigError
from eif_lab.results.job import JobResults, whole_job, write_job
from eif_lab.results.manifest import Manifest, manifest_text
from eif_lab.results.rows import ADDED, TEXT, VERDICT_COLUMNS, read_verdicts, verdict_frame
from eif_lab.results.sweep import open_results, write_sweep
from eif_lab.results.tables import SWEEP_COLUMNS, sweep_table

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
P_VALUES = st.floats(0, 1) | st.just(math.nan)
FINDINGS = st.builds(
    Finding, st.text(), NUMBERS, NUMBERS, NUMBERS, P_VALUES, st.integers(0, 10**9), st.text(), st.floats(-1, 1),
    P_VALUES, NUMBERS,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(FINDINGS, min_size=1, max_size=3), max_size=3),
    st.floats(0.001, 0.2),
    st.dictionaries(st.text(), NUMBERS, max_size=2),
)
def test_verdicts_survive_the_frame_and_parquet(findings, alpha, details):
    verdicts = [Verdict(f"d{k}", "claim", group, alpha, details, "note") for k, group in enumerate(findings)]
    frame = verdict_frame(verdicts, {"absent": "no noise"})
    assert set(frame["how"]) <= {"", *HOW} and ((frame["how"] != "") == (frame["verdict"] == VIOLATED)).all()
    assert ((frame["finding_how"] != "") == (frame["finding_verdict"] == VIOLATED)).all()
    stored = pd.read_parquet(io.BytesIO(frame.to_parquet()))
    pd.testing.assert_frame_equal(stored, frame)
    assert repr(read_verdicts(stored)) == repr(verdicts)  # repr, because NaN is not equal to itself
    assert frame["verdict"].tolist()[:-1] == [v.outcome() for v in verdicts for _ in v.findings]


@pytest.fixture
def write_jobs(tmp_path, make_verdict):
    """A sweep of two jobs with verdicts, one that failed and one that does not apply; p-values as given."""

    def write(p_values=((0.01, 0.02), (0.03, 0.04)), note=""):
        for name, values in zip(("model=a,method=full", "model=a,method=lora"), p_values):
            verdicts = [make_verdict(f"d{k}", (0.5, 0.3, 0.7, p), note=note) for k, p in enumerate(values)]
            manifest = {"name": name, "status": "done", "strength": {"effect": 1.5}, "overrides": name.split(",")}
            write_job(tmp_path / name, manifest, None, verdicts, {"noise_invariance": "perturbation must be noise"})
        for name, status in (("model=b,method=full", "failed"), ("model=b,method=prompt", "not applicable")):
            write_job(tmp_path / name, {"name": name, "status": status, "reason": f"why {status}"}, None, [], {})
        return tmp_path

    return write


def done_rows(table):
    return table[table["status"].eq("done")]


def test_p_values_are_corrected_over_all_verdicts_of_the_sweep(write_jobs):
    p_values = ((0.001, 0.04), (0.03, 0.9))
    table = done_rows(open_results(write_jobs(p_values)).table)
    reference = multipletests(np.ravel(p_values), method="fdr_bh")[1]
    assert table["p_value"].tolist() == list(np.ravel(p_values))
    assert np.allclose(table["p_adjusted"], reference)
    assert (table["verdict_alone"] == [SATISFIED, SATISFIED, SATISFIED, INCONCLUSIVE]).all()
    assert (table["verdict"] == [SATISFIED if p <= 0.05 else INCONCLUSIVE for p in reference]).all()
    assert (table["verdict"] != table["verdict_alone"]).any()  # the correction decides something here


def test_undefined_p_value_is_no_member_of_the_family(write_jobs):
    table = done_rows(open_results(write_jobs(((0.01, np.nan), (0.02, 0.03)))).table)
    known = table["p_value"].notna()
    assert np.allclose(table["p_adjusted"][known], multipletests([0.01, 0.02, 0.03], method="fdr_bh")[1])
    assert table["p_adjusted"][~known].isna().all()
    assert table["verdict"][~known].tolist() == [INCONCLUSIVE]


def test_correction_weighs_the_worst_finding_and_violation_stands(tmp_path, make_verdict):
    verdicts = [
        make_verdict("both", (0.9, 0.8, 1.0, 0.001), (0.9, 0.8, 1.0, 0.04)),
        make_verdict("violated", (0.0, -0.1, 0.05, 0.99)),
    ]
    write_job(tmp_path / "a", {"name": "a", "status": "done"}, None, verdicts, {})
    every = sweep_table([open_results(tmp_path / "a")])
    assert (every.groupby("desideratum")[["verdict", "p_adjusted"]].nunique() == 1).all(axis=None)
    table = every[every["finding"] == 0].set_index("desideratum")
    assert table.loc["both", "p_adjusted"] == pytest.approx(0.08)
    assert table.loc["both", ["verdict_alone", "verdict"]].tolist() == [SATISFIED, INCONCLUSIVE]
    assert table.loc["violated", "verdict"] == VIOLATED


def test_sweep_tells_every_finding_with_its_interval(tmp_path, make_verdict):
    effects = {"a": ((0.62, 0.51, 0.73, 0.01), (0.22, -0.11, 0.33, 0.25)), "b": ((0.44, 0.41, 0.47, 0.01),)}
    for name, findings in effects.items():
        write_job(tmp_path / name, {"name": name, "status": "done"}, None, [make_verdict("logic", *findings)], {})
    table = open_results(tmp_path).table
    shown = printed(print_sweep, table)
    for name, findings in effects.items():
        rows = table[table["job"] == name]
        assert list(rows[["effect", "low", "high"]].itertuples(index=False, name=None)) == [f[:3] for f in findings]
        assert rows["finding"].tolist() == list(range(len(findings)))
        for effect, low, high, _ in findings:
            assert f"{effect}" in shown and f"[{low}, {high}]" in shown
    head = " ".join(shown[: shown.index("──")].split())
    assert head.count("logic: statistic") == 2 and head.count("> 0.1") == 2


def test_satisfied_and_violated_are_corrected_each_over_their_own_p_values(tmp_path, make_verdict):
    p_values = (0.001, 0.04, 0.995, 0.96, 0.97)  # 0.96 and 0.97 are violated alone
    for number, p in enumerate(p_values):
        verdict = make_verdict("symmetry", (0.0, -0.1, 0.05, p))
        write_job(tmp_path / str(number), {"name": str(number), "status": "done"}, None, [verdict], {})
    table = open_results(tmp_path).table
    for name, values in (("p_adjusted", p_values), ("p_violated_adjusted", np.subtract(1, p_values))):
        np.testing.assert_allclose(table[name], multipletests(values, method="fdr_bh")[1])
    assert table["verdict_alone"].tolist() == [SATISFIED] * 2 + [VIOLATED] * 3
    assert table["verdict"].tolist() == [SATISFIED, INCONCLUSIVE, VIOLATED, INCONCLUSIVE, INCONCLUSIVE]
    assert table["how"].tolist() == ["", "", ABSENT, "", ""]


def test_a_violated_verdict_says_how_in_the_table_and_on_the_console(tmp_path, make_verdict):
    effects = {REVERSED: (-0.4, -0.5, -0.3), ABSENT: (0.0, -0.05, 0.05), SHORT: (0.05, 0.03, 0.07)}
    verdicts = [make_verdict(f"d_{how}", (*numbers, 1 - 1e-6), chance=0.01) for how, numbers in effects.items()]
    verdicts.append(make_verdict("several", (0.5, 0.3, 0.7, 1e-6), (0.05, 0.03, 0.07, 1 - 1e-6)))
    write_job(tmp_path / "j", {"name": "j", "status": "done"}, None, verdicts, {})
    table = write_sweep(tmp_path)
    assert table.groupby("desideratum")["how"].first().to_dict() == {f"d_{how}": how for how in HOW} | {
        "several": SHORT
    }
    text = printed(print_sweep, table)
    for words in (
        "✗ -0.4 reversed",
        "✗ 0 absent",
        "✗ 0.05 short",
        "✗ 0.5 ",
        " 0.05 short",
        "reversed: the wrong way round",
    ):
        assert words in text
    assert "d reversed statistic 0 0.01" in " ".join(text.split())  # chance, where it is not zero


def older(folder):
    """Make a job's folder what an earlier version left: no column of how, no second p-value, format 2."""
    frame = pd.read_parquet(folder / "verdicts.parquet")
    frame.drop(columns=list(ADDED)).to_parquet(folder / "verdicts.parquet")
    (folder / "checksums.txt").unlink()
    told = json.loads((folder / "manifest.json").read_text())
    told = {name: value for name, value in told.items() if name not in ("checksum", "strength")}
    calibration = {"target": 2.0, "reached": False, "direct_influence": 0.7}
    told |= {"format": 2, "direct_influence": {"effect": 0.7, "low": 0.6, "high": 0.8}}
    (folder / "manifest.json").write_text(manifest_text(told | {"update": {"calibration": calibration}}))


def test_what_an_earlier_version_stored_is_shown_as_it_was_judged_then(tmp_path, make_verdict):
    verdicts = [
        make_verdict("symmetry", (-0.4, -0.5, -0.3, 1.0)),
        make_verdict("sparsity", (0.5, 0.3, 0.7, 0.01)),
        make_verdict("logic", (0.1, 0.0, 0.2, 0.4)),
    ]
    for name in ("new", "old"):
        write_job(tmp_path / name, {"name": name, "status": "done"}, None, verdicts, {"negation": "no denials"})
    older(tmp_path / "old")
    job = open_results(tmp_path / "old")
    frame = job.verdicts
    assert list(frame) == list(VERDICT_COLUMNS) and (frame["how"] == "").all() and frame["p_violated"].isna().all()
    assert frame["verdict"].tolist() == [VIOLATED, SATISFIED, INCONCLUSIVE, ""]
    assert job.manifest.direct_influence.effect == 0.7 and job.manifest.strength.effect is None
    rows = open_results(tmp_path).table
    for name, hows in (("new", [REVERSED, "", ""]), ("old", ["", "", ""])):
        tested = rows[(rows["job"] == name) & (rows["status"] == "done")]
        assert tested["verdict"].tolist() == [VIOLATED, SATISFIED, INCONCLUSIVE] and tested["how"].tolist() == hows
    assert "✗ violated" in printed(print_job, job) and "✗ -0.4" in printed(print_sweep, rows)
    assert whole_job(tmp_path / "new") is not None and whole_job(tmp_path / "old") is None  # it is judged again


def test_jobs_without_verdicts_stand_in_the_table_with_their_reason(write_jobs):
    table = open_results(write_jobs()).table
    rest = table[~table["status"].eq("done")]
    assert set(zip(rest["job"], rest["desideratum"], rest["status"], rest["reason"])) == {
        ("model=a,method=full", "noise_invariance", "not applicable", "perturbation must be noise"),
        ("model=a,method=lora", "noise_invariance", "not applicable", "perturbation must be noise"),
        ("model=b,method=full", "", "failed", "why failed"),
        ("model=b,method=prompt", "", "not applicable", "why not applicable"),
    }
    assert (rest["verdict"] == "").all() and rest["p_adjusted"].isna().all()


def test_written_sweep_is_the_table_and_can_be_written_again(write_jobs):
    directory = write_jobs()
    for _ in range(2):
        table = write_sweep(directory)
        stored = pd.read_parquet(directory / "sweep.parquet")
        pd.testing.assert_frame_equal(stored.drop(columns="path"), table.drop(columns="path"))
        assert [str(directory / path) for path in stored["path"]] == table["path"].tolist()  # so that it can be moved
    pd.testing.assert_frame_equal(table, sweep_table(open_results(directory).jobs))
    assert not list(directory.glob(".*"))


def test_sweep_of_failures_only_has_a_table(tmp_path):
    write_job(tmp_path / "a", {"name": "a", "status": "failed", "reason": "why"}, None, [], {})
    table = write_sweep(tmp_path)
    assert table["reason"].tolist() == ["why"]
    assert "failed" in printed(print_sweep, table) and "why" in printed(print_sweep, table)


@pytest.mark.parametrize(("message", "shown"), [({"effect": -0.5, "low": -1, "high": 0}, -0.5), (None, None)])
def test_strength_stands_beside_the_verdicts(tmp_path, make_verdict, message, shown):
    manifest = {"name": "j", "status": "done", "strength": message, "unit": "nat"}
    write_job(tmp_path / "j", manifest, None, [make_verdict("d", (0.5, 0.2, 0.8, 0.01))], {})
    table = write_sweep(tmp_path)
    assert table["strength"].replace({np.nan: None}).tolist() == [shown]
    text = printed(print_sweep, table)
    assert (f" {shown} " in text) == (shown is not None) and "strength" in text and "(nat)" in text


def matched_jobs(tmp_path, make_verdict):
    """Three jobs: one that reached its target, one that did not, one that had none."""
    for name, calibration in (
        ("reached", {"target": 2.0, "reached": True, "strength": 2.1}),
        ("missed", {"target": 2.0, "reached": False, "strength": 0.7}),
        ("untargeted", None),
    ):
        strength = {"effect": calibration["strength"] if calibration else 1.0}
        manifest = {"name": name, "status": "done", "strength": strength, "update": {"calibration": calibration}}
        write_job(tmp_path / name, manifest, None, [make_verdict("symmetry", (0.5, 0.3, 0.7, 0.01))], {})
    return open_results(tmp_path)


def test_a_method_that_missed_its_strength_is_marked_and_says_so(tmp_path, make_verdict):
    sweep = matched_jobs(tmp_path, make_verdict)
    table = sweep.table.set_index("job")
    assert table["strength_target"].dropna().to_dict() == {"missed": 2.0, "reached": 2.0}
    assert table["target_reached"].dropna().to_dict() == {"missed": False, "reached": True}
    text = printed(print_sweep, write_sweep(tmp_path))
    rows = {line.split()[0]: line for line in text.splitlines() if line.split()[:1]}
    assert "0.7 *" in rows["missed"] and "*" not in rows["reached"] + rows["untargeted"]
    assert "strength in missed:" in text and "0.7 where 2 nat were asked for" in text
    assert text.count("were asked for") == 1
    alone = {job.manifest["name"]: printed(print_job, job) for job in sweep.jobs}
    assert [name for name, told in alone.items() if "were asked for" in told] == ["missed"]


def test_jobs_of_one_name_are_told_apart_by_what_they_do_not_share(tmp_path, make_verdict):
    given = {"a": ["seed=0", "steps=3"], "b": ["seed=1", "steps=3"], "c": ["model=phi3"]}
    for folder, overrides in given.items():
        name = "phi3" if folder == "c" else "cnn"
        manifest = {"name": name, "status": "done", "overrides": overrides}
        write_job(tmp_path / folder, manifest, None, [make_verdict("symmetry", (0.5, 0.3, 0.7, 0.01))], {})
    names = sweep_table(open_results(tmp_path).jobs)["job"]
    assert set(names) == {"cnn seed=0", "cnn seed=1", "phi3"}


def varied_sweep(directory, make_verdict):
    """A dozen jobs: done, failed and without meaning; one to three findings, undefined ones, notes, targets, twins."""
    random = np.random.default_rng(0)
    for number in range(12):
        overrides = [f"model={'ab'[number % 2]}", f"seed={number // 4}", "steps=3"]
        manifest = {"name": f"model {number % 3}", "overrides": overrides, "status": "done"}
        manifest |= {"strength": None if number == 3 else {"effect": number / 7}, "unit": "nat"}
        if number % 4 == 1:
            manifest["update"] = {"calibration": {"target": 2.0, "reached": number > 4, "strength": 1.9}}
        if number in (5, 8):
            manifest |= {"status": "failed" if number == 5 else "not applicable", "reason": f"why {number}"}
        verdicts = []
        for k, name in enumerate(("sparsity", "logic", "symmetry")):
            ends = np.sort(random.random((1 + k, 3)), axis=1)[:, [1, 0, 2]] * (1, 0.09)[(number + k) % 2]
            p = random.random(1 + k) / 20
            findings = [(*row, one) for row, one in zip(ends.tolist(), 1 - p / 5 if (number + k) % 2 else p)]
            verdicts.append(make_verdict(name, *findings, note="n" * k))
        verdicts += [make_verdict("undefined", (np.nan, np.nan, np.nan, np.nan))] * (number % 2)
        write_job(directory / str(number), manifest, None, verdicts, {"noise_invariance": f"no noise {number % 2}"})
    return open_results(directory)


def obvious_table(jobs):
    """What `sweep_table` says, from the frame of each job and by loops over pairs of jobs."""
    rows = []
    for job in jobs:
        manifest = job.manifest
        alike = [other.manifest["overrides"] for other in jobs if other.manifest["name"] == manifest["name"]]
        own = [one for one in manifest["overrides"] if not all(one in other for other in alike)]
        found = (manifest.get("update") or {}).get("calibration") or {}
        shared = {"job": " ".join([manifest["name"], *own]), "path": str(job.path)}
        shared |= {"overrides": " ".join(manifest["overrides"]), "strength_target": found.get("target")}
        shared |= {"strength": (manifest["strength"] or {}).get("effect"), "strength_unit": manifest["unit"]}
        shared |= {
            "strength_reached": found.get("strength"),
            "target_reached": found.get("reached"),
            "status": manifest["status"],
        }
        if manifest["status"] != "done":
            rows.append({**shared, "reason": manifest["reason"]})
            continue
        for row in job.verdicts.to_dict("records"):
            fields = {**shared, **{name: row[name] for name in SWEEP_COLUMNS if name in row}}
            rows.append({**fields, "verdict_alone": row["verdict"]})
    table = pd.DataFrame(rows, columns=list(SWEEP_COLUMNS))
    for name, adjusted in (("p_value", "p_adjusted"), ("p_violated", "p_violated_adjusted")):
        heads = table[(table["finding"] == 0) & table[name].notna()]
        corrected = multipletests(heads[name], method="fdr_bh")[1]
        for (_, head), p_adjusted in zip(heads.iterrows(), corrected):
            same = (table["path"] == head["path"]) & (table["desideratum"] == head["desideratum"])
            table.loc[same, adjusted] = p_adjusted
    return table


def test_the_table_is_that_of_the_obvious_way(tmp_path, make_verdict):
    sweep = varied_sweep(tmp_path, make_verdict)
    found, expected = sweep.table, obvious_table(sweep.jobs)
    texts = [name for name, kind in SWEEP_COLUMNS.items() if kind == TEXT]
    expected[texts] = expected[texts].fillna("")
    for name, kind in SWEEP_COLUMNS.items():
        if name not in ("verdict", "how"):
            exact = not name.endswith("_adjusted")
            pd.testing.assert_series_equal(found[name], expected[name].astype(kind), check_exact=exact)
    verdicts = {(str(job.path), one.desideratum): one for job in sweep.jobs for one in read_verdicts(job.verdicts)}
    tested = found[found["status"] == "done"]
    of_row = [verdicts[row.path, row.desideratum] for row in tested.itertuples()]
    corrected = zip(tested["p_adjusted"], tested["p_violated_adjusted"])
    by_rule = [verdict.outcome(*pair) for verdict, pair in zip(of_row, corrected)]
    assert tested["verdict"].tolist() == by_rule and set(by_rule) == {SATISFIED, VIOLATED, INCONCLUSIVE}
    hows = [verdict.failing.how if outcome == VIOLATED else "" for verdict, outcome in zip(of_row, by_rule)]
    assert tested["how"].tolist() == hows


def test_of_very_many_jobs_the_first_are_printed_and_the_rest_counted(tmp_path, make_verdict, monkeypatch):
    sweep = varied_sweep(tmp_path, make_verdict)
    whole = printed(print_sweep, sweep.table)
    monkeypatch.setattr("eif_lab.console.tables.MOST_JOBS", 3)
    monkeypatch.setattr("eif_lab.console.tables.MOST_NAMES", 2)
    text = printed(print_sweep, sweep.table)
    assert "the first 3 of 12 jobs; sweep.parquet has all" in text and "the first" not in whole
    assert len(text.splitlines()) < 0.6 * len(whole.splitlines())
    assert re.search(r"symmetry in [^;]*; [^;]*; \d+ more:", " ".join(text.split()))


def test_single_job_is_no_sweep(write_jobs):
    with pytest.raises(ConfigError, match="results path must be a sweep"):
        write_sweep(write_jobs() / "model=a,method=full")


def printed(show, *arguments, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    show(*arguments, page(stream))
    return stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_printed_tables_are_plain_and_fit_the_page(write_jobs, encoding, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    directory = write_jobs(note="direct influence is not above zero: " + "a long explanation " * 12)
    texts = [printed(print_sweep, write_sweep(directory), encoding=encoding)]
    texts += [printed(print_job, job, encoding=encoding) for job in open_results(directory).jobs]
    for text in texts:
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= WIDTH
    assert max(map(len, texts[0].splitlines())) > 40


def test_terminal_gets_colours():
    assert "\x1b[" in _colourful()


def _colourful():
    stream = io.StringIO()
    verdict = Verdict("d", "c", [Finding("s", 1, 0.5, 2, 0.01, 9, "worlds", 0)], 0.05)
    job = JobResults(Path("p"), Manifest(name="j", status="done"))
    vars(job)["verdict_rows"] = verdict_frame([verdict], {}).to_dict("records")
    print_sweep(sweep_table([job]), Console(file=stream, force_terminal=True, color_system="standard", width=100))
    return stream.getvalue()


def test_job_table_tells_every_finding_with_its_numbers(tmp_path, make_verdict):
    verdicts = [
        make_verdict("symmetry", (0.612, 0.51, 0.713, 0.012), (0.222, -0.1, 0.333, 0.25)),
        make_verdict("compositionality", (-0.4, -0.5, -0.3, 1 - 2e-9), note="about [/bold] nothing"),
        make_verdict("sparsity", (0.06, 0.03, 0.09, 0.998), chance=0.02),
    ]
    write_job(tmp_path / "j", {"name": "j[0]", "status": "done"}, None, verdicts, {"ontology": "images have no worlds"})
    text = printed(print_job, open_results(tmp_path / "j"))
    rows = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    assert "symmetry statistic 0 > 0.1 0.612 [0.51, 0.713] 0.012 60 stimuli ? inconclusive" in rows
    assert "statistic 1 > 0.1 0.222 [-0.1, 0.333] 0.25 61 stimuli" in rows
    assert "compositionality statistic 0 > 0.1 -0.4 [-0.5, -0.3] <= 0.001 60 stimuli ✗ violated" in rows
    assert "sparsity statistic 0 > 0.1 0.06 [0.03, 0.09] 0.002 60 stimuli ✗ violated" in rows
    assert [row for row in rows if row.endswith((REVERSED, SHORT))] == [REVERSED, f"(chance 0.02) {SHORT}"]
    legend = next(row for row in rows if row.startswith("violated"))
    assert (
        "reversed: the wrong way round" in legend
        and "short: above chance but too little" in legend
        and ABSENT not in legend
    )
    for words in ("j[0]", "about [/bold] nothing", "ontology: not applicable", "images have no worlds"):
        assert words in text


def test_wide_sweep_shows_every_desideratum_whole(tmp_path, make_verdict):
    names = ["symmetry", "distance_decay", "sparsity", "noise_invariance", "ontology", "transitivity"]
    names += ["causality", "compositionality", "implication", "reversal", "negation"]
    effects = {name: (k + 1) / 100 for k, name in enumerate(names)}
    verdicts = [make_verdict(name, (effect, -0.12345, 0.98765, 0.5)) for name, effect in effects.items()]
    write_job(tmp_path / "j", {"name": "model=cnn,method=lora", "status": "done"}, None, verdicts, {})
    text = printed(print_sweep, write_sweep(tmp_path))
    for name in names:
        assert all(word in text for word in name.split("_"))
    assert re.findall(r"\? (\S+)", text.split("? inconclusive")[0]) == [f"{effect:.2g}" for effect in effects.values()]
    assert text.count("[-0.12, 0.99]") == len(names)


def test_reason_shared_by_jobs_is_told_once(write_jobs):
    text = printed(print_sweep, write_sweep(write_jobs()))
    assert text.count("perturbation must be noise") == 1
    assert "noise_invariance in model=a,method=full; model=a,method=lora: not applicable" in text


def test_a_verdict_is_not_cut_beside_long_names_and_numbers(tmp_path):
    long = Finding("between_classes_feature", -0.0385, -0.0955, -0.00303, 0.0127, 20, "10 classes", 0.05, 0.64, 0.0)
    verdicts = [Verdict(name, "claim", [long], 0.01) for name in ("distance_decay", "noise_invariance")]
    write_job(tmp_path / "j", {"name": "j", "status": "done"}, None, verdicts, {})
    text = printed(print_job, open_results(tmp_path / "j"))
    assert text.count("? inconclusive") == 2 and max(map(len, text.splitlines())) <= WIDTH
    assert "invariance" in text and "distance > 0.05" in " ".join(text.split())
