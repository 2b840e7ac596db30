"""Your own texts: one JSON object a line, in the format of docs/data.md, every line checked."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from eif_lab.data.dataset import Dataset
from eif_lab.data.task import RELATIONS, Background, Task, Texts, background_in_context
from eif_lab.data.texts.records import texts_in
from eif_lab.errors import ConfigError, fits_a_line, rule_error, unknown_name, unwritable
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option


class Field(NamedTuple):
    """The rule of a field, in words and as a test; whether it has to be there; what it is if it is not."""

    rule: str
    holds: Callable[[Any], bool]
    required: bool = False
    default: Any = None


def is_text(value: Any) -> bool:
    """Whether it is text that says something."""
    return isinstance(value, str) and bool(value.strip())


def are_texts(value: Any) -> bool:
    """Whether it is a list of texts that differ."""
    return isinstance(value, list) and all(map(is_text, value)) and len(set(value)) == len(value)


def is_name(value: Any) -> bool:
    """Whether it is text that can be told in a line, without what moves a terminal's cursor or colours it."""
    return is_text(value) and fits_a_line(value)


def are_distances(value: Any) -> bool:
    """Whether it gives names to numbers; ``feature`` is the name of a distance that every job has.

    A name becomes that of a stored file, a number a float.
    """
    return isinstance(value, dict) and all(
        DISTANCE.fullmatch(name) and name != "feature" and type(one) in (int, float) and abs(one) <= sys.float_info.max
        for name, one in value.items()
    )


DISTANCE = re.compile(r"\w(?:[\w -]{0,48}\w)?")

ID = Field("be text that names it, in one line", is_name, required=True)
PROMPT = Field("be text", lambda value: isinstance(value, str), default="")
TARGET = Field("be text that is not blank", is_text, required=True)
WORLD = Field("be a whole number from 0 on, below 2**31", lambda value: type(value) is int and 0 <= value < 2**31)
STIMULUS = Field("be the id of a stimulus", is_text)
RELATION = Field(f"be one of {', '.join(RELATIONS)}", lambda value: value in RELATIONS)
PROBE = Field("be the id of a probe", is_text)
DISTANCES = Field(
    "give names (of at most 50 letters, digits, _, - and spaces; not feature) to finite numbers",
    are_distances,
    default={},
)
CANDIDATES = Field("be at least two different texts", lambda value: are_texts(value) and len(value) > 1, default=())
WORDINGS = Field("be a list of different texts", are_texts, default=())

KINDS: Mapping[str, Mapping[str, Field]] = {
    "stimulus": {
        "id": ID, "prompt": PROMPT, "target": TARGET, "world": WORLD, "wordings": WORDINGS,
        "negation": Field("be text that is not blank", is_text),
    },
    "probe": {
        "id": ID, "prompt": PROMPT, "target": TARGET, "world": WORLD, "candidates": CANDIDATES,
        "stimulus": STIMULUS, "relation": RELATION, "foil": PROBE, "distances": DISTANCES,
        "negates": PROBE._replace(default=""),
    },
    "pair": {
        "stimulus": STIMULUS._replace(required=True), "probe": PROBE._replace(required=True),
        "relation": RELATION._replace(required=True), "foil": PROBE, "distances": DISTANCES,
    },
    "background": {"text": TARGET, "world": WORLD._replace(required=True)},
    "question": {
        "prompt": PROMPT, "target": TARGET, "world": WORLD._replace(required=True),
        "candidates": CANDIDATES._replace(required=True),
    },
}  # fmt: skip
"""The kinds of lines and their fields."""


MOST_CHARACTERS = 2**28
"""Of one column of the array's coordinates, in which each text takes the room of the longest: 1 GiB."""


@dataclass(frozen=True)
class Line:
    """A checked line: where it stands, what kind it is, and all its fields."""

    place: str
    kind: str
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    @property
    def number(self) -> str:
        """Its number in the file."""
        return self.place.rpartition(":")[2]

    def wrong(self, field: str, rule: str, hint: str = "") -> ConfigError:
        """``FILE:12: probe.relation must <rule>, got <value>. <hint>``"""
        return rule_error(f"{self.place}: {self.kind}.{field}", rule, self.fields.get(field), hint)


