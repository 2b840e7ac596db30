"""Files of published sets that somebody has tampered with: told in one line, and without much time or room."""

import json

import pytest

from eif_lab.data.images.mnist import read_split
from eif_lab.data.texts.records import read_records
from eif_lab.data.texts.relations import Relations
from eif_lab.errors import ConfigError

RELATION = {
    "prompt_templates": ["{} is part of", "{} lies in"],
    "prompt_templates_zs": [],
    "properties": {"symmetric": False},
    "samples": [{"subject": f"town {n}", "object": f"land {n}"} for n in range(6)],
}


def relation(folder, **changed):
    """The task of a set of one relation, some of whose fields are others."""
    file = folder / "knowledge" / "relations" / "factual" / "part_of.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(RELATION | changed))
    return Relations(root=str(folder), relations=1, stimuli_per_relation=2).load(0)


def test_the_relation_as_it_should_be_is_read(tmp_path):
    assert relation(tmp_path).stimuli.prompts[0].endswith("is part of")


@pytest.mark.parametrize(
    "wording", ["{:>999999999} is in", "{0.__class__} is in", "{", "{} and {} are in", "no gap", None, 3]
)
def test_a_wording_is_text_with_one_gap_and_no_format(tmp_path, wording):
    with pytest.raises(ConfigError, match=r"part_of.json must hold records as they were published, got ValueError"):
        relation(tmp_path, prompt_templates=["{} is part of", wording])


@pytest.mark.parametrize("said", [None, True, 3, ["a"], {"a": 1}])
def test_a_subject_that_is_no_text_is_told(tmp_path, said):
    with pytest.raises(ConfigError, match=r"part_of.json must hold records as they were published"):
        relation(tmp_path, samples=[*RELATION["samples"], {"subject": said, "object": "land"}])


@pytest.mark.parametrize("text", ["x" * 5_001, "a\0", "\ud800"], ids=["long", "NUL", "surrogate"])
def test_a_text_that_cannot_be_one_of_a_published_set_is_told_wherever_it_stands(tmp_path, text):
    (tmp_path / "set.json").write_text(json.dumps([{"id": "1"}, {"id": "2", "more": [{"deep": [text]}]}]))
    with pytest.raises(
        ConfigError, match=r"set.json: record 1 must hold texts of at most 5000 characters, w"
    ) as caught:
        read_records(str(tmp_path), "set.json", ["id"])
    assert len(str(caught.value)) < 700 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "header",
    [
        [0x803, 2**31, 2**31, 4],  # overflows to none at all
        [0x803, 2**32 - 1, 28, 28],
        [0x801, 2**32 - 1],
        [0x8FF, *[1] * 255],
        [0xFF03, 1, 28, 28],
    ],
)
def test_a_header_that_declares_what_is_not_there_takes_no_room(tmp_path, header):
    content = b"".join(number.to_bytes(4, "big") for number in header)
    for part in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        (tmp_path / f"train-{part}").write_bytes(content)
    with pytest.raises(ConfigError, match=r"dataset.root must hold whole idx files"):
        read_split(tmp_path, train=True, classes=10)
