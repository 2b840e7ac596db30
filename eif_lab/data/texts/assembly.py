"""From the checked lines of one's own data to a task: references, relations, foils, worlds and background."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from eif_lab.data.task import FOILS, RELATED, Background, Task, Texts, background_in_context
from eif_lab.data.texts.clozes import with_probes
from eif_lab.data.texts.lines import KINDS, RELATION, Line
from eif_lab.errors import ConfigError, rule_error

MOST_CHARACTERS = 2**28
"""Of one column of the array's coordinates, in which each text takes the room of the longest: 1 GiB."""


BACKGROUNDS = ("context", "taught")
"""Where a world's background is: before each of its probes, or taught to the base model first."""


def task_of(lines: Iterable[Line], source: str, background: str) -> Task:
    """The task that lines say.

    Args:
        lines: Each checked by itself.
        source: The file or the list, as errors call it.
        background: One of `BACKGROUNDS`.

    Raises:
        ConfigError: A line breaks a rule; place and field are named.
    """
    assembly = Assembly(with_probes(list(lines)), source)
    assembly.must_fit(in_context=background == "context")
    if background == "context":
        return background_in_context(assembly.task())
    assembly.must_ask()
    return assembly.task()


class Assembly:
    """All lines together: their references to each other are resolved, and they become a task.

    Args:
        lines: Each checked by itself.
        source: The file or the list, as errors call it.
    """

    def __init__(self, lines: Sequence[Line], source: str) -> None:
        self.of = {kind: [line for line in lines if line.kind == kind] for kind in KINDS}
        for kind in ("stimulus", "probe"):
            if not self.of[kind]:
                raise ConfigError(f"{source} must have a line of kind {kind}, got none. See docs/data.md.")
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
        relation = np.full(shape, "unrelated", "<U12")
        foils = {name: np.full(shape, -1) for name in FOILS}
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
            for name, place in self._foils(line, relation[cell[0]]).items():
                foils[name][cell] = place
        return Task(
            stimuli=self._stimuli(worlds),
            probes=self._probes(worlds),
            relation=relation,
            distances=distances,
            foils={name: columns for name, columns in foils.items() if (columns >= 0).any()},
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
                raise line.wrong("stimulus", f"be paired with the probe once, as in {pairs[cell].name}")
            if line["stimulus"] == line[name] and line["relation"] != "direct":
                raise line.wrong("relation", "be direct between a stimulus and itself")
            pairs[cell] = line
        return pairs

    def _relates(self, line: Line) -> bool:
        """Whether a probe's line says what a stimulus says about it."""
        if line["stimulus"] is None:
            for name in ("relation", "foils", "foil", "distances"):
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

    def _foils(self, line: Line, relation: np.ndarray) -> dict[str, int]:
        """The places of a pair's foils by name; ``relation`` is what the pair's stimulus says about the probes."""
        single = line["foil"] is not None
        if not single and line["foils"] is None:
            return {}
        field = "foil" if single else "foils"
        if single and line["foils"] is not None:
            raise line.wrong("foil", "be left out where foils are given")
        if line["relation"] not in (*RELATED, "converse"):
            raise line.wrong(field, f"be left out of what is {line['relation']}")
        named = {"same_subject": line["foil"]} if single else line["foils"]
        places = {name: self._place(line.naming(field, id_), field, self.columns) for name, id_ in named.items()}
        for place in places.values():
            if relation[place] != "foil":
                rule = f"be a probe whose relation to {line['stimulus']!r} is foil, not {relation[place]}"
                raise line.naming(field, self.probes[place]["id"]).wrong(field, rule)
        return places

    def _check_same(self) -> None:
        """A probe with a stimulus's id is that stimulus."""
        for line in self.probes:
            if line["id"] in self.rows:
                stimulus = self.stimuli[self.rows[line["id"]]]
                if (stimulus["prompt"], stimulus["target"]) != (line["prompt"], line["target"]):
                    raise line.wrong("id", f"be another one than that of {stimulus.name}, which says something else")

    def _worlds(self) -> tuple[list[int], list[int]] | None:
        """The worlds of stimuli and probes; None where there are none."""
        worlds = [line["world"] for line in self.stimuli]
        used = any(world is not None for world in worlds)
        for line in (*self.probes, *self.of["background"], *self.of["question"]):
            if line["world"] is not None and line["world"] not in worlds:
                raise line.wrong("world", "be the world of a stimulus", "" if used else "Give the stimuli worlds.")
        if not used:
            return None
        for line in self.stimuli:
            if line["world"] is None:
                raise line.wrong("world", "be given for every stimulus or for none")
        return worlds, [self._world(line, place) for place, line in enumerate(self.probes)]

    def _world(self, line: Line, place: int) -> int:
        """The world of a probe: its own, else that of the stimulus that it is, or of one that says something of it."""
        if line["world"] is not None:
            return line["world"]
        same = [self.rows[line["id"]]] if line["id"] in self.rows else []
        rows = [*same, *(row for row, column in self.pairs if column == place)]
        if not rows:
            raise line.wrong("world", "be given for a probe that no stimulus says anything about")
        return self.stimuli[rows[0]]["world"]

    def _stimuli(self, worlds: tuple[list[int], list[int]] | None) -> Texts:
        coords = {} if worlds is None else {"world": np.array(worlds[0])}
        columns = zip_longest(*(line["wordings"] for line in self.stimuli), fillvalue="")
        coords |= {f"wording_{number}": np.array(column) for number, column in enumerate(columns, 1)}
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
        """The background of each world, and the questions for it."""
        facts, questions = self.of["background"], self.of["question"]
        if not facts:
            return None
        return Background(
            facts=Texts(
                prompts=("",) * len(facts),
                targets=tuple(line["text"] for line in facts),
                ids=np.array([line.name for line in facts]),
                coords={"world": np.array([line["world"] for line in facts])},
            ),
            questions=texts_of(questions, {"world": np.array([line["world"] for line in questions], dtype=int)}),
        )

    def must_fit(self, in_context: bool) -> None:
        """Refuse a text for whose length, times the number of its kind, there is no room in the array's coordinates.

        Args:
            in_context: Whether a world's background stands before its probes.
        """
        characters = Counter[int]()
        for line in self.of["background"]:
            characters[line["world"]] += len(line["text"]) + 1
        before = {"stimulus": 0, "probe": max(characters.values(), default=0) if in_context else 0}
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
        questioned = {line["world"] for line in self.of["question"]}
        for line in self.of["background"]:
            if line["world"] not in questioned:
                raise line.wrong("world", "have a line of kind question", "Or try dataset.background=context.")


def places(lines: Sequence[Line]) -> dict[str, int]:
    """The place of each id.

    Raises:
        ConfigError: An id is there twice.
    """
    place_of: dict[str, int] = {}
    for place, line in enumerate(lines):
        if line["id"] in place_of:
            raise line.wrong("id", f"differ from that of {lines[place_of[line['id']]].name}")
        place_of[line["id"]] = place
    return place_of


def must_differ(lines: Sequence[Line]) -> None:
    """Refuse a line that says again what an earlier one of its kind and world says.

    Raises:
        ConfigError: There is one.
    """
    earlier: dict[tuple[Any, ...], Line] = {}
    for line in lines:
        content = line["world"], line.fields.get("text"), line.fields.get("prompt"), line.fields.get("target")
        if content in earlier:
            field = "text" if line.kind == "background" else "target"
            raise line.wrong(field, f"say something else than {earlier[content].name}", "Remove the line.")
        earlier[content] = line


def texts_of(lines: Sequence[Line], coords: Mapping[str, np.ndarray]) -> Texts:
    """The lines as texts; the target is the first of its candidates."""
    candidates = [tuple(dict.fromkeys((line["target"], *line.fields.get("candidates", ())))) for line in lines]
    candidates = [one if len(one) > 1 else () for one in candidates]
    return Texts(
        prompts=tuple(line["prompt"] for line in lines),
        targets=tuple(line["target"] for line in lines),
        ids=np.array([line.fields.get("id", line.name) for line in lines]),
        coords=coords,
        candidates=tuple(candidates) if any(candidates) else None,
    )
