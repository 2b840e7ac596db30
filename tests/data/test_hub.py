"""Data of the hub and in its formats: what rows become, held to the same lines as jsonl's and the same pictures."""

import io
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from huggingface_hub import constants
from PIL import Image

from eif_lab import load_task, make_task
from eif_lab.data import table
from eif_lab.data.hub import Columns, Hub
from eif_lab.data.images.image_folder import ImageFolder
from eif_lab.errors import ConfigError

KINDS = {"dax": ("bird", "fly"), "wug": ("fish", "swim"), "fep": ("frog", "jump"), "zorp": ("snake", "crawl")}
ROWS = [
    {
        "statement": f"A {name} is a {kind}.",
        "q1": f"A {name} is a", "a1": kind, "q2": f"A {name} can", "a2": does, "world": place // 2, "name": place,
        "denial": f"A {name} is not a {kind}.", "again": f"Every {name} is a kind of {kind}.",
    }
    for place, (name, (kind, does)) in enumerate(KINDS.items())
]  # fmt: skip
COLUMNS = {
    "target": "statement", "id": "name", "world": "world", "negation": "denial", "wordings": ["again"],
    "direct": ["q1", "a1"], "entailed": ["q2", "a2"],
}  # fmt: skip
LINES = [
    {
        "kind": "stimulus", "id": str(row["name"]), "target": row["statement"], "world": row["world"],
        "negation": row["denial"], "wordings": [row["again"]],
        "direct": [[row["q1"], row["a1"]]], "entailed": [[row["q2"], row["a2"]]],
    }
    for row in ROWS
]  # fmt: skip
WRITE = {
    "csv": lambda frame, file: frame.to_csv(file, index=False),
    "tsv": lambda frame, file: frame.to_csv(file, index=False, sep="\t"),
    "parquet": lambda frame, file: frame.to_parquet(file, index=False),
    "json": lambda frame, file: frame.to_json(file, orient="records"),
    "jsonl": lambda frame, file: frame.to_json(file, orient="records", lines=True),
}


