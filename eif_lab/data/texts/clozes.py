"""The clozes that stimuli name, as probes with foils: each is crossed with the same cloze of another stimulus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eif_lab.data.task import FOILS
from eif_lab.data.texts.joining import CLOZES, label
from eif_lab.data.texts.lines import Line


class Cloze(NamedTuple):
    """A prompt and a target."""

    prompt: str
    target: str

    @property
    def id(self) -> str:
        """Its name as a probe."""
        return label(self.prompt, self.target)


class Asker(NamedTuple):
    """A stimulus with the clozes that it names, each by its relation and its place in that relation's list."""

    line: Line
    clozes: Mapping[tuple[str, int], Cloze]


def with_probes(lines: Sequence[Line]) -> list[Line]:
    """The lines, and those that the clozes of stimuli stand for: probes, and pairs of these with the stimuli.

    A stimulus that names clozes is a probe as well. A probe that has a line of its own is not made again.

    Raises:
        ConfigError: A stimulus names a cloze twice, or no other stimulus gives a cloze its foils.
    """
    askers = [asker(line) for line in lines if line.kind == "stimulus" and any(line[name] for name in CLOZES)]
    subjects: dict[Cloze, Line] = {}
    pairs: dict[tuple[str, Cloze], Line] = {}
    for number, (line, clozes) in enumerate(askers):
        others = [*askers[number + 1 :], *askers[:number]]
        for place, cloze in clozes.items():
            other, foils = crossed(line, place, clozes, others)
            subjects.setdefault(cloze, line)
            for name, foil in foils.items():
                subjects.setdefault(foil, line if name == "same_subject" else other)
                pairs.setdefault((line["id"], foil), pair(line, foil, "foil"))
            names = {name: foil.id for name, foil in foils.items()}
            pairs[line["id"], cloze] = pair(line, cloze, place[0], foils=names)
    statements = [
        line.made("probe", **{name: line[name] for name in ("id", *Cloze._fields, "world")}) for line, _ in askers
    ]
    given = {line["id"] for line in lines if line.kind == "probe"}
    made = [line for line in (*statements, *probes(subjects)) if line["id"] not in given]
    return [*lines, *made, *pairs.values()]


def asker(line: Line) -> Asker:
    """A stimulus with the clozes that it names.

    Raises:
        ConfigError: It names one twice.
    """
    clozes: dict[tuple[str, int], Cloze] = {}
    for relation in CLOZES:
        for place, cloze in enumerate(line[relation]):
            if cloze in clozes.values():
                raise line.naming(relation, list(cloze)).wrong(relation, "be named once by a stimulus")
            clozes[relation, place] = Cloze(*cloze)
    return Asker(line, clozes)


def crossed(
    line: Line, place: tuple[str, int], clozes: Mapping[tuple[str, int], Cloze], others: Sequence[Asker]
) -> tuple[Line, dict[str, Cloze]]:
    """The foils of a cloze, by name, and the stimulus whose cloze at the same place it is crossed with.

    Of stimuli with another prompt and another target there it is one of the same world, if any; of these the one whose
    prompt has the most words in common; and of these the next. What the stimulus says anything else about is no foil.

    Args:
        line: The stimulus.
        place: Of the cloze.
        clozes: All that the stimulus names.
        others: The other stimuli, from the next on.

    Raises:
        ConfigError: There is none.
    """
    prompt, target = clozes[place]
    own, words = set(clozes.values()), set(prompt.split())
    found: list[tuple[tuple[bool, int], Line, dict[str, Cloze]]] = []
    for other, theirs in others:
        cloze = theirs.get(place)
        if cloze is None or cloze.prompt == prompt or cloze.target == target:
            continue
        foils = dict(zip(FOILS, (Cloze(prompt, cloze.target), Cloze(cloze.prompt, target), cloze)))
        if own.isdisjoint(foils.values()):
            likeness = other["world"] == line["world"], len(words.intersection(cloze.prompt.split()))
            found.append((likeness, other, foils))
    if not found:
        rule = "have its foils from another stimulus, which has another prompt and another target at the same place"
        hint = "Add such a stimulus, or give this probe and its foils lines of their own."
        raise line.naming(place[0], [prompt, target]).wrong(place[0], rule, hint)
    _, other, foils = max(found, key=lambda one: one[0])
    return other, foils


def pair(line: Line, cloze: Cloze, relation: str, foils: Mapping[str, str] | None = None) -> Line:
    """What a stimulus says about a cloze."""
    return line.made("pair", stimulus=line["id"], probe=cloze.id, relation=relation, foils=foils)


def probes(subjects: Mapping[Cloze, Line]) -> list[Line]:
    """The clozes as probes, each with all targets behind its prompt for candidates.

    Args:
        subjects: Each cloze with the stimulus that names its prompt, in whose world it is.
    """
    targets: dict[str, list[str]] = {}
    for cloze in subjects:
        targets.setdefault(cloze.prompt, []).append(cloze.target)
    return [
        line.made("probe", id=cloze.id, **cloze._asdict(), world=line["world"], candidates=targets[cloze.prompt])
        for cloze, line in subjects.items()
    ]
