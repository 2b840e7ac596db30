"""Fictional Knowledge (Chang et al., 2024, arXiv 2406.11813): invented encyclopaedia passages with cloze probes.

Each passage comes with three sorts of probes: parts of it word for word (memorisation), the same sentences said in
other words (paraphrase), and statements that need more than one of its sentences or some thought (hard generalisation).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from eif_lab.data.elsewhere import OfWorlds
from eif_lab.data.sampling import draw_places
from eif_lab.data.task import FOILS, Task, Texts
from eif_lab.data.texts.records import read_records, refuse_changed_records
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option

log = logging.getLogger(__name__)

FOLDER = "knowledge/fictional_knowledge"
PASSAGES, REWORDED = f"{FOLDER}/fictional_knowledge.json", f"{FOLDER}/fictional_knowledge_paraphrased.json"
SORTS = {"memorisation": "mem", "paraphrase": "gen", "hard_generalisation": "hard_gen"}
"""The sorts of probes, by distance 0, 1, 2, and what the file calls them."""

FULL_STOP = re.compile(r"(?<!Inc)\.$")
UNANSWERED = re.compile(r"(?:^|\s)['\"(]$|not mentioned")
"""Where it occurs in a cloze, the target is half a quotation, or no answer."""

ARTICLE = re.compile(r"(?:the|an?)\b", re.IGNORECASE)


class Cloze(NamedTuple):
    """A cloze of the file: what its passage says in the place of the target."""

    passage: int
    sort: str
    number: int
    prompt: str
    target: str

    @property
    def kind(self) -> str:
        """The kind of beginning of its target: another target of the kind reads as well in its place."""
        start = self.target.lstrip("'\"")
        if start[:1].isdigit():
            return "figure"
        if ARTICLE.match(start):
            return "article"
        return "name" if start[:1].isupper() else "other"

    @property
    def is_answered(self) -> bool:
        """Whether the target is an answer that the prompt does not give away."""
        given = re.search(rf"\b{re.escape(self.target.lower())}\b", self.prompt.lower())
        return not given and not UNANSWERED.search(self.prompt) and not UNANSWERED.search(self.target)


class Probe(NamedTuple):
    """A cloze or one of its foils, which has the foil's prompt and target in place of its own."""

    cloze: Cloze
    prompt: str
    target: str
    candidates: tuple[str, ...]
    foil: str = ""

    @property
    def name(self) -> str:
        """The id of the probe."""
        passage, sort, number, *_ = self.cloze
        return f"passage {passage} {sort} {number} {self.foil}".rstrip()

    @property
    def distance(self) -> float:
        """How far from the passage's own words it is: 0, 1, 2; NaN for a foil."""
        return float("nan") if self.foil else float(list(SORTS).index(self.cloze.sort))

    @property
    def relation(self) -> str:
        """The relation of its passage to it."""
        return "foil" if self.foil else "direct" if self.cloze.sort == "memorisation" else "entailed"


@dataclass
class FictionalKnowledge(OfWorlds):
    """Each passage is a stimulus and a world of its own.

    Of a passage's probes the memorisation ones are ``direct``, the others ``entailed``; another passage says nothing
    about them. Clozes without an answer, or with one that the prompt gives away, are left out. The foil of the same
    subject is the same prompt with another target of its sort and passage, the next one, of its kind if there is such;
    the foil of the same words is the target behind a prompt of another passage, whose own target is of its sort and
    kind; the third is that other target there. The candidates of a probe are the targets of its sort and passage. A
    passage is too long to be a probe itself: what it teaches itself is read off its memorisation probes.

    The distance ``generalisation`` is 0, 1, 2 by sort; NaN for foils and between a passage and the probes of others.
    The set's other wordings of a passage, which 40 of the 130 have, are the coordinates ``wording_1``, ...

    Attributes:
        passages: How many are drawn.
        longest: Passages, and other wordings, of more characters are left out.
        root: The folder that holds ``knowledge/fictional_knowledge``.
    """

    kind: ClassVar[str] = Texts.kind
    incidental: ClassVar[tuple[str, ...]] = ("root",)

    passages: int = option(8, at_least=1, hint="Try 8.")
    longest: int = option(2200, at_least=1, hint="Try 2200.")
    root: str = "data"

    def identity(self) -> list[list[str]]:
        """The contents of both files."""
        return fingerprint(Path(self.root) / place for place in (PASSAGES, REWORDED))

    def load(self, seed: int) -> Task:
        """The passages that ``seed`` draws.

        Raises:
            ConfigError: The files are not there, or hold too few passages.
        """
        fields = [f"{sort}_{part}" for sort in SORTS.values() for part in ("input", "target")]
        records = read_records(self.root, PASSAGES, ("train_context", *fields))
        reworded = read_records(self.root, REWORDED, ("train_context", "paraphrases"))
        with refuse_changed_records(self.root, REWORDED):
            wordings = {record["train_context"]: record["paraphrases"] for record in reworded}
        with refuse_changed_records(self.root, PASSAGES):
            short = [number for number, one in enumerate(records) if len(one["train_context"]) <= self.longest]
        log.info(
            "%d of %d passages left out: longer than %d characters (dataset.longest)",
            len(records) - len(short), len(records), self.longest,
        )  # fmt: skip
        chosen = draw_places("passages", self.passages, len(short), seed, f"of at most {self.longest} characters")
        passages = {short[i]: records[short[i]] for i in chosen}
        with refuse_changed_records(self.root, PASSAGES):
            task = passage_task(
                passages, [self._fitting(wordings.get(one["train_context"], [])) for one in passages.values()]
            )
        return self.with_elsewhere(task, seed)

    def _fitting(self, wordings: Sequence[str]) -> list[str]:
        return [text for text in wordings if len(text) <= self.longest]