@pytest.fixture(autouse=True)
def without_a_hub(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def written(folder, rows, name="facts.jsonl"):
    """A file of these rows."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    WRITE[file.suffix[1:]](pd.DataFrame(rows), file)
    return str(file)


def load(path, seed=0, **options):
    return load_task("hub", seed=seed, path=str(path), **{"stimuli": 4, **options})


def same(task, other, ids):
    """Whether two tasks say the same, in the order of these stimuli."""
    rows = [other.stimuli.ids.tolist().index(one) for one in ids]
    columns = [other.probes.ids.tolist().index(one) for one in task.probes.ids]
    other = other.take(np.array(rows), np.array(columns))
    assert task.stimuli.targets == other.stimuli.targets and task.probes.targets == other.probes.targets
    assert task.probes.prompts == other.probes.prompts
    assert [set(one) for one in task.probes.candidates] == [set(one) for one in other.probes.candidates]
    for name in ("world", "negation", "wording_1"):
        assert task.stimuli.coords[name].tolist() == other.stimuli.coords[name].tolist()
    np.testing.assert_array_equal(task.relation, other.relation)
    return True


# Texts


@pytest.mark.parametrize("form", list(WRITE))
def test_rows_say_what_the_same_lines_of_jsonl_say(form, tmp_path):
    task = load(written(tmp_path, ROWS, f"facts.{form}"), columns=COLUMNS)
    assert sorted(task.stimuli.ids) == ["0", "1", "2", "3"]
    assert same(task, make_task(LINES), task.stimuli.ids.tolist())


def test_a_column_may_hold_lists_of_clozes_and_of_wordings(tmp_path):
    lists = [
        {"text": row["statement"], "world": row["world"], "no": row["denial"], "more": [row["again"]], "n": row["name"],
         "stated": [[row["q1"], row["a1"]]], "follows": [[row["q2"], row["a2"]]]}
        for row in ROWS
    ]  # fmt: skip
    columns = {"id": "n", "world": "world", "negation": "no", "wordings": ["more"], "direct": ["stated"]}
    task = load(written(tmp_path, lists, "facts.parquet"), columns={**columns, "entailed": ["follows"]})
    assert same(task, make_task(LINES), task.stimuli.ids.tolist())


def test_bare_statements_are_stimuli_and_probes(tmp_path):
    path = written(tmp_path, [{"text": row["statement"]} for row in ROWS])
    task, wider = load(path, stimuli=3), load(path, stimuli=2, probes=4)
    assert task.stimuli.targets == task.probes.targets and len(task.stimuli) == 3
    np.testing.assert_array_equal(task.relation == "direct", np.eye(3, dtype=bool))
    assert wider.probes.targets[:3] == task.probes.targets and wider.stimuli.targets == task.stimuli.targets[:2]
    assert wider.relation.shape == (2, 4)
    drawn = {load(path, seed=seed, stimuli=2).stimuli.targets for seed in range(8)}
    assert len(drawn) > 1 and load(path, stimuli=2).stimuli.targets == load(path, stimuli=2).stimuli.targets


def test_splits_are_told_by_the_names_of_files_and_can_be_cut(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        written(tmp_path / "facts", [{"text": row["statement"]} for row in ROWS[:count]], f"{split}.jsonl")
    assert load(tmp_path / "facts", split="test", stimuli=1).stimuli.targets == (ROWS[0]["statement"],)
    first = load(tmp_path / "facts", split="train[:2]", stimuli=2).stimuli.targets
    assert set(first) == {row["statement"] for row in ROWS[:2]}


def test_a_changed_file_is_read_anew_and_known_by_its_contents(tmp_path):
    path = written(tmp_path, [{"text": "A dax is a bird."}])
    first = Hub(path=path).identity()
    assert load(path, stimuli=1).stimuli.targets == ("A dax is a bird.",)
    (tmp_path / "facts.jsonl").write_text('{"text": "A dax is a fish."}\n')
    assert load(path, stimuli=1).stimuli.targets == ("A dax is a fish.",)
    assert Hub(path=path).identity() != first


def test_read_on_some_worlds(tmp_path):
    rows = [{"text": f"Row {number}.", "world": number} for number in range(8)]
    task = load(written(tmp_path, rows), stimuli=8, elsewhere=2, columns={"world": "world"})
    assert task.read.sum(1).tolist() == [3] * 8


# Images


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight reddish and eight bluish pictures in a folder for each class."""
    folder, random = tmp_path_factory.mktemp("data") / "pictures", np.random.default_rng(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 60, (9, 12, 3), dtype=np.uint8)
            pixels[..., channel] += 190
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def as_parquet(pictures, file, names=True):
    """The pictures' bytes in one file, their classes as names, or as numbers that the file names."""
    import datasets

    paths = sorted(pictures.rglob("*.png"))
    content = {"picture": [{"bytes": path.read_bytes(), "path": None} for path in paths]}
    content["kind"] = [path.parent.name if names else int(path.parent.name == "red") for path in paths]
    kind = datasets.Value("string") if names else datasets.ClassLabel(names=["blue", "red"])
    features = datasets.Features({"picture": datasets.Image(), "kind": kind})
    datasets.Dataset.from_dict(content, features=features).to_parquet(file)
    return str(file)


def of_images(path, seed=0, image="image", label="label", **options):
    return load(path, seed, columns={"image": image, "label": label}, **options)


def keyed(images):
    """Each image with its class, in no order."""
    names = images.describe()["label"]
    return sorted((name, one.numpy().tobytes()) for name, one in zip(names, images.pixels))


@pytest.mark.parametrize("names", [True, False])
def test_images_of_a_folder_and_of_a_table_are_those_of_image_folder(names, pictures, tmp_path):
    other = ImageFolder(path=str(pictures), size=[8, 10], colour=True, stimuli=8, probes=8).load(0)
    whole = {one for part in (other.training, other.probes) for one in keyed(part)}
    folder = of_images(pictures, size=[8, 10], stimuli=16)
    file = of_images(
        as_parquet(pictures, tmp_path / "all.parquet", names), size=[8, 10], stimuli=16, image="picture", label="kind"
    )
    for task in (folder, file):
        assert task.stimuli.classes == ("blue", "red") and set(keyed(task.stimuli)) == whole
        assert task.training is None
    torch.testing.assert_close(folder.stimuli.pixels, file.stimuli.pixels)


def test_images_are_drawn_balanced_and_one_in_two_is_held_out_where_the_split_trains(pictures):
    task = of_images(pictures, stimuli=4, probes=6, training_split="train", colour=False)
    assert task.stimuli.ids.tolist() == task.probes.ids[:4].tolist()
    assert np.bincount(task.probes.labels).tolist() == [3, 3] and np.bincount(task.training.labels).tolist() == [4, 4]
    assert not set(task.training.ids) & set(task.probes.ids) and task.stimuli.pixels.shape == (4, 1, 9, 12)
    assert of_images(pictures, seed=1, stimuli=4).stimuli.ids.tolist() != task.stimuli.ids.tolist()


def test_one_split_trains_and_another_is_drawn_from(pictures, tmp_path):
    as_parquet(pictures, tmp_path / "train.parquet")
    as_parquet(pictures, tmp_path / "test.parquet")
    task = of_images(tmp_path, split="test", training_split="train", image="picture", label="kind")
    assert len(task.training) == 16 and len(task.stimuli) == 4 and len(task.validation) == 4


def test_a_table_may_name_files_beside_it(pictures, tmp_path):
    rows = [{"file": str(path.relative_to(pictures)), "n": int(path.parent.name == "red")}
            for path in sorted(pictures.rglob("*.png"))]  # fmt: skip
    file = pictures / "labels.csv"
    try:
        task = of_images(written(pictures, rows, "labels.csv"), image="file", label="n", stimuli=16)
    finally:
        file.unlink()
    assert task.stimuli.classes == ("0", "1") and len(task.stimuli) == 16


# Mistakes


def refusal(path, **options):
    with pytest.raises(ConfigError) as caught:
        load(path, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_what_cannot_be_had_is_told_in_one_line(tmp_path, monkeypatch):
    exists = "dataset.path must be a folder or a file that exists, or a name on the hub, got"
    assert exists in refusal(tmp_path / "nowhere") and exists in refusal("facts.csv") and exists in refusal("")
    assert "be a folder, a file, or a name that the hub delivers (" in refusal("nobody/nothing")
    (tmp_path / "empty").mkdir()
    assert "be readable by datasets (" in refusal(tmp_path / "empty")
    for name, content in (("none.csv", b""), ("bad.json", b"{"), ("bad.parquet", b"x"), ("bad.csv", b'a\n"b\n')):
        (tmp_path / name).write_bytes(content)
        assert "dataset.path must be readable by datasets (" in refusal(tmp_path / name)
    (tmp_path / "notes.docx").write_bytes(b"x")
    assert "be a folder, or a file that ends in .csv" in refusal(tmp_path / "notes.docx")
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "train.h5").write_bytes(b"x")
    assert "hold tables or images" in refusal(tmp_path / "h")
    (tmp_path / "a::b").mkdir()
    assert "have no ::" in refusal(tmp_path / "a::b")
    with pytest.raises(ConfigError, match=r"^dataset.path must be a folder, a file, or a name on the hub, got None"):
        Hub().load(0)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert refusal(written(tmp_path, ROWS)).endswith("not installed, got 'hub'. Try pip install 'eif-lab[hub]'.")


def test_rows_and_columns_that_are_not_there_are_told_in_one_line(tmp_path):
    path = written(tmp_path, [{"text": "A dax is a bird.", "n": 3}, {"text": " ", "n": None}, {"text": "A b.", "n": 1}])
    for split in ("test", "train[:0]", "train["):
        assert "dataset.split must name a split with rows, of which there are train, or" in refusal(path, split=split)
    (tmp_path / "head.csv").write_text("text,n\n")
    assert "dataset.split must name a split with rows" in refusal(tmp_path / "head.csv")
    assert "dataset.stimuli must be at most 3 (rows of the split train), got 4. Try 3." in refusal(path)
    assert "dataset.probes must be at most 3" in refusal(path, stimuli=1, probes=9)
    told = refusal(path, stimuli=1, columns={"target": "txt"})
    assert told == "dataset.columns.target must name a column, one of text, n, got 'txt'."
    assert "row 1: stimulus.target must be text that is not blank, got ' '." in refusal(path, stimuli=3)
    some = refusal(path, stimuli=3, columns={"target": "n"})
    assert "stimulus.target must be text" in some and "row " in some
    asking = {"direct": ["text", "text"]}
    assert "dataset.probes must be null where stimuli name" in refusal(path, stimuli=1, probes=2, columns=asking)
    pairs = "dataset.columns.direct must name one column of clozes, or pairs of columns"
    assert pairs in refusal(path, columns={"direct": ["a", "b", "c"]})
    assert "have its foils from another stimulus" in refusal(
        written(tmp_path, ROWS[:1], "one.csv"), stimuli=1, columns={"target": "statement", "direct": ["q1", "a1"]}
    )


def test_images_that_are_none_are_told_in_one_line(pictures, tmp_path):
    def told(rows, **options):
        return refusal(
            written(tmp_path / "data", rows, "t.parquet"), columns={"image": "i", "label": "l"}, stimuli=2, **options
        )

    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    good, wide = {"i": buffer.getvalue(), "l": "a"}, io.BytesIO()
    Image.new("L", (5, 4)).save(wide, "PNG")
    assert "dataset.path must hold images only (" in told([good, {"i": b"no", "l": "b"}])
    assert "dataset.size must be given where images differ in size" in told([good, {"i": wide.getvalue(), "l": "b"}])
    assert "dataset.columns.label must hold at least two classes" in told([good, good])
    assert "in each row, not in row 1, got None" in told([good, {"i": good["i"], "l": None}])
    assert "in each row, not in row 0, got [1]" in told([{"i": good["i"], "l": [1]}, {"i": good["i"], "l": [2]}])
    two = [good, {"i": good["i"], "l": "b"}]
    assert "dataset.probes must be at most 2 (rows of the split train), got 9. Try 2." in told(two, probes=9)
    assert "dataset.stimuli must be at most 1 (the held-out images)" in told(
        [good, {"i": good["i"], "l": "b"}, good, {"i": good["i"], "l": "b"}][:3], training_split="train"
    )
    inside = {"i": str(pictures / "red" / "1.png"), "l": "a"}
    assert "name files below" in told([inside, {"i": "../secret.png", "l": "b"}])
    assert "hold an image, its bytes, or the place of its file" in told([{"i": 1, "l": "a"}, {"i": 2, "l": "b"}])


def test_data_that_names_files_of_other_folders_or_addresses_is_refused(tmp_path):
    written(tmp_path / "secret", ROWS, "facts.csv")
    for named in ("../secret/facts.csv", "http://127.0.0.1:9/facts.csv", str(tmp_path / "secret" / "facts.csv")):
        written(tmp_path / "given", ROWS, "train.csv")
        card = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": named}]})
        (tmp_path / "given" / "README.md").write_text(f"---\n{card}---\n")
        told = refusal(tmp_path / "given", columns=COLUMNS)
        assert "name files of its own folder alone" in told or "readable by datasets (Unable to find" in told


def test_pictures_and_sounds_that_nobody_asks_for_are_not_decoded(tmp_path, monkeypatch):
    """Pillow gives PostScript to Ghostscript."""
    import datasets
    from PIL import EpsImagePlugin

    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: started.append(True))
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    written(tmp_path / "folder", [{"file_name": "page.eps", "text": "A dax."}], "metadata.csv")
    (tmp_path / "folder" / "page.eps").write_bytes(page)
    assert load(tmp_path / "folder", stimuli=1).stimuli.targets == ("A dax.",)

    content = {"bytes": page, "path": None}
    row = {"text": "A dax.", "sound": content, "some": [content], "pair": {"one": content}, "label": "a"}
    image = datasets.Image()
    kinds = {"text": datasets.Value("string"), "sound": datasets.Audio(), "some": datasets.List(image)}
    features = datasets.Features({**kinds, "pair": {"one": image}, "label": datasets.Value("string")})
    file = tmp_path / "all.parquet"
    pq.write_table(pa.Table.from_pylist([row, {**row, "label": "b"}], schema=features.arrow_schema), file)
    assert load(file, stimuli=1).stimuli.targets == ("A dax.",)
    assert "row 0 must hold what JSON can" in refusal(file, stimuli=1, columns={"target": "sound"})
    for name in ("some", "pair"):
        told = f"name a column whose parts are no images, sounds or films, got {name!r}."
        assert refusal(file, stimuli=1, columns={"target": name}) == f"dataset.columns.target must {told}"
        assert told in refusal(file, stimuli=1, columns={"image": name})
        assert told in refusal(file, stimuli=1, columns={"image": "sound", "label": name})
    assert not started