@dataclass
class JSONL(Dataset):
    """Stimuli, probes, relations, foils, candidates, worlds, background and distances from a file of one's own.

    Attributes:
        path: The file; docs/data.md says what stands in it.
        background: Whether a world's background stands in the ``context`` of its probes or is ``taught``.
    """

    kind: ClassVar[str] = "text"
    incidental: ClassVar[tuple[str, ...]] = ("path",)

    path: str | None = option(None)
    background: str = option("context", one_of=["context", "taught"])

    def identity(self) -> list[list[str]]:
        """The file's contents."""
        return fingerprint([Path(self.path)]) if self.path else []

    def load(self, seed: int) -> Task:
        """What the file says; ``seed`` decides nothing.

        Raises:
            ConfigError: There is no such file, or a line of it breaks a rule; the line and the field are named.
        """
        if not self.path or not Path(self.path).is_file():
            raise rule_error("dataset.path", "name a file", self.path, "Try dataset.path=examples.jsonl.")
        reader = Reader(list(lines_of(Path(self.path))), self.path)
        reader.must_fit(in_context=self.background == "context")
        if self.background == "context":
            return background_in_context(reader.task())
        reader.must_ask()
        return reader.task()


def lines_of(path: Path) -> Iterator[Line]:
    """The file's lines, each checked by itself."""
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n")
    for number, raw in enumerate(content.split(b"\n"), 1):
        yield line_of(raw, f"{path}:{number}")


def line_of(raw: bytes, place: str) -> Line:
    """A line with its fields, those left out as their default."""
    given = decoded(raw, place)
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown_name(f"{place}: kind", str(kind), KINDS)
    fields = KINDS[kind]
    for name in given:
        if name not in fields:
            raise unknown_name(f"{place}: field of a {kind}", name, fields)
    for name, field in fields.items():
        if name not in given and field.required:
            raise rule_error(f"{place}: {kind}.{name}", field.rule, None, "Add it.")
        if name in given and not field.holds(given[name]):
            raise rule_error(f"{place}: {kind}.{name}", field.rule, given[name])
    line = Line(place, kind, {name: given.get(name, field.default) for name, field in fields.items()})
    if line.fields.get("candidates") and line["target"] not in line["candidates"]:
        raise line.wrong("candidates", f"include the target {line['target']!r}")
    return line