def passage_task(passages: Mapping[int, Mapping[str, Any]], wordings: Sequence[Sequence[str]]) -> Task:
    """Stimuli, probes, relations, distances and foils.

    Args:
        passages: The file's records, by their number in it.
        wordings: Of each passage, its other wordings; as many as there are.
    """
    clozes = [clozes_of(number, record) for number, record in passages.items()]
    probes = [probe for i in range(len(clozes)) for probe in probes_of([*clozes[i:], *clozes[:i]])]
    shape = len(passages), len(probes)
    relation, distance = np.full(shape, "unrelated", "<U12"), np.full(shape, np.nan)
    foils = {name: np.full(shape, -1) for name in FOILS}
    row = {number: i for i, number in enumerate(passages)}
    place = {probe.name: j for j, probe in enumerate(probes)}
    for j, probe in enumerate(probes):
        cell = row[probe.cloze.passage], j
        relation[cell], distance[cell] = probe.relation, probe.distance
        for name, columns in foils.items():
            columns[cell] = place.get(f"{probe.name} {name}", -1)
    return Task(
        stimuli=_stimuli(passages, wordings),
        probes=Texts(
            prompts=tuple(probe.prompt for probe in probes),
            targets=tuple(probe.target for probe in probes),
            ids=np.array([probe.name for probe in probes]),
            coords={
                "world": np.array([probe.cloze.passage for probe in probes]),
                "form": np.array([probe.cloze.sort for probe in probes]),
            },
            candidates=tuple(probe.candidates for probe in probes),
        ),
        relation=relation,
        distances={"generalisation": distance},
        foils=foils,
    )


def clozes_of(number: int, record: Mapping[str, Any]) -> list[Cloze]:
    """The clozes of a passage that have an answer; a full stop behind it is dropped."""
    every = [
        Cloze(number, sort, k, prompt, FULL_STOP.sub("", target))
        for sort, short in SORTS.items()
        for k, (prompt, target) in enumerate(zip(record[f"{short}_input"], record[f"{short}_target"]))
    ]
    return [cloze for cloze in every if cloze.is_answered]


def probes_of(passages: Sequence[Sequence[Cloze]]) -> list[Probe]:
    """The probes of the first passage, each cloze right before its foils.

    Args:
        passages: The clozes of each; the foils of the same words take a prompt of the first that has one.
    """
    own, *others = passages
    elsewhere = [cloze for clozes in others for cloze in clozes]
    probes = []
    for place, cloze in enumerate(own):
        around = [one for one in (*own[place + 1 :], *own[:place]) if one.sort == cloze.sort]
        wrong = [one for one in around if not same_answer(one.target, cloze.target)]
        wrong.sort(key=lambda one: one.kind != cloze.kind)
        targets = list(dict.fromkeys(one.target for one in (cloze, *wrong)))
        prompts = [one.prompt for one in elsewhere if is_counterpart(one, cloze, targets[:2])]
        asked = {"": (cloze.prompt, cloze.target)}
        asked |= {"same_subject": (cloze.prompt, targets[1])} if wrong else {}
        asked |= {"same_words": (prompts[0], cloze.target)} if prompts else {}
        asked |= {"neither": (prompts[0], targets[1])} if prompts and wrong else {}
        for foil, (prompt, target) in asked.items():
            candidates = dict.fromkeys(f" {one}" for one in (target, *targets)) if wrong else {}
            probes.append(Probe(cloze, prompt, f" {target}", tuple(candidates), foil))
    return probes


def is_counterpart(one: Cloze, other: Cloze, targets: Sequence[str]) -> bool:
    """Whether a cloze's prompt can stand before the targets of another one, which are no answers to it."""
    same = (one.sort, one.kind) == (other.sort, other.kind)
    return same and not any(
        same_answer(one.target, target) or target.lower() in one.prompt.lower() for target in targets
    )


def same_answer(one: str, other: str) -> bool:
    """Whether two targets mean about the same, such as "1995" and "the year 1995"."""
    a, b = ("".join(filter(str.isalnum, text.lower())) for text in (one, other))
    return a in b or b in a or SequenceMatcher(None, a, b).ratio() > 0.8


def _stimuli(passages: Mapping[int, Mapping[str, Any]], wordings: Sequence[Sequence[str]]) -> Texts:
    most = max(map(len, wordings))
    return Texts(
        prompts=("",) * len(passages),
        targets=tuple(record["train_context"] for record in passages.values()),
        ids=np.array([f"passage {number}" for number in passages]),
        coords={
            "world": np.array(list(passages)),
            **{f"wording_{k + 1}": np.array([one[k] if k < len(one) else "" for one in wordings]) for k in range(most)},
        },
    )
