"""Subjects, relations and objects with their wordings (Hernandez et al., 2024, arXiv 2308.09124): facts of the world.

A fact is a subject and an object of a relation; a wording is a sentence with a gap for the subject that the object
completes. "The capital city of France is | Paris" is a stimulus. Its paraphrases are the relation's other wordings,
its foils those wordings of another subject, its converse the statement with subject and object exchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar

import numpy as np

from eif_lab.data.elsewhere import OfWorlds
from eif_lab.data.sampling import draw_places
from eif_lab.data.task import FOILS, Task, Texts
from eif_lab.data.texts.records import read_records, refuse_changed_records
from eif_lab.data.texts.relation import INVERSES, Case, Claim, Fact, Relation
from eif_lab.errors import rule_error, unknown_name
from eif_lab.files.fingerprint import fingerprint
from eif_lab.options import option

log = logging.getLogger(__name__)

FOLDER = "knowledge/relations"
KINDS = ("factual", "commonsense", "linguistic")


@dataclass
class Relations(OfWorlds):
    """Facts of the world: each relation is a world, some of its facts the stimuli.

    A stimulus is a fact in the relation's first wording: the prompt is given, the object learnt. Its probes are itself
    (``direct``), the fact in other wordings (``entailed``), and subject and object exchanged in the first wording,
    which does not follow (``converse``; ``entailed`` where the set calls the relation symmetric). For the relations of
    `INVERSES` the same fact is also stated from its object ("Paris is the capital of | France"), which follows:
    ``entailed``. Each has its three foils, in its wording: of another object, of another subject, and of both. Whatever
    else shares a subject or an object with the stimulus, within its relation, is a ``foil`` as well.

    The distance ``differences`` counts which of relation, subject and object differ between stimulus and probe.
    Candidates are other objects of the relation (other subjects, where the subject is asked for) of which the set does
    not say that they are right.

    Attributes:
        kinds: Of the set's kinds ``factual``, ``commonsense`` and ``linguistic``, those that are drawn from.
        relations: How many relations are drawn.
        only: Names of the relations to use instead of a draw.
        stimuli_per_relation: Facts of each.
        paraphrases: Other wordings of a fact that are probed, at most.
        candidates: Answers to choose among, at most; the right one is one of them.
        root: The folder that holds ``knowledge/relations``.
    """

    kind: ClassVar[str] = Texts.kind
    incidental: ClassVar[tuple[str, ...]] = ("root",)

    kinds: list[str] = option(["factual", "commonsense"], one_of=KINDS, hint="Try [factual].")
    relations: int = option(15, at_least=1, hint="Try 15.")
    only: list[str] | None = option(None)
    stimuli_per_relation: int = option(4, at_least=1, hint="Try 4.")
    paraphrases: int = option(2, at_least=1, hint="Try 2.")
    candidates: int = option(5, at_least=2, hint="Try 5.")
    root: str = "data"

    def identity(self) -> list[list[str]]:
        """The contents of all files that are drawn from."""
        return fingerprint(Path(self.root) / place for place in self._places().values())

    def load(self, seed: int) -> Task:
        """The relations, facts and candidates that ``seed`` draws.

        Raises:
            ConfigError: The files are not there, hold too little, or none has the name given.
        """
        relations = self._draw(seed)
        generator = np.random.default_rng(seed)
        task = assemble([self._world(relation, generator) for relation in relations], relations)
        return self.with_elsewhere(task, seed)

    def _places(self) -> dict[str, str]:
        """The set's files of these kinds, by relation."""
        root = Path(self.root)
        paths = sorted(path for kind in self.kinds for path in (root / FOLDER / kind).glob("*.json"))
        return {path.stem: str(path.relative_to(root)) for path in paths}

    def _draw(self, seed: int) -> list[Relation]:
        places = self._places()
        if not places:
            rule = f"be a folder that holds {FOLDER}/{self.kinds[0]}"
            raise rule_error("dataset.root", rule, self.root, "Set EIF_LAB_DATA to one that does.")
        for name in self.only or []:
            if name not in places:
                raise unknown_name("dataset.only", name, places)
        fields = ("prompt_templates", "prompt_templates_zs", "properties", "samples")
        read = []
        for name in self.only or places:
            with refuse_changed_records(self.root, places[name]):
                read.append(Relation.read(name, read_records(self.root, places[name], fields)[0]))
        usable = [one for one in read if len(one.wordings) > 1 and len(one.clear) >= self.stimuli_per_relation]
        log.info(
            "%d of %d relations left out: one wording only, or fewer than %d facts (dataset.stimuli_per_relation)",
            len(read) - len(usable), len(read), self.stimuli_per_relation,
        )  # fmt: skip
        if self.only is not None and usable:
            return usable
        what = f"with a second wording and {self.stimuli_per_relation} facts"
        return [usable[i] for i in draw_places("relations", self.relations, len(usable), seed, what)]

    def _world(self, relation: Relation, generator: np.random.Generator) -> list[Case]:
        """The stimuli drawn from a relation, with their probes."""
        places = generator.permutation(len(relation.clear))[: self.stimuli_per_relation]
        facts = [relation.clear[i] for i in places]
        return [self._case(relation, fact, facts, generator) for fact in facts]

    def _case(self, relation: Relation, fact: Fact, facts: Sequence[Fact], generator: np.random.Generator) -> Case:
        """A fact's probes with their foils."""
        name, subject, object_ = fact
        foils = relation.foils(fact, facts)
        _, stranger, wrong = foils[-1] if foils else ("", "", "")
        right = relation.fact_set
        objects = [one for one in relation.objects if Fact(name, subject, one) not in right]
        subjects = [one for one in relation.subjects if Fact(name, one, object_) not in right]
        # of a prompt that holds the subject, and of one that holds the object
        named = self._answers(generator, object_, wrong, objects)
        asked = self._answers(generator, subject, stranger, subjects)
        swapped = [foils[place] for place in (1, 0, 2)] if foils else []
        wordings = [
            with_foils("paraphrase", partial(relation.ask_object, wording=wording), fact, foils, named)
            for wording in range(1, min(len(relation.wordings), self.paraphrases + 1))
        ]
        inverse = [with_foils("inverse", relation.ask_subject, fact, swapped, asked)] if name in INVERSES else []
        turned = with_foils("converse", relation.ask_object, fact.swapped, [one.swapped for one in swapped], asked)
        return Case((with_foils("direct", relation.ask_object, fact, foils, named), *wordings, *inverse, turned))

    def _answers(self, generator: np.random.Generator, right: str, foil: str, others: Sequence[str]) -> tuple[str, ...]:
        """The right answer, that of the foils, if there are such, and some of the others, as they follow a prompt."""
        rest = [others[place] for place in generator.permutation(len(others)) if others[place] != foil]
        return tuple(f" {one}" for one in [right, *([foil] if foil else []), *rest][: self.candidates])


