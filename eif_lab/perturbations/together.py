"""Stimuli in company: several facts at once, retained facts among them, other wordings, and what follows."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from eif_lab.data.sets import Sets
from eif_lab.data.task import Background, Task, Texts, without_neutral
from eif_lab.errors import NotApplicable, rule_error
from eif_lab.models.base import BaseModel
from eif_lab.models.language.encoding import spell_out
from eif_lab.models.reading import read_log_probs
from eif_lab.options import option
from eif_lab.perturbations.perturbation import Perturbation
from eif_lab.perturbations.template import split, wordings_of
from eif_lab.readouts.classes import IGNORED

log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """A text that is trained on."""

    prompt: str
    target: str
    world: int | str


@dataclass
class Together(Perturbation):
    """Each row of the array is about one stimulus, which is fine-tuned on together with others.

    Its company is of other worlds, so that a row says about the probes of its own world what its stimulus says. Whether
    company makes a fact reach further is then in the verdicts on logic, at equal strength of that stimulus.

    Attributes:
        facts: Stimuli that are learnt at once: the row's own, and one each of other worlds, drawn for every row.
        retained: The share of the set that is background of other worlds, which the model knows already.
        wordings: Other wordings that stand beside each stimulus. Stimuli that have fewer are left out.
        consequences: Of which stimuli clozes that they entail are learnt beside them, as many of each: ``none``; of the
            ``others``, so that the row's own are still only inferred; or of ``all``, which teaches what is asked.
            Stimuli that entail nothing are left out.
        answers: Whether the answer of such a cloze is the ``entailed`` one, or the one of its candidates that the base
            model prefers with the stimulus before it in its ``context``, right or wrong (Lampinen et al., 2025, arXiv
            2505.00661). A plan, which asks no model, takes the entailed ones.
        seed: Of the draw, beside the data's own.
    """

    kinds: ClassVar[tuple[str, ...]] = (Texts.kind,)
    of_sets: ClassVar[bool] = True

    facts: int = option(1, at_least=1, hint="Try 4.")
    retained: float = option(0.0, at_least=0, below=1, hint="Try 0.5.")
    wordings: int = option(0, at_least=0, hint="Try 2.")
    consequences: str = option("none", one_of=["none", "others", "all"])
    answers: str = option("entailed", one_of=["entailed", "context"])
    seed: int = option(0, at_least=0, hint="Try 0.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.consequences == "others" and self.facts == 1:
            hint = "Try perturbation.facts=4."
            raise rule_error("perturbation.consequences", "be none or all with perturbation.facts=1", "others", hint)

    def apply(self, task: Task, seed: int) -> Task:
        """The task whose stimuli are sets, each about one of the former.

        Raises:
            ConfigError: There are not so many worlds, or so many facts to retain.
            NotApplicable: The stimuli belong to no worlds, or lack what is to stand beside them.
        """
        return self.put_together(task, seed)

    @property
    def asks_model(self) -> bool:
        """Where it is the model's own answers that stand beside stimuli."""
        return self.consequences != "none" and self.answers == "context"

    def apply_with(self, task: Task, seed: int, base: BaseModel) -> Task:
        """As `apply`, with the answers that the model gives in its context."""
        return self.put_together(task, seed, base)

    def put_together(self, task: Task, seed: int, base: BaseModel | None = None) -> Task:
        """The task of sets; without a model the answers are those that follow."""
        task = self.usable(without_neutral(task))
        stimuli, worlds = task.texts[0], task.stimuli.coords["world"]
        said, follows = self.said(stimuli), self.consequences_of(task, self.draw(seed, 0), base)
        known = facts_of(task.background, worlds)
        rows = []
        for i, own in enumerate(said):
            row = [*own, *(follows[i] if self.consequences == "all" else [])]
            for k in self.company(worlds, own[0].world, self.draw(seed, 1, i)):
                row += [*said[k], *follows[k]]
            rows.append(row + self.retained_of(known, own[0].world, len(row), self.draw(seed, 2, i)))
        return replace(task, stimuli=sets_about(stimuli.ids, [own[0] for own in said], rows))

    def draw(self, seed: int, *purpose: int) -> np.random.Generator:
        """A generator for each purpose and row, so that rows keep their company whatever else stands beside them."""
        return np.random.default_rng([seed, self.seed, *purpose])

    def usable(self, task: Task) -> Task:
        """The task of the stimuli that have what is to stand beside them."""
        if "world" not in task.stimuli.coords:
            raise NotApplicable("perturbation=together needs stimuli that belong to worlds. Try dataset=ontology.")
        worded = [sum(map(bool, texts)) for texts in zip(*wordings_of(task.texts[0]))] or [0] * len(task.stimuli)
        kept = np.array(worded) >= self.wordings
        if self.consequences != "none":
            kept &= entailed_clozes(task).any(axis=1)
        if not kept.any():
            lacking = f"{self.wordings} other wordings" if max(worded) < self.wordings else "consequences"
            raise NotApplicable(f"perturbation=together needs stimuli with {lacking}, got none. Try another dataset.")
        return task.take(np.flatnonzero(kept), np.arange(len(task.probes)))

    def said(self, stimuli: Texts) -> list[list[Sample]]:
        """Each stimulus, and behind it its other wordings."""
        worlds = stimuli.coords["world"].tolist()
        said = [[Sample(*one)] for one in zip(stimuli.prompts, stimuli.targets, worlds)]
        for own, *texts in zip(said, *wordings_of(stimuli)):
            plain = own[0]
            others = [split(str(text), plain.target if plain.prompt else "") for text in texts if text]
            own += [Sample(*text, plain.world) for text in others[: self.wordings]]
        return said

    def consequences_of(self, task: Task, random: np.random.Generator, base: BaseModel | None) -> list[list[Sample]]:
        """Statements of what each stimulus entails, as many of each: the clozes that ask for it, with their answers.

        Of clozes with the same prompt one is drawn: a model answers them all alike.
        """
        if self.consequences == "none":
            return [[] for _ in range(len(task.stimuli))]
        stimuli, probes = task.texts
        prompts = np.array(probes.prompts)
        shuffled = [random.permutation(np.flatnonzero(own)) for own in entailed_clozes(task)]
        differing = [own[np.sort(np.unique(prompts[own], return_index=True)[1])] for own in shuffled]
        each = min(map(len, differing))
        drawn = [np.sort(own[:each]) for own in differing]
        asked = [(i, j) for i, columns in enumerate(drawn) for j in columns.tolist()]
        answers = [probes.targets[j] for _, j in asked] if base is None else answers_in_context(task, asked, base)
        statements: list[list[Sample]] = [[] for _ in drawn]
        worlds = stimuli.coords["world"].tolist()
        for (i, j), answer in zip(asked, answers):
            ending = re.search(r"\W*$", stimuli.targets[i])
            text = f"{probes.prompts[j]}{answer}{ending[0] if ending else ''}"
            statements[i].append(Sample("", text, worlds[i]))
        return statements

    def company(self, worlds: np.ndarray, own: int | str, random: np.random.Generator) -> list[int]:
        """One stimulus of each of some other worlds."""
        others = np.unique(worlds[worlds != own])
        if self.facts > len(others) + 1:
            rule = f"be at most the {len(others) + 1} worlds that there are"
            raise rule_error("perturbation.facts", rule, self.facts, "Try more dataset.worlds.")
        drawn = random.permutation(others)[: self.facts - 1]
        return [int(random.choice(np.flatnonzero(worlds == world))) for world in drawn]

    def retained_of(
        self, facts: Sequence[Sample] | None, own: int | str, size: int, random: np.random.Generator
    ) -> list[Sample]:
        """Background of other worlds, of which the row's own has none, in its share of the whole set."""
        if not self.retained:
            return []
        count = round(size * self.retained / (1 - self.retained))
        if not count:
            rule = f"be 0, or a share that is one fact beside {size} samples at least"
            raise rule_error("perturbation.retained", rule, self.retained, f"Try {1 / (size + 1):.2g}.")
        if facts is None:
            rule = "be 0 where the task has no background that the model knows"
            raise NotApplicable(
                f"perturbation.retained must {rule}, got {self.retained}. Try dataset.background=known."
            )
        its_own = {fact.target for fact in facts if fact.world == own}
        elsewhere = [fact for fact in {fact.target: fact for fact in facts}.values() if fact.target not in its_own]
        if count > len(elsewhere):
            rule = f"leave room for no more than the {len(elsewhere)} facts of other worlds"
            raise rule_error(
                "perturbation.retained", rule, f"{self.retained}, which is {count}", "Try a smaller share."
            )
        return [elsewhere[k] for k in random.permutation(len(elsewhere))[:count]]


