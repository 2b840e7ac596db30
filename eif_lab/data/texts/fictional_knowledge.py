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

from eif_lab.data.dataset import Dataset
from eif_lab.data.sampling import draw_places
from eif_lab.data.task import Task, Texts
from eif_lab.data.texts.records import as_published, read_records
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option

log = logging.getLogger(__name__)

FOLDER = "knowledge/fictional_knowledge"
PASSAGES, REWORDED = f"{FOLDER}/fictional_knowledge.json", f"{FOLDER}/fictional_knowledge_paraphrased.json"
SORTS = {"memorisation": "mem", "paraphrase": "gen", "hard_generalisation": "hard_gen"}
"""The sorts of probes, by distance 0, 1, 2, and what the file calls them."""

OPENS = re.compile(r"(?:^|\s)['\"(]$")
"""The end of a prompt that its target follows without a space."""


class Probe(NamedTuple):
    """A cloze of a passage; its ``foil`` is the same prompt with the target of another cloze of its sort."""

    passage: int
    sort: str
    number: int
    prompt: str
    target: str
    candidates: tuple[str, ...]
    foil: bool = False

    @property
    def name(self) -> str:
        """Its id."""
        return f"passage {self.passage} {self.sort} {self.number}{' foil' * self.foil}"

    @property
    def distance(self) -> float:
        """How far from the passage's own words it is: 0, 1, 2; NaN for a foil."""
        return float("nan") if self.foil else float(list(SORTS).index(self.sort))

    @property
    def relation(self) -> str:
        """What its passage says about it."""
        return "foil" if self.foil else "direct" if self.sort == "memorisation" else "entailed"


@dataclass
class FictionalKnowledge(Dataset):
    """Each passage is a stimulus and a world of its own.

    Of a passage's probes the memorisation ones are ``direct``, the others ``entailed``; another passage says nothing
    about them. The matched foil of an entailed probe is the same prompt with the next different target of its sort and
    passage: over a passage, entailed probes and foils are the same words in another arrangement, so that a model that
    only learns which words the passage holds prefers neither. The candidates of a probe are the targets of its sort
    and passage. A passage is too long to be a probe itself: what it teaches itself is read off its memorisation probes.

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
        with as_published(self.root, REWORDED):
            wordings = {record["train_context"]: record["paraphrases"] for record in reworded}
        with as_published(self.root, PASSAGES):
            short = [number for number, one in enumerate(records) if len(one["train_context"]) <= self.longest]
        log.info(
            "%d of %d passages left out: longer than %d characters (dataset.longest)",
            len(records) - len(short), len(records), self.longest,
        )  # fmt: skip
        chosen = draw_places("passages", self.passages, len(short), seed, f"of at most {self.longest} characters")
        passages = {short[i]: records[short[i]] for i in chosen}
        with as_published(self.root, PASSAGES):
            return passage_task(
                passages, [self._fitting(wordings.get(one["train_context"], [])) for one in passages.values()]
            )

    def _fitting(self, wordings: Sequence[str]) -> list[str]:
        return [text for text in wordings if len(text) <= self.longest]


def passage_task(passages: Mapping[int, Mapping[str, Any]], wordings: Sequence[Sequence[str]]) -> Task:
    """Stimuli, probes, relations, distances and foils.

    Args:
        passages: The file's records, by their number in it.
        wordings: Of each passage, its other wordings; as many as there are.
    """
    probes = [probe for number, record in passages.items() for probe in probes_of(number, record)]
    shape = len(passages), len(probes)
    relation, distance, foil = np.full(shape, "unrelated", "<U12"), np.full(shape, np.nan), np.full(shape, -1)
    row = {number: i for i, number in enumerate(passages)}
    place = {probe.name: j for j, probe in enumerate(probes)}
    for j, probe in enumerate(probes):
        cell = row[probe.passage], j
        relation[cell], distance[cell] = probe.relation, probe.distance
        foil[cell] = place.get(f"{probe.name} foil", -1)
    return Task(
        stimuli=_stimuli(passages, wordings),
        probes=Texts(
            prompts=tuple(probe.prompt for probe in probes),
            targets=tuple(probe.target for probe in probes),
            ids=np.array([probe.name for probe in probes]),
            coords={
                "world": np.array([probe.passage for probe in probes]),
                "form": np.array([probe.sort for probe in probes]),
            },
            candidates=tuple(probe.candidates for probe in probes),
        ),
        relation=relation,
        distances={"generalisation": distance},
        foil=foil,
    )


def probes_of(number: int, record: Mapping[str, Any]) -> list[Probe]:
    """The probes of a passage, each entailed one right before its foil."""
    probes = []
    for sort, short in SORTS.items():
        prompts, targets = record[f"{short}_input"], record[f"{short}_target"]
        for k, (prompt, target) in enumerate(zip(prompts, targets)):
            gap = "" if OPENS.search(prompt) else " "
            others = [one for one in (*targets[k + 1 :], *targets[:k]) if not alike(one, target)]
            candidates = tuple(dict.fromkeys(f"{gap}{one}" for one in (target, *others))) if others else ()
            probe = Probe(number, sort, k, prompt, f"{gap}{target}", candidates)
            probes.append(probe)
            if sort != "memorisation" and others:
                probes.append(probe._replace(target=f"{gap}{others[0]}", foil=True))
    return probes


def alike(one: str, other: str) -> bool:
    """Whether two targets say about the same, such as "1995" and "the year 1995"."""
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
