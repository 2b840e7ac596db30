"""The W&B workspace, up to the specification that would be uploaded; nothing here needs a network."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
from wandb_workspaces.workspaces import interface, internal

from eif_lab.commands import workspace as command
from eif_lab.commands.choices import choices
from eif_lab.results.scalars import BESIDE_LEARNERS, CHARTS, MEDIA, NAMED, OF_SWEEP, config_key, summary_keys
from eif_lab.results.trackers.wandb_workspace import COMPARED, specification, workspace

ASKED = ["--entity", "somebody", "--project", "influence"]


@pytest.fixture
def offline(monkeypatch):
    """No key, and no connection that could be opened."""

    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def sections():
    view = specification(workspace("somebody", "influence", "Desiderata", list(choices("desideratum"))))
    return {one["name"]: one["panels"] for one in view["spec"]["section"]["panelBankConfig"]["sections"]}


def table_name(panel):
    """The summary's key that a query panel picks."""
    return panel["config"]["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]


def charted(config):
    """The table that a chart is drawn from."""
    (runs,) = config["userQuery"]["queryFields"]
    (table,) = [field for field in runs["fields"] if field["name"] == "summaryTable"]
    return table["args"][0]["value"]


def named_keys(panel):
    """What a panel asks runs for."""
    if panel["viewType"] == "Weave":
        return {table_name(panel)}
    config = panel["config"]
    if panel["viewType"] == "Vega2":
        return {charted(config)}
    return {*config.get("metrics", []), *config.get("mediaKeys", []), *([config["xAxis"]] if "xAxis" in config else [])}


def test_every_key_that_a_panel_names_is_one_that_runs_write(sections):
    bars = {f"{BESIDE_LEARNERS}/{name}_table" for name in choices("desideratum")}
    written = {*summary_keys(choices("desideratum")), *CHARTS, *MEDIA, *OF_SWEEP, *bars}
    named = {key for panels in sections.values() for panel in panels for key in named_keys(panel)}
    assert named <= written
    assert {"strength", "pairs_per_second", "influence", "verdicts"} <= named


def test_every_group_of_runs_is_one_that_their_config_names(sections):
    panels = [panel for panels in sections.values() for panel in panels]
    groups = {panel["config"]["groupBy"] for panel in panels if "groupBy" in panel["config"]}
    assert groups == {f"{config_key(part)}.value" for part in COMPARED}
    assert set(COMPARED) <= set(NAMED)


def test_every_desideratum_has_verdict_and_effect_against_every_group(sections):
    names = {file.stem for file in (Path(__file__).parents[2] / "conf" / "desideratum").glob("*.yaml")}
    for part in COMPARED:
        named = set().union(*map(named_keys, sections[f"Verdict against {part}"]))
        assert named == {f"{what}/{name}" for what in ("score", "effect") for name in names}


def test_sweeps_come_first_with_their_tables_and_every_desideratum_beside_the_learners(sections):
    name, panels = next(iter(sections.items()))
    assert name == "Sweeps, beside the reference learners"
    bars = {f"{BESIDE_LEARNERS}/{one}_table" for one in choices("desideratum")}
    assert set().union(*map(named_keys, panels)) == {*OF_SWEEP, *bars}
    fields = [panel["config"]["fieldSettings"] for panel in panels if panel["viewType"] == "Vega2"]
    assert fields == [{"label": "job", "value": "effect"}] * len(bars)


def test_columns_of_the_list_of_runs_are_their_verdicts():
    view = specification(workspace("somebody", "influence", "Desiderata", ["symmetry", "logic"]))
    (runs,) = view["spec"]["section"]["runSets"]
    columns = [column.removeprefix("summary:") for column in runs["runFeed"]["columnOrder"]]
    assert columns[0] == "run:displayName"
    assert set(columns[1:]) <= set(summary_keys(["symmetry", "logic"]))
    assert {"verdict/symmetry", "verdict/logic"} <= set(columns)


def test_printed_workspace_is_what_would_be_uploaded(monkeypatch, capsys):
    uploaded = {}

    def take(api, query, variables):
        uploaded.update(variables)
        return {"upsertView": {"view": {"id": "1", "name": "nw-1-v"}}}

    monkeypatch.setattr(internal, "execute_graphql", take)
    monkeypatch.setattr(internal.wandb, "Api", lambda: None)
    monkeypatch.setattr(interface, "get_app_url", lambda api: "https://wandb.test")
    assert command.main(ASKED) == 0
    capsys.readouterr()
    assert command.main([*ASKED, "--print"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (uploaded["entityName"], uploaded["projectName"]) == ("somebody", "influence")
    assert (printed["entity"], printed["project"], printed["name"]) == ("somebody", "influence", "Desiderata")
    assert without_ids(printed["spec"]) == without_ids(json.loads(uploaded["spec"]))


def without_ids(value):
    """Panels are given new ones each time."""
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key != "__id__"}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def test_printing_needs_neither_key_nor_network(offline, capsys):
    assert command.main([*ASKED, "--print"]) == 0
    assert json.loads(capsys.readouterr().out)["project"] == "influence"


def test_what_keeps_it_from_being_saved_is_one_line(monkeypatch, capsys):
    def refuse():
        raise OSError("no route\nto host")

    monkeypatch.setattr(internal.wandb, "Api", refuse)
    assert command.main(ASKED) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("workspace cannot be saved (OSError: no route to host). Try wandb login")
    assert len(printed.splitlines()) == 1


def test_absent_package_is_one_line_that_says_what_to_install(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "eif_lab.results.trackers.wandb_workspace")
    for name in [name for name in sys.modules if name.split(".")[0] == "wandb_workspaces"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert command.main([*ASKED, "--print"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert "wandb-workspaces" in printed.err and "pip install 'eif-lab[workspace]'" in printed.err