def decoded(raw: bytes, place: str) -> dict[str, Any]:
    """The JSON object of a line."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        rule = f"be UTF-8, got byte 0x{raw[error.start]:02x} at column {error.start + 1}"
        raise ConfigError(f"{place}: line must {rule}. Save the file as UTF-8.") from None
    if not text.strip():
        raise ConfigError(f"{place}: line must be a JSON object, got an empty line. Remove it.")
    try:
        given = json.loads(text, object_pairs_hook=once_each)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: line must be a JSON object, got {text.strip()!r:.60} ({error}).") from None
    if not isinstance(given, dict):
        raise rule_error(f"{place}: line", "be a JSON object", given)
    if refused := "".join(map(unwritable, texts_in(given))):
        raise rule_error(f"{place}: line", "hold text without NUL and halves of surrogate pairs", refused[0])
    return given


def once_each(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """The items of a JSON object, whose names must differ."""
    given = dict(items)
    if len(given) < len(items):
        raise ValueError("a name is there twice")
    return given


class Reader:
    """A file's lines together: references resolved, and the task that they make.

    Args:
        lines: Each checked by itself.
        path: The file, for errors.
    """

    def __init__(self, lines: Sequence[Line], path: str) -> None:
        self.of = {kind: [line for line in lines if line.kind == kind] for kind in KINDS}
        for kind in ("stimulus", "probe"):
            if not self.of[kind]:
                raise ConfigError(f"{path} must have a line of kind {kind}, got none. See docs/data.md.")
        self.stimuli, self.probes = self.of["stimulus"], self.of["probe"]
        self.rows, self.columns = places(self.stimuli), places(self.probes)
        self.pairs = self._pairs()
        self._check_same()
        for kind in ("background", "question"):
            must_differ(self.of[kind])

    def task(self) -> Task:
        """Stimuli, probes, relations, distances, foils and background."""
        worlds = self._worlds()
        shape = len(self.stimuli), len(self.probes)
        relation, foil = np.full(shape, "unrelated", "<U12"), np.full(shape, -1)
        names = dict.fromkeys(name for line in self.pairs.values() for name in line["distances"])
        distances = {name: np.full(shape, np.nan) for name in names}
        for name, row in self.rows.items():
            if name in self.columns:
                relation[row, self.columns[name]] = "direct"
        for cell, line in self.pairs.items():
            relation[cell] = line["relation"]
            for name, value in line["distances"].items():
                distances[name][cell] = value
        for cell, line in self.pairs.items():
            if line["foil"] is not None:
                foil[cell] = self._foil(line, relation[cell[0]])
        return Task(
            stimuli=self._stimuli(worlds),
            probes=self._probes(worlds),
            relation=relation,
            distances=distances,
            foil=foil,
            background=self._background(),
        )

    def _pairs(self) -> dict[tuple[int, int], Line]:
        """The lines that relate a stimulus to a probe, by cell."""
        related = [line for line in self.probes if self._relates(line)]
        pairs: dict[tuple[int, int], Line] = {}
        for line in (*related, *self.of["pair"]):
            name = "id" if line.kind == "probe" else "probe"
            cell = self._place(line, "stimulus", self.rows), self._place(line, name, self.columns)
            if cell in pairs:
                raise line.wrong("stimulus", f"be paired with the probe once, as in line {pairs[cell].number}")
            if line["stimulus"] == line[name] and line["relation"] != "direct":
                raise line.wrong("relation", "be direct between a stimulus and itself")
            pairs[cell] = line
        return pairs

    def _relates(self, line: Line) -> bool:
        """Whether a probe's line says what a stimulus says about it."""
        if line["stimulus"] is None:
            for name in ("relation", "foil", "distances"):
                if line[name]:
                    raise line.wrong("stimulus", f"be given with a {name.rstrip('s')}")
            return False
        if line["relation"] is None:
            raise line.wrong("relation", RELATION.rule)
        return True

    def _place(self, line: Line, field: str, known: Mapping[str, int]) -> int:
        """Where the sample is that a field names."""
        if line[field] in known:
            return known[line[field]]
        rule = f"be the id of a {'stimulus' if known is self.rows else 'probe'}"
        near = difflib.get_close_matches(line[field], known, n=1)
        raise line.wrong(field, rule, f"Did you mean {near[0]}?" if near else "")

    def _foil(self, line: Line, relation: np.ndarray) -> int:
        """The place of a pair's matched foil; ``relation`` is what the pair's stimulus says about the probes."""
        if line["relation"] not in ("entailed", "contradicted"):
            raise line.wrong("foil", f"be left out of what is {line['relation']}")
        place = self._place(line, "foil", self.columns)
        if relation[place] != "foil":
            raise line.wrong(
                "foil", f"be a probe whose relation to {line['stimulus']!r} is foil, not {relation[place]}"
            )
        return place

    def _check_same(self) -> None:
        """A probe with a stimulus's id is that stimulus."""
        for line in self.probes:
            if line["id"] in self.rows:
                stimulus = self.stimuli[self.rows[line["id"]]]
                if (stimulus["prompt"], stimulus["target"]) != (line["prompt"], line["target"]):
                    raise line.wrong(
                        "id", f"be another one than that of line {stimulus.number}, which says something else"
                    )

    def _worlds(self) -> tuple[list[int], list[int]] | None:
        """The worlds of stimuli and probes; None where there are none."""
        given = [line["world"] for line in self.stimuli]
        used = any(world is not None for world in given)
        for line in (*self.probes, *self.of["background"], *self.of["question"]):
            if line["world"] is not None and line["world"] not in given:
                raise line.wrong("world", "be the world of a stimulus", "" if used else "Give the stimuli worlds.")
        if not used:
            return None
        for line in self.stimuli:
            if line["world"] is None:
                raise line.wrong("world", "be given for every stimulus or for none")
        return given, [self._world(line, place) for place, line in enumerate(self.probes)]

    def _world(self, line: Line, place: int) -> int:
        """The world of a probe: its own, else that of the stimulus that it is, or of one that says something of it."""
        if line["world"] is not None:
            return line["world"]
        own = [self.rows[line["id"]]] if line["id"] in self.rows else []
        rows = [*own, *(row for row, column in self.pairs if column == place)]
        if not rows:
            raise line.wrong("world", "be given for a probe that no stimulus says anything about")
        return self.stimuli[rows[0]]["world"]

    def _stimuli(self, worlds: tuple[list[int], list[int]] | None) -> Texts:
        coords = {} if worlds is None else {"world": np.array(worlds[0])}
        said = zip_longest(*(line["wordings"] for line in self.stimuli), fillvalue="")
        coords |= {f"wording_{number}": np.array(column) for number, column in enumerate(said, 1)}
        if any(line["negation"] for line in self.stimuli):
            for line in self.stimuli:
                if not line["negation"]:
                    raise line.wrong("negation", "be given for every stimulus or for none")
            coords["negation"] = np.array([line["negation"] for line in self.stimuli])
        return texts_of(self.stimuli, coords)

    def _probes(self, worlds: tuple[list[int], list[int]] | None) -> Texts:
        for line in self.probes:
            if line["negates"]:
                self._place(line, "negates", self.columns)
        coords = {"negates": np.array([line["negates"] for line in self.probes])}
        coords |= {} if worlds is None else {"world": np.array(worlds[1])}
        return texts_of(self.probes, coords)

    def _background(self) -> Background | None:
        """What is known of each world, and the questions for it."""
        facts, questions = self.of["background"], self.of["question"]
        if not facts:
            return None
        return Background(
            facts=Texts(
                prompts=("",) * len(facts),
                targets=tuple(line["text"] for line in facts),
                ids=np.array([f"line {line.number}" for line in facts]),
                coords={"world": np.array([line["world"] for line in facts])},
            ),
            questions=texts_of(questions, {"world": np.array([line["world"] for line in questions], dtype=int)}),
        )

    def must_fit(self, in_context: bool) -> None:
        """Refuse a text for whose length, times the number of its kind, there is no room in the array's coordinates.

        Args:
            in_context: Whether a world's background stands before its probes.
        """
        said = Counter[int]()
        for line in self.of["background"]:
            said[line["world"]] += len(line["text"]) + 1
        before = {"stimulus": 0, "probe": max(said.values(), default=0) if in_context else 0}
        for kind, length in before.items():
            most = MOST_CHARACTERS // len(self.of[kind])
            for line in self.of[kind]:
                whole = length + len(line["prompt"]) + len(line["target"])
                others = (line["id"], line.fields.get("negation") or "", *line.fields.get("wordings", ()))
                longest = max(whole, *map(len, others))
                if longest > most:
                    rule = f"have texts of at most {most} characters (of {len(self.of[kind])}, with their background)"
                    raise rule_error(f"{line.place}: {kind}", rule, longest, "Shorten them, or give fewer.")

    def must_ask(self) -> None:
        """Refuse background that is to be taught and that no question is about."""
        asked = {line["world"] for line in self.of["question"]}
        for line in self.of["background"]:
            if line["world"] not in asked:
                raise line.wrong("world", "have a line of kind question", "Or try dataset.background=context.")


