r"""The ontology domain: kinds with abilities are known, a new name is given a kind, and what follows is probed.

A world has two superkinds, two kinds under each, and an ability for each kind::

    superkind 0 -- kind 0 -- ability 0          superkind 1 -- kind 2 -- ability 2
               \- kind 1 -- ability 1                      \- kind 3 -- ability 3

The stimulus "a dax is a blick ." names a new thing. Two rules say what follows (`RULES`): it is what a blick is, and it
can do what a blick can. The matched foil is the same sentence with the counterpart's ability or superkind, the
counterpart of kind k being kind (k + 2) mod 4, under the other superkind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from eif_lab.data.names import invent, words
from eif_lab.data.task import Background, Task, Texts
from eif_lab.schema import Options, option, rule_error

KINDS = 4
CONCEPTS = 2 + KINDS + KINDS
"""How many concepts a world has beside its new names."""

RULES = (("is", "is", "is"), ("is", "can", "can"))
"""Each (r, s, t): from ``x r y`` and ``y s z`` follows ``x t z``."""


class Fact(NamedTuple):
    """``subject verb object``, with the verb ``is`` or ``can``."""

    subject: str
    verb: str
    object: str

    def prompt(self, *, negated: bool = False) -> str:
        """The sentence up to its last word: "a dax is a"."""
        return f"a {self.subject} {self.verb}{' not' * negated}{' a' * (self.verb == 'is')}"

    def answer(self) -> str:
        """What the prompt is completed with: " blick"."""
        return f" {self.object}"

    def sentence(self, *, negated: bool = False) -> str:
        """The whole sentence: "a dax is a blick ."."""
        return f"{self.prompt(negated=negated)}{self.answer()} ."


def derivable(facts: Iterable[Fact], rules: Sequence[tuple[str, str, str]], question: Fact) -> bool:
    """Whether ``question`` follows from ``facts`` by forward chaining: apply every rule until nothing new comes."""
    known = set(facts)
    while True:
        new = {
            Fact(first.subject, conclusion, second.object)
            for first in known
            for second in known
            if first.object == second.subject
            for r, s, conclusion in rules
            if (first.verb, second.verb) == (r, s)
        } - known
        if not new:
            return question in known
        known |= new


@dataclass(frozen=True)
class World:
    """One world's words, and who is what.

    Attributes:
        index: Its number in the dataset.
        superkinds: Two; kind k is under superkind ``k // 2``.
        kinds: Four.
        abilities: Four; ability k is that of kind k.
        names: The new things.
        kind_of: Per name, the index of its kind.
    """

    index: int
    superkinds: tuple[str, ...]
    kinds: tuple[str, ...]
    abilities: tuple[str, ...]
    names: tuple[str, ...]
    kind_of: tuple[int, ...]

    @classmethod
    def build(cls, vocabulary: Sequence[str], index: int = 0) -> World:
        """A world over ``vocabulary``: ten words for the concepts, the rest for new things of the kinds in turn."""
        names = tuple(vocabulary[CONCEPTS:])
        return cls(
            index=index,
            superkinds=tuple(vocabulary[:2]),
            kinds=tuple(vocabulary[2 : 2 + KINDS]),
            abilities=tuple(vocabulary[2 + KINDS : CONCEPTS]),
            names=names,
            kind_of=tuple((index + n) % KINDS for n in range(len(names))),
        )

    def background(self) -> list[Fact]:
        """Each kind's superkind, then each kind's ability."""
        above = [Fact(kind, "is", self.superkinds[k // 2]) for k, kind in enumerate(self.kinds)]
        return above + [Fact(kind, "can", self.abilities[k]) for k, kind in enumerate(self.kinds)]

    def statement(self, name: int) -> Fact:
        """That new thing ``name`` is of its kind."""
        return Fact(self.names[name], "is", self.kinds[self.kind_of[name]])

    def consequences(self, name: int, kind: int) -> tuple[Fact, Fact]:
        """What would follow if new thing ``name`` were of ``kind``: its ability and its superkind."""
        return (
            Fact(self.names[name], "can", self.abilities[kind]),
            Fact(self.names[name], "is", self.superkinds[kind // 2]),
        )

    def place(self, word: str) -> tuple[int, ...]:
        """Where a concept hangs in the tree: root, world, superkind, kind, then ability or new thing."""
        for level, group, parents in (
            ("superkind", self.superkinds, [()] * 2),
            ("kind", self.kinds, [(k // 2,) for k in range(KINDS)]),
            ("ability", self.abilities, [(k // 2, k) for k in range(KINDS)]),
            ("name", self.names, [(k // 2, k) for k in self.kind_of]),
        ):
            if word in group:
                position = group.index(word)
                leaf = position if level != "name" else KINDS + position
                return (self.index, *parents[position], leaf)
        raise KeyError(word)


def counterpart(kind: int) -> int:
    """The kind under the other superkind whose words make the foils of ``kind``, and the other way round."""
    return (kind + 2) % KINDS


class Probe(NamedTuple):
    """A fact that is asked for, with the world and the name it was made for."""

    world: World
    name: int
    fact: Fact
    form: str = "cloze"
    negated: bool = False

    def relation(self, world: World, name: int) -> str:
        """What the stimulus ``world.statement(name)`` says about it, given that world's background."""
        stated, kind = world.statement(name), world.kind_of[name]
        ability, superkind = world.consequences(name, kind)
        claim = "not" if self.negated else "said"
        cells = {
            ("said", stated): "direct",
            ("said", ability): "entailed",
            ("said", superkind): "entailed",
            ("not", ability): "contradicted",
            ("said", Fact(stated.object, "is", stated.subject)): "converse",
        }
        if (claim, self.fact) in cells:
            return cells[claim, self.fact]
        about_this = self.fact.subject == stated.subject
        about_another = self.fact.subject in world.names and not about_this
        concludes_the_same = self.fact.object in (stated.object, ability.object, superkind.object)
        return "foil" if not self.negated and (about_this or (about_another and concludes_the_same)) else "unrelated"


