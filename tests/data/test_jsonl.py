"""One's own texts: the documented example, what each line becomes, and every mistake told with file, line and field."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest

from eif_lab import make_task
from eif_lab.data.contrast import has_foils
from eif_lab.data.task import FOILS, RELATIONS
from eif_lab.data.texts.jsonl import JSONL
from eif_lab.data.texts.lines import KINDS
from eif_lab.errors import ConfigError
from eif_lab.perturbations.relabel import Relabel
from eif_lab.perturbations.template import Template

DOCUMENT = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
EXAMPLE = re.search(r"```jsonl\n(.*?)```", DOCUMENT, re.DOTALL)[1]
SHORT = [json.loads(line) for line in re.search(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)[1].splitlines()]


@pytest.fixture
def load(tmp_path):
    """Loads lines, texts or objects, as a file of their own."""

    def load(*lines, background="context", delimiter=" "):
        file = tmp_path / "mine.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return JSONL(path=str(file), background=background, delimiter=delimiter).load(0)

    return load


@pytest.fixture
def example(load):
    return load(*EXAMPLE.splitlines())


def cell(task, stimulus, probe):
    return task.stimuli.ids.tolist().index(stimulus), task.probes.ids.tolist().index(probe)


def test_the_documented_example_becomes_the_task_that_it_describes(example):
    task = example
    lines = [json.loads(line) for line in EXAMPLE.splitlines()]
    fields = {(line["stimulus"], line.get("probe", line.get("id"))): line for line in lines if "stimulus" in line}
    known = " ".join(line["text"] for line in lines if line["kind"] == "background")
    for i, stimulus in enumerate(task.stimuli.ids):
        for j, probe in enumerate(task.probes.ids):
            line = fields.get((stimulus, probe), {"relation": "direct" if stimulus == probe else "unrelated"})
            assert task.relation[i, j] == line["relation"]
            foils = {name: task.probes.ids[places[i, j]] for name, places in task.foils.items() if places[i, j] >= 0}
            assert foils == line.get("foils", {})
            distance = line.get("distances", {}).get("steps", np.nan)
            np.testing.assert_equal(task.distances["steps"][i, j], distance)
    assert dict(zip(task.probes.ids, task.probes.coords["negates"]))["dax flies not"] == "dax flies"
    written = {line["id"]: line for line in lines if line["kind"] == "probe"}
    for name, prompt, target, candidates in zip(
        task.probes.ids, task.probes.prompts, task.probes.targets, task.probes.candidates
    ):
        line = written[name]
        assert prompt + target == f"{known} {line['prompt']}{line['target']}"
        assert set(candidates) == set(line.get("candidates", ()))
        assert not candidates or candidates[0] == line["target"]


def test_the_documented_example_can_be_reworded_negated_and_taught(load, example):
    assert set(Template().apply(example, 0).stimuli.targets) > set(example.stimuli.targets)
    assert Relabel().apply(example, 0).stimuli.targets == tuple(example.stimuli.coords["negation"])
    task = load(*EXAMPLE.splitlines(), background="taught")
    assert task.background.facts.targets == ("Birds can fly.", "Fish can swim.")
    assert task.background.questions.candidates == ((" fly", " swim"), (" swim", " fly"))
    assert "" in task.probes.prompts


def test_the_document_names_every_kind_and_every_field():
    table = DOCUMENT[DOCUMENT.index("| kind | field |") :]
    for kind, fields in KINDS.items():
        part = re.search(rf"\| `{kind}` (.*?)(\n\| `|\n\n)", table, re.DOTALL)[1]
        assert all(f"`{name}`" in part for name in fields), kind


def test_the_document_quotes_an_error_as_it_is(load):
    quoted = re.search(r"examples.jsonl:4: (probe.relation .*)", DOCUMENT)[1]
    with pytest.raises(ConfigError) as caught:
        load(STIMULUS, PROBE | {"id": "q", "stimulus": "a", "relation": "entails"})
    assert str(caught.value).partition(": ")[2] == quoted


STIMULUS = {"kind": "stimulus", "id": "a", "target": "A."}
PROBE = {"kind": "probe", "id": "p", "prompt": "what is", "target": " A"}
RELATED = PROBE | {"stimulus": "a", "relation": "entailed"}
FOIL = RELATED | {"id": "f", "relation": "foil"}

MISTAKES = {
    "an unknown kind": ([{"kind": "stimuli", "id": "a"}], r":1: kind must be one of .*Did you mean stimulus\?"),
    "no kind": ([{"id": "a"}], r":1: kind must be one of"),
    "an unknown field": ([STIMULUS | {"wordlings": []}], r":1: field of a stimulus must .*Did you mean wordings\?"),
    "a missing field": ([{"kind": "stimulus", "id": "a"}], r":1: stimulus.target must be text .*got None"),
    "a blank target": ([STIMULUS | {"target": "  "}], r":1: stimulus.target must be text that is not blank"),
    "a target that is no text": ([STIMULUS | {"target": 3}], r":1: stimulus.target must be text .*got 3"),
    "a statement of two lines without an id": (
        [{"kind": "stimulus", "target": "A\nB."}], r":1: stimulus.id must be text that names it, .*got None. Add it."),
    "clozes that are sentences": (
        [STIMULUS | {"direct": ["A is", "B"]}], r":1: stimulus.direct must be a list of clozes, each \[prompt, "),
    "a cloze without a prompt": ([STIMULUS | {"direct": [["", "B"]]}], r":1: stimulus.direct must be a list of clozes"),
    "a cloze named twice": (
        [STIMULUS | {"direct": [["A is", "B"]], "contradicted": [["A is ", " B"]]}],
        r":1: stimulus.contradicted must be named once by a stimulus, got \['A is', ' B'\]"),
    "a cloze that nothing gives a foil": (
        [STIMULUS | {"direct": [["A is", "B"]]}, STIMULUS | {"id": "b", "direct": [["C is", "B"]]}],
        r":1: stimulus.direct must have its foils from another stimulus, .*got \['A is', ' B'\]. Add such a stimulus"),
    "a cloze whose foil the stimulus names": (
        [STIMULUS | {"direct": [["A is", "B"]], "contradicted": [["A is", "D"]]},
         STIMULUS | {"id": "b", "direct": [["C is", "D"]], "contradicted": [["C is", "B"]]}],
        r":1: stimulus.direct must have its foils from another stimulus"),
    "an id that is no text": ([STIMULUS | {"id": 7}], r":1: stimulus.id must be text that names it, in one .*got 7"),
    "a world that is no number": ([STIMULUS | {"world": "x"}], r":1: stimulus.world must be a whole number"),
    "a world that is true": ([STIMULUS | {"world": True}], r":1: stimulus.world must be a whole number"),
    "an unknown relation": ([STIMULUS, RELATED | {"relation": "entail"}], r":2: probe.relation must be one of direct,"),
    "a stimulus without a relation": ([STIMULUS, PROBE | {"stimulus": "a"}], r":2: probe.relation must be one of"),
    "a relation without a stimulus": (
        [STIMULUS, PROBE | {"relation": "foil"}], r":2: probe.stimulus must be given with a relation"),
    "an absent stimulus": (
        [STIMULUS | {"id": "alpha"}, RELATED | {"stimulus": "alpa"}],
        r":2: probe.stimulus must be the id of a stimulus, got 'alpa'. Did you mean alpha\?"),
    "an absent probe": (
        [STIMULUS, PROBE, {"kind": "pair", "stimulus": "a", "probe": "q", "relation": "foil"}],
        r":3: pair.probe must be the id of a probe, got 'q'"),
    "an absent foil": ([STIMULUS, RELATED | {"foil": "q"}], r":2: probe.foil must be the id of a probe, got 'q'"),
    "a denial of nothing": ([STIMULUS, PROBE | {"negates": "q"}], r":2: probe.negates must be the id of a probe"),
    "a foil that is none": (
        [STIMULUS, RELATED | {"foil": "q"}, PROBE | {"id": "q"}],
        r":2: probe.foil must be a probe whose relation to 'a' is foil, not unrelated, got 'q'"),
    "a foil of a foil": ([STIMULUS, FOIL | {"foil": "f"}], r":2: probe.foil must be left out of what is foil"),
    "foils by another name": (
        [STIMULUS, RELATED | {"foils": {"same_word": "f"}}, FOIL],
        r":2: probe.foils must give same_subject, same_words, neither, or some of these, the ids of probes, got"),
    "foils of no name": ([STIMULUS, RELATED | {"foils": {}}, FOIL], r":2: probe.foils must give same_subject, same_wo"),
    "absent foils": (
        [STIMULUS, RELATED | {"foils": {"same_words": "g"}}, FOIL],
        r":2: probe.foils must be the id of a probe, got 'g'"),
    "foils that are none": (
        [STIMULUS, RELATED | {"foils": {"neither": "q"}}, PROBE | {"id": "q"}],
        r":2: probe.foils must be a probe whose relation to 'a' is foil, not unrelated, got 'q'"),
    "foils beside a foil": (
        [STIMULUS, RELATED | {"foil": "f", "foils": {"neither": "f"}}, FOIL],
        r":2: probe.foil must be left out where foils are given, got 'f'"),
    "a stimulus twice": ([STIMULUS, STIMULUS, PROBE], r":2: stimulus.id must differ from that of line 1, got 'a'"),
    "a probe twice": ([STIMULUS, PROBE, PROBE], r":3: probe.id must differ from that of line 2, got 'p'"),
    "a pair twice": (
        [STIMULUS, RELATED, {"kind": "pair", "stimulus": "a", "probe": "p", "relation": "foil"}],
        r":3: pair.stimulus must be paired with the probe once, as in line 2"),
    "an id of another sample": (
        [STIMULUS, PROBE | {"id": "a"}], r":2: probe.id must be another one than that of line 1, which says something"),
    "a stimulus that denies itself": (
        [STIMULUS, STIMULUS | {"kind": "probe", "stimulus": "a", "relation": "foil"}],
        r":2: probe.relation must be direct between a stimulus and itself"),
    "candidates without the target": (
        [STIMULUS, PROBE | {"candidates": [" B", " C"]}], r":2: probe.candidates must include the target ' A'"),
    "one candidate": ([STIMULUS, PROBE | {"candidates": [" A"]}], r":2: probe.candidates must be at least two"),
    "a candidate twice": ([STIMULUS, PROBE | {"candidates": [" A", " A"]}], r":2: probe.candidates must be"),
    "a distance that is no number": (
        [STIMULUS, RELATED | {"distances": {"path": "far"}}], r":2: probe.distances must give names"),
    "an infinite distance": ([STIMULUS, '{"kind": "probe", "id": "p", "target": " A", "stimulus": "a", '
        '"relation": "foil", "distances": {"path": Infinity}}'], r":2: probe.distances must give names"),
    "a distance beyond all numbers": (
        [STIMULUS, RELATED | {"distances": {"path": 10**400}}], r":2: probe.distances must give names .*0{99}\.\.\."),
    "a distance of 1e999": ([STIMULUS, '{"kind": "probe", "id": "p", "target": " A", "stimulus": "a", '
        '"relation": "foil", "distances": {"path": 1e999}}'], r":2: probe.distances must give names"),
    "a distance that is true": (
        [STIMULUS, RELATED | {"distances": {"path": True}}], r":2: probe.distances must give names"),
    "a distance called like a path": (
        [STIMULUS, RELATED | {"distances": {"../path": 1}}], r":2: probe.distances must give names .*letters"),
    "a distance with a name without end": (
        [STIMULUS, RELATED | {"distances": {"d" * 300: 1}}], r":2: probe.distances must give names .*at most 50"),
    "an id of two lines": ([STIMULUS | {"id": "a\nb"}, PROBE], r":1: stimulus.id must be text that names it, in one"),
    "an id that colours the terminal": (
        [STIMULUS, PROBE | {"id": "\x1b[31mp"}], r":2: probe.id must be text that names it, in one line"),
    "a text that fills the memory": (
        [STIMULUS, *(PROBE | {"id": str(n)} for n in range(999)), PROBE | {"target": "x" * 300_000}],
        r":1001: probe must have texts of at most 268435 characters \(of 1000,"),
    "a background that fills the memory": (
        [STIMULUS | {"world": 0}, *(RELATED | {"id": str(n)} for n in range(1000)),
         {"kind": "background", "world": 0, "text": "x" * 300_000}], r":2: probe must have texts of at most 268435"),
    "worlds for some": (
        [STIMULUS | {"world": 0}, STIMULUS | {"id": "b"}, PROBE], r":2: stimulus.world must be given for every"),
    "a probe of no world": ([STIMULUS | {"world": 0}, PROBE], r":2: probe.world must be given for a probe"),
    "background of no world": (
        [STIMULUS, PROBE, {"kind": "background", "world": 0, "text": "B."}], r":3: background.world must be the"),
    "background of another world": (
        [STIMULUS | {"world": 1}, RELATED, {"kind": "background", "world": 0, "text": "B."}],
        r":3: background.world must be the world of a stimulus, got 0"),
    "negations for some": (
        [STIMULUS | {"negation": "Not A."}, STIMULUS | {"id": "b"}, PROBE],
        r":2: stimulus.negation must be given for every stimulus or for none"),
    "an empty line": ([STIMULUS, "", PROBE], r":2: line must be a JSON object, got an empty line. Remove it."),
    "broken JSON": ([STIMULUS, '{"kind": "probe",'], r":2: line must be a JSON object, got '\{.*\(Expecting"),
    "a field twice": (['{"kind": "stimulus", "id": "a", "id": "b", "target": "A."}'], r":1: line must .*twice"),
    "a list": ([STIMULUS, "[1, 2]"], r":2: line must be a JSON object, got \[1, 2\]"),
    "no stimulus": ([PROBE], r" must have a line of kind stimulus, got none. See docs/data.md"),
    "no probe": ([STIMULUS], r" must have a line of kind probe, got none"),
    "an empty file": ([""], r" must have a JSON object on each line, got an empty file. See docs/data.md"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_with_file_line_and_field(load, mistake):
    lines, message = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        load(*lines)
    assert re.search(r"mine\.jsonl" + message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


LISTED = [name for name, (lines, _) in MISTAKES.items() if all(isinstance(line, dict) for line in lines)]


@pytest.mark.parametrize("mistake", LISTED)
def test_a_list_has_the_mistakes_of_a_file_by_the_place_in_the_list(mistake):
    lines, told = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        make_task(lines)
    place = re.sub(r"^:(\d+)", lambda found: rf"lines\[{int(found[1]) - 1}\]", told)
    place = re.sub(r"\bline (\d+)", lambda found: rf"lines\[{int(found[1]) - 1}\]", place)
    assert re.search(place, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_encodings_are_named_by_byte_and_column(tmp_path):
    file = tmp_path / "latin.jsonl"
    file.write_bytes(json.dumps(STIMULUS).encode() + b"\n" + '{"kind": "é"}'.encode("latin-1") + b"\n")
    with pytest.raises(ConfigError, match=r"latin.jsonl:2: line must be UTF-8, got byte 0xe9 at column 11. Save"):
        JSONL(path=str(file)).load(0)


def test_line_ends_and_marks_of_other_systems_change_nothing(tmp_path, example):
    file = tmp_path / "windows.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode())
    task = JSONL(path=str(file)).load(0)
    assert task.probes.prompts == example.probes.prompts
    assert np.array_equal(task.relation, example.relation)


def test_of_a_long_value_an_error_shows_the_beginning(load):
    with pytest.raises(ConfigError, match=r":1: stimulus.target must be text .*got \['xxx") as caught:
        load(STIMULUS | {"target": ["x" * 10**6]}, PROBE)
    assert len(str(caught.value)) < 500


def test_taught_background_needs_questions(load):
    lines = [STIMULUS | {"world": 0}, RELATED, {"kind": "background", "world": 0, "text": "B."}]
    with pytest.raises(ConfigError, match=r":3: background.world must have a line of kind question, got 0. Or try"):
        load(*lines, background="taught")
    load(*lines, background="context")


def test_order_of_lines_changes_no_label(load, example):
    task = load(*reversed(EXAMPLE.splitlines()))
    for stimulus in example.stimuli.ids:
        for probe in example.probes.ids:
            assert task.relation[cell(task, stimulus, probe)] == example.relation[cell(example, stimulus, probe)]


def test_every_relation_can_be_given(load):
    probes = [PROBE | {"id": name, "stimulus": "a", "relation": name} for name in RELATIONS]
    assert load(STIMULUS, *probes).relation.tolist() == [list(RELATIONS)]


@pytest.mark.parametrize("relation", ["direct", "entailed", "contradicted", "converse"])
def test_a_foil_by_itself_is_the_one_of_the_same_subject(load, relation):
    task = load(STIMULUS, PROBE | {"stimulus": "a", "relation": relation, "foil": "f"}, FOIL)
    assert {name: places.tolist() for name, places in task.foils.items()} == {"same_subject": [[1, -1]]}


def test_a_path_is_needed(tmp_path):
    for path in (None, str(tmp_path / "absent.jsonl"), str(tmp_path)):
        with pytest.raises(ConfigError, match=r"dataset.path must name a file, got"):
            JSONL(path=path).load(0)
    assert JSONL().identity() == []


def test_identity_follows_the_contents(load, tmp_path):
    load(STIMULUS, PROBE)
    path = str(tmp_path / "mine.jsonl")
    before = JSONL(path=path).identity()
    load(STIMULUS, PROBE | {"target": " B"})
    assert JSONL(path=path).identity() != before


def said(task):
    """All that a task holds, in plain containers."""
    relation, foils = task.relation.tolist(), {name: places.tolist() for name, places in task.foils.items()}
    texts = [(part.ids.tolist(), part.prompts, part.targets, part.candidates) for part in task.texts]
    coords = [{name: values.tolist() for name, values in part.coords.items()} for part in task.texts]
    return texts, coords, relation, foils


@pytest.mark.parametrize("lines", [SHORT, [json.loads(line) for line in EXAMPLE.splitlines()]], ids=["short", "long"])
def test_a_list_is_the_task_that_its_lines_are_in_a_file(load, lines):
    assert said(make_task(iter(lines))) == said(load(*lines))
    taught = [make_task(lines, background="taught"), load(*lines, background="taught")]
    assert said(taught[0]) == said(taught[1])


def test_named_clozes_are_probes_each_crossed_with_that_of_another_stimulus(load):
    task = load(*SHORT)
    text = [f"{prompt}{target}" for prompt, target in zip(task.probes.prompts, task.probes.targets)]
    named = [name for name in ("direct", "entailed", "converse") for _ in SHORT[0][name]]
    for i, line in enumerate(SHORT):
        assert task.relation[i, text.index(line["target"])] == "direct"
        for relation in set(named):
            for prompt, target in line[relation]:
                j = text.index(f"{prompt} {target}")
                assert task.relation[i, j] == relation
                places = [task.foils[name][i, j] for name in FOILS]
                assert (task.relation[i, places] == "foil").all()
                others = [one[relation][0] for one in SHORT if one is not line]
                crossed = [[f"{prompt} {b}", f"{a} {target}", f"{a} {b}"] for a, b in others]
                assert [text[place] for place in places] in crossed
        assert has_foils(task.foils, task.relation.shape)[i].sum() == len(named)
    for target, candidates, prompt in zip(task.probes.targets, task.probes.candidates, task.probes.prompts):
        behind = {other for other, before in zip(task.probes.targets, task.probes.prompts) if before == prompt}
        assert set(candidates) == (behind if prompt else set()) and candidates[:1] in ((), (target,))


def test_a_cloze_is_crossed_within_its_world_and_then_with_what_is_most_like_it(load):
    lines = [
        {"kind": "stimulus", "world": world, "id": name, "target": f"{name}.", "entailed": [[prompt, target]]}
        for name, world, prompt, target in [
            ("a", 0, "A dax can", "fly"),
            ("b", 1, "A wug can", "swim"),
            ("c", 0, "The fep eats", "seeds"),
            ("d", 1, "The toma eats", "grass"),
            ("e", 1, "A kiki can", "jump"),
        ]
    ]
    task = load(*lines)
    partners = {i: task.probes.ids[task.foils["neither"][row][task.relation[row] == "entailed"][0]]
                for row, i in enumerate(task.stimuli.ids)}  # fmt: skip
    assert partners == {
        "a": "The fep eats | seeds",
        "b": "A kiki can | jump",
        "c": "A dax can | fly",
        "d": "A kiki can | jump",
        "e": "A wug can | swim",
    }


def test_lines_of_their_own_stand_beside_named_clozes(load):
    own = {"kind": "probe", "prompt": "A dax can", "target": "fly", "candidates": ["fly", "sing"]}
    further = {
        "kind": "probe",
        "prompt": "A bird can",
        "target": "fly",
        "stimulus": "A dax is a bird.",
        "relation": "entailed",
    }
    task = load(*SHORT, own, further)
    place = task.probes.ids.tolist().index("A dax can | fly")
    assert task.probes.candidates[place] == (" fly", " sing") and task.relation[0, place] == "entailed"
    assert task.relation[0, task.probes.ids.tolist().index("A bird can | fly")] == "entailed"


@pytest.mark.parametrize(("prompt", "target"), [("what is", "A"), ("what is ", "A"), ("what is ", "  A")])
def test_spaces_before_a_target_mean_the_same_wherever_they_stand(load, prompt, target):
    candidates = {"candidates": [target, "B"]}
    task = load(STIMULUS, RELATED | {"candidates": [" A", " B"]}, FOIL)
    assert said(load(STIMULUS, RELATED | candidates | {"prompt": prompt, "target": target}, FOIL)) == said(task)


@pytest.mark.parametrize(
    ("prompt", "target", "delimiter", "joined"),
    [
        ("what is", "A", "", ("what is", "A")),
        ("what is ", "A", "", ("what is", " A")),
        ("what is:\n", "A", " ", ("what is:", "\nA")),
        ("什么是", "鸟", "", ("什么是", "鸟")),
        (" ", " A is B.", " ", ("", "A is B.")),
        ("what is", "A", ": ", ("what is", ": A")),
    ],
)
def test_the_delimiter_stands_in_every_gap_of_spaces_and_in_no_other(load, prompt, target, delimiter, joined):
    task = load(STIMULUS, PROBE | {"prompt": prompt, "target": target}, delimiter=delimiter)
    assert (task.probes.prompts[0], task.probes.targets[0]) == joined


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("facts.jsonl", r"lines must be a list of mappings, got 'str'. Try load_task\('jsonl', path=...\) for a file."),
        (STIMULUS, r"lines must be a list of mappings, got 'dict'. Put it into a list."),
        (None, r"lines must be a list of mappings, got 'NoneType'"),
        ([STIMULUS, 3], r"lines\[1\]: line must be a JSON object, got 3"),
        ([STIMULUS | {"world": np.arange(99)}], r"lines\[0\] must hold what JSON can \(Object of type ndarray"),
        ([STIMULUS | {"target": "\ud800"}], r"lines\[0\]: line must hold text without NUL"),
    ],
)
def test_what_is_no_list_of_lines_is_refused_in_one_line(lines, told):
    with pytest.raises(ConfigError, match=told) as caught:
        inspect.unwrap(make_task)(lines)
    assert "\n" not in str(caught.value)