def test_lists_of_json_are_read(tmp_path):
    """As which `datasets` takes lists whose parts differ in kind."""
    (tmp_path / "facts.jsonl").write_text(
        '{"text": "A dax is a bird.", "more": [["A dax is a", "bird"]]}\n'
        '{"text": "A wug is a fish.", "more": [["A wug is a", "fish"], "A wug is"]}\n'
    )
    asking = {"stimuli": 1, "split": "train[:1]", "columns": {"direct": ["more"]}}
    assert "have its foils from another stimulus" in refusal(tmp_path / "facts.jsonl", **asking)


def test_it_is_for_images_where_a_column_of_them_is_named():
    with pytest.raises(
        ConfigError, match=r"^dataset.training_split must be null for texts, .*, got 'test'. For images"
    ):
        Hub(path="a/b.c", training_split="test")
    texts, images = Hub(path="a/b.c"), Hub(path="a/facts.csv", columns=Columns(image="picture"))
    assert (texts.kind, texts.name, images.kind, images.name) == ("text", "hub-b.c", "image", "hub-facts")


def test_nothing_is_left_and_the_librarys_settings_are_as_before(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "home")
    before = datasets.are_progress_bars_disabled(), datasets.utils.logging.get_verbosity()
    load(written(tmp_path, [{"text": row["statement"]} for row in ROWS]))
    refusal("nobody/nothing")
    assert not datasets.config.HF_HUB_OFFLINE
    assert (datasets.are_progress_bars_disabled(), datasets.utils.logging.get_verbosity()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["facts.jsonl"]


def test_a_data_set_of_the_hub_is_asked_for_by_name_part_and_revision(tmp_path, monkeypatch):
    import datasets

    asked = []

    def builder(path, **options):
        asked.append((path, options, datasets.config.HF_HUB_OFFLINE))
        return load_builder("json", data_files={"test": file}, cache_dir=str(tmp_path / "cache"))

    file, load_builder = written(tmp_path, [{"text": "A dax is a bird."}]), datasets.load_dataset_builder
    monkeypatch.setattr(table, "hub_answers", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    task = load("owner/set", subset="part", revision="v1", split="test", stimuli=1)
    assert task.stimuli.targets == ("A dax is a bird.",)
    assert asked == [("owner/set", {"revision": "v1", "name": "part", "cache_dir": None}, False)]
