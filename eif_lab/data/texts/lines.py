"""The lines of one's own data, in a file or a list: their kinds, their fields, and the check of each line by itself."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from eif_lab.data.task import FOILS, RELATIONS
from eif_lab.data.texts.joining import CLOZES, joined_fields, label
from eif_lab.errors import ConfigError, one_line, reason_of, rule_error, unknown_name


class Field(NamedTuple):
    """A field of a line: its rule in words and as a test, whether it is required, and its default."""

    rule: str
    holds: Callable[[Any], bool]
    required: bool = False
    default: Any = None


def is_text(value: Any) -> bool:
    """Whether a value is text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def are_texts(value: Any) -> bool:
    """Whether a value is a list of texts that differ and are not blank."""
    return isinstance(value, list) and all(map(is_text, value)) and len(set(value)) == len(value)


def are_clozes(value: Any) -> bool:
    """Whether a value is a list of prompts with their targets, none of them blank."""
    return isinstance(value, list) and all(
        isinstance(cloze, list) and len(cloze) == 2 and all(map(is_text, cloze)) for cloze in value
    )


def is_name(value: Any) -> bool:
    """Whether a value is text of one line, without characters that control a terminal."""
    return is_text(value) and not CONTROL.search(value)


def are_foils(value: Any) -> bool:
    """Whether a value maps names of foils to the ids of probes."""
    return isinstance(value, dict) and bool(value) and set(value) <= set(FOILS) and all(map(is_text, value.values()))


def are_distances(value: Any) -> bool:
    """Whether a value maps names to finite numbers; ``feature`` is the name of a distance that every job has.

    A name becomes that of a stored file, and a number is stored as a float.
    """
    return isinstance(value, dict) and all(
        DISTANCE.fullmatch(name) and name != "feature" and type(one) in (int, float) and abs(one) <= sys.float_info.max
        for name, one in value.items()
    )


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
DISTANCE = re.compile(r"\w(?:[\w -]{0,48}\w)?")

ID = Field("be text that names it, in one line", is_name)
PROMPT = Field("be text", lambda value: isinstance(value, str), default="")
TARGET = Field("be text that is not blank", is_text, required=True)
WORLD = Field("be a whole number from 0 on, below 2**31", lambda value: type(value) is int and 0 <= value < 2**31)
STIMULUS = Field("be the id of a stimulus", is_text)
RELATION = Field(f"be one of {', '.join(RELATIONS)}", lambda value: value in RELATIONS)
PROBE = Field("be the id of a probe", is_text)
FOIL_OF = Field(f"give {', '.join(FOILS)}, or some of these, the ids of probes", are_foils)
DISTANCES = Field(
    "give names (of at most 50 letters, digits, _, - and spaces; not feature) to finite numbers",
    are_distances,
    default={},
)
CANDIDATES = Field("be at least two different texts", lambda value: are_texts(value) and len(value) > 1, default=())
WORDINGS = Field("be a list of different texts", are_texts, default=())
ASKED = Field("be a list of clozes, each [prompt, target], of texts that are not blank", are_clozes, default=())

KINDS: Mapping[str, Mapping[str, Field]] = {
    "stimulus": {
        "id": ID, "prompt": PROMPT, "target": TARGET, "world": WORLD, "wordings": WORDINGS,
        "negation": Field("be text that is not blank", is_text),
        **dict.fromkeys(CLOZES, ASKED),
    },
    "probe": {
        "id": ID, "prompt": PROMPT, "target": TARGET, "world": WORLD, "candidates": CANDIDATES,
        "stimulus": STIMULUS, "relation": RELATION, "foils": FOIL_OF, "foil": PROBE, "distances": DISTANCES,
        "negates": PROBE._replace(default=""),
    },
    "pair": {
        "stimulus": STIMULUS._replace(required=True), "probe": PROBE._replace(required=True),
        "relation": RELATION._replace(required=True), "foils": FOIL_OF, "foil": PROBE, "distances": DISTANCES,
    },
    "background": {"text": TARGET, "world": WORLD._replace(required=True)},
    "question": {
        "prompt": PROMPT, "target": TARGET, "world": WORLD._replace(required=True),
        "candidates": CANDIDATES._replace(required=True),
    },
}  # fmt: skip
"""The kinds of lines and their fields."""


UNWRITABLE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000|[\ud800-\udfff]")
"""In JSON what numpy's text would drop, or what no tokenizer takes."""


