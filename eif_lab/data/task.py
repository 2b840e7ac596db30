"""What a dataset yields: stimuli, probes, and what each stimulus says about each probe."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from eif_lab.data.elsewhere import Elsewhere
    from eif_lab.data.sets import Sets

RELATIONS = ("direct", "entailed", "contradicted", "converse", "foil", "unrelated")
"""What a stimulus says about a probe; an image says of another image of its class that it is ``entailed``."""

RELATED = ("direct", "entailed", "contradicted")
"""The relations under which a probe ought to move."""

FOILS = ("same_subject", "same_words", "neither")
"""The foils of a probe "a dax can fly": the same prompt with another answer ("a dax can swim"), the same words about
another subject ("a wug can fly"), and another answer about that other subject ("a wug can swim")."""


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        kind: The name of this kind of data, by which datasets, models, methods and perturbations say what they take.
        pixels: (n, channels, height, width), in [0, 1].
        labels: (n,), indices into ``classes``.
        classes: The class names.
        ids: (n,), one name per sample: a stimulus and a probe with the same id are the same sample.
        coords: More per-sample values, each (n,), such as ``sigma``; they become coordinates of the array.
    """

    kind: ClassVar[str] = "image"

    pixels: Float[Tensor, "n channels height width"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]
    ids: np.ndarray
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.pixels.shape[1:]))
        return f"<{len(self)} images of {size} in {len(self.classes)} classes>"

    def take(self, index: Sequence[int] | np.ndarray) -> Images:
        """The samples at ``index``, in that order."""
        rows = np.ascontiguousarray(index, dtype=int)
        return replace(
            self,
            pixels=self.pixels[torch.from_numpy(rows)],
            labels=self.labels[torch.from_numpy(rows)],
            ids=self.ids[rows],
            coords={name: values[rows] for name, values in self.coords.items()},
        )

    def describe(self) -> dict[str, np.ndarray]:
        """Coordinates for the influence array: ``id``, ``label`` and ``class``, beside the sample's own ``coords``."""
        names = np.array([self.classes[label] for label in self.labels.tolist()])
        return {"id": self.ids, "label": names, "class": self.labels.numpy(), **self.coords}


@dataclass(frozen=True)
class Texts:
    """Texts, each a prompt and the target that is learnt or read after it; a whole statement has an empty prompt.

    Attributes:
        kind: The name of this kind of data, by which datasets, models, methods and perturbations say what they take.
        prompts: What stands before the target; not learnt, not scored.
        targets: What is learnt (as a stimulus) or scored (as a probe).
        ids: (n,), one name per sample: a stimulus and a probe with the same id are the same sample.
        coords: More per-sample values, each (n,), such as ``world``; they become coordinates of the array.
        candidates: Per probe, the answers to choose among, its own target one of them; () where there is no choice.
            None where no text has any.
    """

    kind: ClassVar[str] = "text"

    prompts: tuple[str, ...]
    targets: tuple[str, ...]
    ids: np.ndarray
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)
    candidates: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        first = self.take(range(min(len(self), 2))).describe()["label"].tolist()
        return f"<{len(self)} texts: {', '.join([reprlib.repr(one) for one in first] + ['...'] * (len(self) > 2))}>"

    def take(self, index: Sequence[int] | np.ndarray) -> Texts:
        """The samples at ``index``, in that order."""
        rows = np.asarray(index, dtype=int)
        return replace(
            self,
            prompts=tuple(self.prompts[i] for i in rows),
            targets=tuple(self.targets[i] for i in rows),
            ids=self.ids[rows],
            coords={name: values[rows] for name, values in self.coords.items()},
            candidates=None if self.candidates is None else tuple(self.candidates[i] for i in rows),
        )

    def describe(self) -> dict[str, np.ndarray]:
        """Coordinates for the influence array: ``id`` and ``label``, beside the sample's own ``coords``."""
        labels = [f"{p} |{t}" if p else t for p, t in zip(self.prompts, self.targets)]
        return {"id": self.ids, "label": np.array(labels), **self.coords}


Samples = Images | Texts
SamplesT = TypeVar("SamplesT", Images, Texts)

KINDS: tuple[str, ...] = (Images.kind, Texts.kind)
"""The kinds of data: all that a dataset may hold."""


def concatenate(parts: Sequence[SamplesT]) -> SamplesT:
    """Samples of one kind, one after the other; they share their ``coords``' names."""
    first = parts[0]
    ids = np.concatenate([part.ids for part in parts])
    coords = {name: np.concatenate([part.coords[name] for part in parts]) for name in first.coords}
    if isinstance(first, Images):
        images = [part for part in parts if isinstance(part, Images)]
        pixels, labels = (torch.cat([getattr(p, field) for p in images]) for field in ("pixels", "labels"))
        return replace(first, pixels=pixels, labels=labels, ids=ids, coords=coords)
    texts = [part for part in parts if isinstance(part, Texts)]
    candidates = tuple(one for part in texts for one in part.candidates or ((),) * len(part))
    return replace(
        first,
        prompts=tuple(prompt for part in texts for prompt in part.prompts),
        targets=tuple(target for part in texts for target in part.targets),
        ids=ids,
        coords=coords,
        candidates=candidates if any(candidates) else None,
    )