def with_foils(
    form: str, ask: Callable[[Fact, str], Claim], fact: Fact, foils: Sequence[Fact], candidates: tuple[str, ...]
) -> tuple[Claim, dict[str, Claim]]:
    """A probe with its foils, which have its candidates.

    Args:
        form: Of the probe.
        ask: A fact and a form to the claim.
        fact: What is probed.
        foils: In the order of `FOILS`, or none.
        candidates: With the answers of probe and foils among them.
    """

    def claim(said: Fact, form: str) -> Claim:
        made = ask(said, form)
        answer = f" {made.target}"
        return made._replace(candidates=(answer, *(one for one in candidates if one != answer)))

    return claim(fact, form), {kind: claim(foil, "foil") for kind, foil in zip(FOILS, foils)}


def assemble(worlds: Sequence[Sequence[Case]], relations: Sequence[Relation]) -> Task:
    """Stimuli, probes, relations, distances and foils.

    Args:
        worlds: The cases of each relation.
        relations: The relations, in the same order.
    """
    cases = [case for world in worlds for case in world]
    every = [claim for case in reversed(cases) for claim in case.claims]
    claims = {claim.name: claim for claim in sorted(every, key=lambda claim: claim.form != "foil")}
    probes = [claims[name] for name in dict.fromkeys(claim.name for case in cases for claim in case.claims)]
    symmetric = {relation.name for relation in relations if relation.symmetric}
    place = {claim.name: j for j, claim in enumerate(probes)}
    relation = np.array([[relation_of(case.stated, claim, symmetric) for claim in probes] for case in cases])
    foils = {kind: np.full(relation.shape, -1) for kind in FOILS}
    for i, case in enumerate(cases):
        for probe, wrong in case.contrasts:
            for kind, claim in wrong.items():
                foils[kind][i, place[probe.name]] = place[claim.name]
                relation[i, place[claim.name]] = "foil"
    return Task(
        stimuli=_stimuli(cases, relations),
        probes=_texts(probes, relations),
        relation=relation,
        distances={
            "differences": np.array([[differences(case.stated.fact, claim.fact) for claim in probes] for case in cases])
        },
        foils=foils,
    )


def relation_of(stated: Claim, claim: Claim, symmetric: Collection[str]) -> str:
    """The relation of a stimulus to a probe.

    Args:
        stated: The stimulus.
        claim: What the probe claims.
        symmetric: The relations that hold with subject and object exchanged.
    """
    name, subject, object_ = claim.fact
    if claim.name == stated.name:
        return "direct"
    if claim.fact == stated.fact:
        return "entailed"
    if (name, object_, subject) == stated.fact:
        return "entailed" if name in symmetric else "converse"
    shares = subject == stated.fact.subject or object_ == stated.fact.object
    return "foil" if name == stated.fact.relation and shares else "unrelated"


def differences(one: Fact, other: Fact) -> float:
    """How many of relation, subject and object differ: 0 to 3."""
    return float(sum(a != b for a, b in zip(one, other)))


def _stimuli(cases: Sequence[Case], relations: Sequence[Relation]) -> Texts:
    """The stimuli; ``wording_1``, ... hold their paraphrases."""
    sentences = [
        [f"{one.prompt} {one.target}" for one, _ in case.contrasts if one.form == "paraphrase"] for case in cases
    ]
    columns = zip_longest(*sentences, fillvalue="")
    texts = _texts([case.stated for case in cases], relations)
    wordings = {f"wording_{number}": np.array(column) for number, column in enumerate(columns, 1)}
    return replace(texts, coords={**texts.coords, **wordings})


def _texts(claims: Sequence[Claim], relations: Sequence[Relation]) -> Texts:
    world = {relation.name: number for number, relation in enumerate(relations)}
    return Texts(
        prompts=tuple(claim.prompt for claim in claims),
        targets=tuple(f" {claim.target}" for claim in claims),
        ids=np.array([claim.name for claim in claims]),
        coords={
            "world": np.array([world[claim.fact.relation] for claim in claims]),
            "topic": np.array([claim.fact.relation for claim in claims]),
            "form": np.array([claim.form for claim in claims]),
        },
        candidates=tuple(claim.candidates if len(claim.candidates) > 1 else () for claim in claims),
    )
