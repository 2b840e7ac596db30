"""Words of an array's stimuli and probes, counted: all that a learner that does not understand them goes by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

BAR = " |"
"""What stands between a cloze and its answer in the label of a probe."""


def split_label(label: str) -> tuple[str, str]:
    """The prompt and the answer of a label; a whole text has an empty prompt, and is its own answer."""
    prompt, _, answer = label.rpartition(BAR)
    return prompt, answer


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, in their order, without punctuation."""
    return re.findall(r"\w+", text.lower())


@dataclass(frozen=True)
class Words:
    """The content words of an array of texts.

    A content word does not stand in the texts of most worlds, as "a" and "is" do; without worlds, in those of most
    stimuli. In an array of a single world every word stands in most of them, and counts.

    Attributes:
        array: (stimulus, probe), with labels.
    """

    array: xr.DataArray

    @cached_property
    def stimuli(self) -> list[list[str]]:
        """The words of each stimulus."""
        return [words_of(label) for label in self.array["stimulus_label"].values.astype(str)]

    @cached_property
    def probes(self) -> list[tuple[list[str], list[str]]]:
        """The words of each probe's prompt, and of its answer."""
        labels = self.array["probe_label"].values.astype(str)
        return [(words_of(prompt), words_of(answer)) for prompt, answer in map(split_label, labels)]

    @cached_property
    def places(self) -> dict[str, int]:
        """The content words, each with its column among them."""
        units = self.array["stimulus_world" if "stimulus_world" in self.array.coords else "stimulus_id"].values
        texts: dict[object, set[str]] = {unit: set() for unit in units.tolist()}
        for unit, words in zip(units.tolist(), self.stimuli):
            texts[unit].update(words)
        if "probe_world" in self.array.coords:
            for unit, (prompt, answer) in zip(self.array["probe_world"].values.tolist(), self.probes):
                texts.setdefault(unit, set()).update(prompt, answer)
        names, counts = np.unique([word for words in texts.values() for word in words], return_counts=True)
        content = names[counts <= len(texts) / 2]
        return {str(word): place for place, word in enumerate(content if len(content) else names)}

    def counted(self, texts: list[list[str]]) -> Float[np.ndarray, "texts words"]:
        """Which content words each text holds: 1 or 0."""
        held = np.zeros((len(texts), len(self.places)))
        for row, words in enumerate(texts):
            held[row, [self.places[word] for word in words if word in self.places]] = 1
        return held

    @cached_property
    def forms(self) -> np.ndarray:
        """The form of each probe: its prompt with a gap for each content word; a whole text has an empty one."""
        return np.array(
            [" ".join("_" if word in self.places else word for word in prompt) for prompt, _ in self.probes]
        )

    def shared(self) -> Float[np.ndarray, "stimulus probe"]:
        """How many of the stimulus's content words the probe holds, over how many the stimulus has."""
        stimuli = self.counted(self.stimuli)
        probes = self.counted([prompt + answer for prompt, answer in self.probes])
        return stimuli @ probes.T / np.maximum(stimuli.sum(axis=1, keepdims=True), 1)

    def answered(self) -> Float[np.ndarray, "stimulus probe"]:
        """How many of the answer's content words are words of the stimulus, over how many the answer has."""
        answers = self.counted([answer for _, answer in self.probes])
        return self.counted(self.stimuli) @ answers.T / np.maximum(answers.sum(axis=1), 1)


def common_form(words: Words, stated: Bool[np.ndarray, "stimulus probe"]) -> Bool[np.ndarray, " probe"]:
    """Which probes have the form that most of the stated clozes have; all of them where no cloze is stated."""
    clozes = stated.any(axis=0) & (words.forms != "")
    if not clozes.any():
        return np.ones(len(clozes), dtype=bool)
    names, counts = np.unique(words.forms[clozes], return_counts=True)
    return words.forms == names[counts.argmax()]