def probes_of(world: World, name: int) -> list[Probe]:
    """The eight probes of a new thing; the entailed ones (2 and 4) stand right before their foils (3 and 5)."""
    statement, kind = world.statement(name), world.kind_of[name]
    ability, superkind = world.consequences(name, kind)
    other_ability, other_superkind = world.consequences(name, counterpart(kind))
    return [
        Probe(world, name, statement, form="statement"),
        Probe(world, name, statement),
        Probe(world, name, ability),
        Probe(world, name, other_ability),
        Probe(world, name, superkind),
        Probe(world, name, other_superkind),
        Probe(world, name, ability, negated=True),
        Probe(world, name, Fact(statement.object, "is", statement.subject)),
    ]


def path_length(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Edges between two places of a tree, each given as the way down from the root."""
    shared = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    return len(one) + len(other) - 2 * shared


def distance(world: World, name: int, probe: Probe) -> int:
    """Edges to walk from the stimulus to the probe, subject to subject and object to object.

    The worlds hang below one root, so that every distance is finite; new things hang below their own kind. It is
    symmetric between statements, 0 between a statement and itself, and blind to negation.
    """
    stated = world.statement(name)
    pairs = ((stated.subject, probe.fact.subject), (stated.object, probe.fact.object))
    return sum(path_length(world.place(mine), probe.world.place(theirs)) for mine, theirs in pairs)


@dataclass
class Ontology(Options):
    """Worlds of kinds and abilities, with new things in them.

    At the default size: 60 stimuli, 480 probes (eight per stimulus), 96 background facts.
    """

    group: ClassVar[str] = "dataset"
    kind: ClassVar[str] = "text"
    name: ClassVar[str] = "ontology"

    worlds: int = option(12, at_least=1)
    stimuli_per_world: int = option(5, at_least=1)

    def load(self, seed: int) -> Task:
        """The task that ``seed`` draws: other words for every seed.

        Raises:
            ConfigError: There are not enough invented words for so many worlds.
        """
        size = CONCEPTS + self.stimuli_per_world
        most = len(words(unseen=True)) // size
        if self.worlds > most:
            raise rule_error(
                "dataset.worlds",
                f"be at most {most} with {self.stimuli_per_world} stimuli each",
                self.worlds,
                f"Try {most}.",
            )
        drawn = invent(self.worlds * size, np.random.default_rng(seed), unseen=True)
        return assemble([World.build(drawn[w * size : (w + 1) * size], w) for w in range(self.worlds)])


def assemble(worlds: Sequence[World]) -> Task:
    """Stimuli, probes, relations, distances, foils and background of ``worlds``."""
    stimuli = [(world, name) for world in worlds for name in range(len(world.names))]
    probes = [probe for world, name in stimuli for probe in probes_of(world, name)]
    shape = len(stimuli), len(probes)
    foil = np.full(shape, -1)
    for j, probe in enumerate(probes):
        if probe.relation(probe.world, probe.name) == "entailed":
            foil[stimuli.index((probe.world, probe.name)), j] = j + 1
    relation = [[probe.relation(*stimulus) for probe in probes] for stimulus in stimuli]
    path = [[distance(*stimulus, probe) for probe in probes] for stimulus in stimuli]
    return Task(
        stimuli=_statements(stimuli),
        probes=_probes(probes),
        relation=np.array(relation),
        distances={"path": np.array(path, dtype=float)},
        foil=foil,
        background=_background(worlds),
    )


def _statements(stimuli: Sequence[tuple[World, int]]) -> Texts:
    facts = [world.statement(name) for world, name in stimuli]
    return Texts(
        prompts=("",) * len(facts),
        targets=tuple(fact.sentence() for fact in facts),
        ids=np.array([fact.sentence() for fact in facts]),
        coords={
            "world": np.array([world.index for world, _ in stimuli]),
            "negation": np.array([fact.sentence(negated=True) for fact in facts]),
        },
    )


def _probes(probes: Sequence[Probe]) -> Texts:
    """A statement has the id of its stimulus; a cloze has its own, the sentence with a bar before the answer."""
    whole = [probe.form == "statement" for probe in probes]
    prompts = ["" if w else probe.fact.prompt(negated=probe.negated) for w, probe in zip(whole, probes)]
    targets = [probe.fact.sentence() if w else probe.fact.answer() for w, probe in zip(whole, probes)]
    return Texts(
        prompts=tuple(prompts),
        targets=tuple(targets),
        ids=np.array([target if w else f"{prompt} |{target}" for w, prompt, target in zip(whole, prompts, targets)]),
        coords={
            "world": np.array([probe.world.index for probe in probes]),
            "form": np.array([probe.form for probe in probes]),
        },
    )


def _background(worlds: Sequence[World]) -> Background:
    """Every fact, asked as a cloze among the world's abilities, or among its superkinds and other kinds."""
    facts = [(world, fact) for world in worlds for fact in world.background()]
    coords = {"world": np.array([world.index for world, _ in facts])}
    ids = np.array([fact.sentence() for _, fact in facts])
    return Background(
        facts=Texts(("",) * len(facts), tuple(fact.sentence() for _, fact in facts), ids, coords),
        questions=Texts(
            tuple(fact.prompt() for _, fact in facts), tuple(fact.answer() for _, fact in facts), ids, coords
        ),
        candidates=tuple(_candidates(world, fact) for world, fact in facts),
    )


def _candidates(world: World, fact: Fact) -> tuple[str, ...]:
    choices = world.abilities if fact.verb == "can" else (*world.superkinds, *world.kinds)
    return tuple(f" {word}" for word in choices if word != fact.subject)


def document(random: np.random.Generator) -> list[str]:
    """The sentences of one world for pre-training: the facts, then twice the facts and what follows.

    Half of the worlds show one kind only, the others up to four: the smaller, the fewer words to find the right one
    among. What a thing is not, or cannot do, is said with the words of its kind's counterpart.
    """
    shown = random.permutation(KINDS)[: random.choice([1, 2, 3, 4], p=[0.5, 0.3, 0.1, 0.1])].tolist()
    names = int(random.integers(1, 4))
    world = replace(
        World.build(invent(CONCEPTS + names, random, unseen=False)),
        kind_of=tuple(shown[name % len(shown)] for name in range(names)),
    )
    stated = [fact.sentence() for fact in world.background() if world.kinds.index(fact.subject) in shown]
    stated += [world.statement(name).sentence() for name in range(names)]
    drawn = []
    for name, kind in enumerate(world.kind_of):
        drawn += [fact.sentence() for fact in world.consequences(name, kind)]
        if counterpart(kind) in shown:
            drawn += [fact.sentence(negated=True) for fact in world.consequences(name, counterpart(kind))]
    again = stated + drawn
    return [part[i] for part in (stated, again, again) for i in random.permutation(len(part))]
