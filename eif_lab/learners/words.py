"""Words of an array's stimuli and probes, counted: all that a learner that does not understand them goes by."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped

from eif_lab.desiderata.lexical import content_words, incidence, words
from eif_lab.desiderata.selection import texts

BAR = " |"
"""What stands between a cloze and its answer in the label of a probe."""


def share_of_stimulus(array: xr.DataArray) -> Float[np.ndarray, "stimulus probe"]:
    """How many of the stimulus's content words the probe holds, over how many the stimulus has."""
    content = content_words(array)
    stimuli, probes = (incidence(texts(array, f"{side}_label"), content) for side in ("stimulus", "probe"))
    return (stimuli @ probes.T).toarray() / np.maximum(stimuli.sum(axis=1), 1)[:, None]


def share_of_answer(array: xr.DataArray) -> Float[np.ndarray, "stimulus probe"]:
    """How many of the answer's content words are words of the stimulus, over how many the answer has."""
    content = content_words(array)
    stimuli, answers = (
        incidence(texts(array, "stimulus_label"), content),
        incidence(prompts_and_answers(array)[1], content),
    )
    return (stimuli @ answers.T).toarray() / np.maximum(answers.sum(axis=1), 1)


def prompts_and_answers(array: xr.DataArray) -> tuple[list[str], list[str]]:
    """Both parts of each probe; a whole text has an empty prompt, and is its own answer."""
    prompts, _, answers = zip(*(label.rpartition(BAR) for label in texts(array, "probe_label").tolist()))
    return list(prompts), list(answers)


def usual_form(array: xr.DataArray, stated: Bool[np.ndarray, "stimulus probe"]) -> Bool[np.ndarray, " probe"]:
    """Which probes have the form that most of the stated clozes have; all of them where no cloze is stated."""
    forms = forms_of(array)
    names, counts = np.unique(forms[stated.any(axis=0) & (forms != "")], return_counts=True)
    return forms == names[counts.argmax()] if len(names) else np.ones(len(forms), dtype=bool)


def forms_of(array: xr.DataArray) -> Shaped[np.ndarray, " probe"]:
    """The form of each probe: the other words of its prompt than content words; empty for a whole text."""
    content = set(content_words(array))
    return np.array([" ".join(sorted(words(prompt) - content)) for prompt in prompts_and_answers(array)[0]])