def places(lines: Sequence[Line]) -> dict[str, int]:
    """The place of each id.

    Raises:
        ConfigError: An id is there twice.
    """
    known: dict[str, int] = {}
    for place, line in enumerate(lines):
        if line["id"] in known:
            raise line.wrong("id", f"differ from that of line {lines[known[line['id']]].number}")
        known[line["id"]] = place
    return known


def must_differ(lines: Sequence[Line]) -> None:
    """Refuse a line that says again what an earlier one of its kind and world says.

    Raises:
        ConfigError: There is one.
    """
    known: dict[tuple[Any, ...], Line] = {}
    for line in lines:
        said = line["world"], line.fields.get("text"), line.fields.get("prompt"), line.fields.get("target")
        if said in known:
            field = "text" if line.kind == "background" else "target"
            raise line.wrong(field, f"say something else than line {known[said].number}", "Remove the line.")
        known[said] = line


def texts_of(lines: Sequence[Line], coords: Mapping[str, np.ndarray]) -> Texts:
    """The lines as texts; the target is the first of its candidates."""
    choices = [tuple(dict.fromkeys((line["target"], *line.fields.get("candidates", ())))) for line in lines]
    choices = [one if len(one) > 1 else () for one in choices]
    return Texts(
        prompts=tuple(line["prompt"] for line in lines),
        targets=tuple(line["target"] for line in lines),
        ids=np.array([line.fields.get("id", f"line {line.number}") for line in lines]),
        coords=coords,
        candidates=tuple(choices) if any(choices) else None,
    )