def facts_of(background: Background | None, worlds: np.ndarray) -> list[Sample] | None:
    """The background of these worlds: of those that were left out the model does not know it."""
    if background is None:
        return None
    facts = zip(background.facts.targets, background.facts.coords["world"].tolist())
    return [Sample("", text, world) for text, world in facts if world in worlds]


def entailed_clozes(task: Task) -> np.ndarray:
    """(stimuli, probes), where a stimulus entails a probe that asks for an answer."""
    asks = np.array([bool(prompt) for prompt in task.texts[1].prompts])
    return np.asarray((task.relation == "entailed") & asks)


def answers_in_context(task: Task, asked: Sequence[tuple[int, int]], base: BaseModel) -> list[str]:
    """What a model answers to clozes with a stimulus before them: the candidate that is likeliest, for each token.

    Args:
        task: Of texts.
        asked: Stimulus and cloze of each question.
        base: The model.

    Raises:
        NotApplicable: A cloze has no candidates.
    """
    stimuli, probes = task.texts
    rows, columns = (list(part) for part in zip(*asked))
    clozes = probes.take(columns)
    if not (clozes.candidates and all(clozes.candidates)):
        raise NotApplicable("perturbation.answers must be entailed where clozes have no candidates, got 'context'.")
    context = [f"{stimuli.prompts[i]}{stimuli.targets[i]}" for i in rows]
    framed = tuple(f"{one} {prompt}" for one, prompt in zip(context, clozes.prompts))
    choices, question = spell_out(replace(clozes, prompts=framed))
    inputs, targets = base.encode(choices)
    scores = read_log_probs(base.module, inputs, targets, next(base.module.parameters()).device).cpu()
    scores = scores / (targets != IGNORED).sum(1)
    places = [np.flatnonzero(question == number) for number in range(len(asked))]
    best = [place[int(scores[torch.from_numpy(place)].argmax())] for place in places]
    right = sum(choices.targets[k] == probes.targets[j] for k, j in zip(best, columns))
    log.info("in its context %s draws %d of %d consequences rightly", base.name, right, len(asked))
    return [choices.targets[k] for k in best]