@dataclass(frozen=True)
class Background:
    """What the base model is taught before anything is measured, or knows already, and how to tell whether it does.

    Attributes:
        facts: The statements.
        questions: Probes about the facts, with candidates; ``coords["world"]`` says which world each belongs to.
        known: Whether the model is to know them from its pre-training: then it is asked, and taught nothing.
    """

    facts: Texts
    questions: Texts
    known: bool = False


@dataclass(frozen=True)
class Task:
    """One experiment's samples with their relations and distances.

    Attributes:
        stimuli: n training samples, or n sets of such.
        probes: m watched samples.
        relation: (n, m), one of `RELATIONS`.
        distances: Named (n, m) arrays, NaN where undefined; the first one named is the default.
        foils: By the names of `FOILS`, (n, m), the index of the probe that is that foil of a probe; -1 where there is
            none. A stated cloze has foils as well, by which what was taught is told from what any such text does.
        training: What a base model without a checkpoint is trained on (images).
        validation: What the base model's accuracy is reported on (images).
        background: What the base model is taught first, or knows (knowledge domains).
        elsewhere: Which other worlds' probes a stimulus is read on beside those of its own; None for all.
    """

    stimuli: Samples | Sets
    probes: Samples
    relation: np.ndarray
    distances: Mapping[str, np.ndarray]
    foils: Mapping[str, np.ndarray] = field(default_factory=dict)
    training: Images | None = None
    validation: Images | None = None
    background: Background | None = None
    elsewhere: Elsewhere | None = None

    def __repr__(self) -> str:
        names, counts = np.unique(self.relation, return_counts=True)
        relations = ", ".join(f"{count} {name}" for name, count in zip(names.tolist(), counts.tolist()))
        return (
            f"<Task\n  stimuli    {self.stimuli!r}\n  probes     {self.probes!r}\n  relations  {relations}"
            f"\n  distances  {', '.join(self.distances)}>"
        )

    @property
    def read(self) -> np.ndarray | None:
        """(n, m), true where a stimulus is read on a probe; None where every one is read on all.

        It is read on whatever it says something about, in any world; a set on what any of its samples is read on.
        """
        from eif_lab.data.sets import of_samples, trained_on

        if self.elsewhere is None:
            return None
        cells = self.elsewhere.read(trained_on(self.stimuli).coords["world"], self.probes.coords["world"])
        cells = of_samples(self.stimuli, cells)
        cells |= self.relation != "unrelated"
        return None if cells.all() else cells

    @property
    def images(self) -> tuple[Images, Images]:
        """Stimuli and probes of a task of images.

        Raises:
            TypeError: They are texts.
        """
        if not (isinstance(self.stimuli, Images) and isinstance(self.probes, Images)):
            raise TypeError(f"a task of images was expected, got {type(self.stimuli).__name__}")
        return self.stimuli, self.probes

    @property
    def texts(self) -> tuple[Texts, Texts]:
        """Stimuli and probes of a task of texts.

        Raises:
            TypeError: They are images.
        """
        if not (isinstance(self.stimuli, Texts) and isinstance(self.probes, Texts)):
            raise TypeError(f"a task of texts was expected, got {type(self.stimuli).__name__}")
        return self.stimuli, self.probes

    def take(self, stimuli: np.ndarray, probes: np.ndarray) -> Task:
        """The task of these stimuli and probes only; a probe whose foil is not among them has none.

        Args:
            stimuli, probes: Distinct indices.
        """
        cells = np.ix_(stimuli, probes)
        place = np.full(len(self.probes) + 1, -1)
        place[probes] = np.arange(len(probes))
        return replace(
            self,
            stimuli=self.stimuli.take(stimuli),
            probes=self.probes.take(probes),
            relation=self.relation[cells],
            distances={name: values[cells] for name, values in self.distances.items()},
            foils={name: place[index[cells]] for name, index in self.foils.items()},
        )


def without_neutral(task: Task) -> Task:
    """The task of the stimuli that say something about a probe."""
    neutral = task.stimuli.coords.get("neutral")
    return task if neutral is None else task.take(np.flatnonzero(~neutral), np.arange(len(task.probes)))


def background_in_context(task: Task) -> Task:
    """The task with each world's background before its probes, to be read there and not taught to the base model.

    Args:
        task: Of texts; its probes have the coordinate ``world``.
    """
    if task.background is None:
        return task
    facts, (_, probes) = task.background.facts, task.texts
    known = {
        world: " ".join(facts.targets[i] for i in np.flatnonzero(facts.coords["world"] == world))
        for world in np.unique(facts.coords["world"])
    }
    contexts = [known.get(world, "") for world in probes.coords["world"]]
    whole = [not prompt for prompt in probes.prompts]
    return replace(
        task,
        probes=replace(
            probes,
            prompts=tuple(f"{context} {prompt}".strip() for context, prompt in zip(contexts, probes.prompts)),
            targets=tuple(f" {t}" if w and context else t for t, w, context in zip(probes.targets, whole, contexts)),
        ),
        background=None,
    )