@dataclass(frozen=True)
class Line:
    """A checked line: its place (``FILE:12``, or ``lines[12]`` of a list), its kind and all its fields."""

    place: str
    kind: str
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    @property
    def name(self) -> str:
        """The line as others of the same file or list call it."""
        _, in_file, number = self.place.rpartition(":")
        return f"line {number}" if in_file else self.place

    def made(self, kind: str, **values: Any) -> Line:
        """A line of another kind at the same place; the fields that are not given have their defaults."""
        defaults = {name: field.default for name, field in KINDS[kind].items()}
        return Line(self.place, kind, {**defaults, **values})

    def naming(self, field: str, value: Any) -> Line:
        """The line with a single value in a field."""
        return replace(self, fields={**self.fields, field: value})

    def wrong(self, field: str, rule: str, hint: str = "") -> ConfigError:
        """``FILE:12: probe.relation must <rule>, got <value>. <hint>``"""
        return rule_error(f"{self.place}: {self.kind}.{field}", rule, self.fields.get(field), hint)


def lines_of(path: Path, delimiter: str) -> Iterator[Line]:
    """The lines of a file, each checked by itself.

    Args:
        path: The file.
        delimiter: What stands between a prompt and its target.

    Raises:
        ConfigError: The file is empty, or a line breaks a rule; place, field and rule are named.
    """
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n")
    if not content.strip():
        raise ConfigError(f"{path} must have a JSON object on each line, got an empty file. See docs/data.md.")
    for number, raw in enumerate(content.split(b"\n"), 1):
        yield line_of(raw, f"{path}:{number}", delimiter)


def listed_lines(values: Iterable[Any], delimiter: str) -> Iterator[Line]:
    """Python's values as the lines that a file would have with them in JSON, each checked by itself.

    Args:
        values: A mapping for each line.
        delimiter: What stands between a prompt and its target.

    Raises:
        ConfigError: A line breaks a rule; place, field and rule are named.
    """
    for number, value in enumerate(values):
        yield line_from(value, f"lines[{number}]", delimiter)


def line_from(value: Any, place: str, delimiter: str) -> Line:
    """One of Python's values as the line that a file would have with it in JSON.

    Args:
        value: A mapping.
        place: What errors call it.
        delimiter: What stands between a prompt and its target.

    Raises:
        ConfigError: It breaks a rule; place, field and rule are named.
    """
    try:
        raw = json.dumps(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise rule_error(place, f"hold what JSON can ({reason_of(error)})", one_line(value)) from None
    return line_of(raw, place, delimiter)


def line_of(raw: bytes, place: str, delimiter: str) -> Line:
    """A line with its fields, those left out as their default."""
    values = decode(raw, place)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown_name(f"{place}: kind", str(kind), KINDS)
    fields = KINDS[kind]
    for name in values:
        if name not in fields:
            raise unknown_name(f"{place}: field of a {kind}", name, fields)
    for name, field in fields.items():
        if name not in values and field.required:
            raise rule_error(f"{place}: {kind}.{name}", field.rule, None, "Add it.")
        if name in values and not field.holds(values[name]):
            raise rule_error(f"{place}: {kind}.{name}", field.rule, values[name])
    line = Line(place, kind, {}).made(kind, **joined_fields(values, delimiter))
    if "candidates" in values:
        if not CANDIDATES.holds(line["candidates"]):
            raise line.wrong("candidates", CANDIDATES.rule)
        if line["target"] not in line["candidates"]:
            raise line.wrong("candidates", f"include the target {line['target']!r}")
    return named(line) if "id" in fields else line


def named(line: Line) -> Line:
    """The line with an id: its own, or what it says.

    Raises:
        ConfigError: What it says is no name, and it has no other.
    """
    line = line.naming("id", line["id"] or label(line["prompt"], line["target"]))
    if not is_name(line["id"]):
        raise line.naming("id", None).wrong("id", ID.rule, "Add it.")
    return line


def decode(raw: bytes, place: str) -> dict[str, Any]:
    """The JSON object of a line."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        rule = f"be UTF-8, got byte 0x{raw[error.start]:02x} at column {error.start + 1}"
        raise ConfigError(f"{place}: line must {rule}. Save the file as UTF-8.") from None
    if not text.strip():
        raise ConfigError(f"{place}: line must be a JSON object, got an empty line. Remove it.")
    try:
        content = json.loads(text, object_pairs_hook=once_each)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: line must be a JSON object, got {text.strip()!r:.60} ({error}).") from None
    if not isinstance(content, dict):
        raise rule_error(f"{place}: line", "be a JSON object", content)
    if unwritable := UNWRITABLE.search(json.dumps(content, ensure_ascii=False)):
        raise rule_error(f"{place}: line", "hold text without NUL and halves of surrogate pairs", unwritable[0])
    return content


def once_each(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """The items of a JSON object, whose names must differ."""
    content = dict(items)
    if len(content) < len(items):
        raise ValueError("a name is there twice")
    return content