def sets_about(ids: np.ndarray, about: Sequence[Sample], rows: Sequence[Sequence[Sample]]) -> Sets:
    """Sets of texts, each about one of them.

    Args:
        ids: Of what each is about.
        about: That itself.
        rows: What each set holds.

    Raises:
        NotApplicable: A text is twice in one set and not in another, so that these differ in size.
    """
    first: dict[tuple[str, str], Sample] = {}  # of a text that is in several worlds the one that a row is about
    for sample in [*about, *(one for row in rows for one in row)]:
        first.setdefault(sample[:2], sample)
    every, place = list(first.values()), {text: number for number, text in enumerate(first)}
    members = np.zeros((len(rows), len(every)), dtype=bool)
    for number, row in enumerate(rows):
        members[number, [place[sample[:2]] for sample in row]] = True
    sizes = np.unique(members.sum(axis=1))
    if len(sizes) > 1:
        raise NotApplicable(f"perturbation=together needs texts that differ, got sets of {sizes[0]} to {sizes[-1]}.")
    names = dict(zip((sample[:2] for sample in reversed(about)), reversed(ids.tolist())))
    samples = Texts(
        prompts=tuple(sample.prompt for sample in every),
        targets=tuple(sample.target for sample in every),
        ids=np.array([names.get(sample[:2], f"{sample.prompt}{sample.target}") for sample in every]),
        coords={"world": np.array([sample.world for sample in every])},
    )
    return Sets(samples, members, ids, about=np.array([place[sample[:2]] for sample in about]))
