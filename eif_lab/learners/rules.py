"""The rules of the reference learners: each maps an array's coordinates to an influence, in shares of the strength."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from numpy.random import Generator

from eif_lab.desiderata.selection import same_sample, texts
from eif_lab.errors import NotApplicable
from eif_lab.learners.words import share_of_answer, share_of_stimulus, usual_form

Values = Float[np.ndarray, "stimulus probe"]
Rule = Callable[[xr.DataArray, Generator], Values]
"""A (stimulus, probe) array with its coordinates, and the source of what the rule draws, to the influence."""

LEAST_SHARE = 0.5
"""What the strongest noise leaves of what a perfect learner takes from a stimulus to other samples."""

FAINT = 0.05
"""What a faint learner passes on of what it was taught."""


def perfect(array: xr.DataArray, random: Generator) -> Values:
    """What ought to happen: what is stated or follows rises by one strength, what is contradicted falls by one.

    Of images a sample rises by one strength, its class by 0.7 to 1 the nearer it is, and other classes fall by up to
    0.4, the nearer ones further. A noisy stimulus teaches itself as well, and others less. It bounds every verdict from
    above: a test that is not satisfied by it asks for what no model could do.
    """
    relation = texts(array, "relation")
    sign = {"direct": 1.0, "entailed": 1.0, "contradicted": -1.0}
    values = images_by_nearness(array) if of_images(array) else np.vectorize(lambda name: sign.get(name, 0.0))(relation)
    return np.where(relation == "direct", values, values * clean_share(array)[:, None])


def bag_of_words(array: xr.DataArray, random: Generator) -> Values:
    """A learner that knows no order of words: a probe rises with the content words that it shares with the stimulus.

    It is what an evaluation must not be satisfied with. Of a stimulus and its cloze all words are shared.
    """
    must_have_words(array)
    return share_of_stimulus(array)


def form(array: xr.DataArray, random: Generator) -> Values:
    """A learner of the form alone, which every stimulus teaches alike: each probe has its own level, and moves by it.

    Probes of the form that is stated move more. It is for what any training on such sentences does to any of them.
    """
    level = random.uniform(0, 0.5, size=array.sizes["probe"])
    if has_words(array):
        level = level + 0.5 * usual_form(array, texts(array, "relation") == "direct")
    return np.tile(level, (array.sizes["stimulus"], 1))


def copying(array: xr.DataArray, random: Generator) -> Values:
    """A learner of words alone: it raises the stimulus's words wherever they are an answer, whatever the question."""
    must_have_words(array)
    return share_of_answer(array)


def negation_blind(array: xr.DataArray, random: Generator) -> Values:
    """A perfect learner that does not see the "not": what is contradicted rises like what follows."""
    values = perfect(array, random)
    return np.where(texts(array, "relation") == "contradicted", np.abs(values), values)


def symmetric(array: xr.DataArray, random: Generator) -> Values:
    """A perfect learner that reads every statement backwards too: the converse rises like what follows.

    Among samples that are both stimulus and probe either cell of a pair is the larger one of the two.
    """
    values = np.where(texts(array, "relation") == "converse", 1.0, perfect(array, random))
    _, rows, columns = np.intersect1d(texts(array, "stimulus_id"), texts(array, "probe_id"), return_indices=True)
    square = values[np.ix_(rows, columns)]
    values[np.ix_(rows, columns)] = np.where(np.abs(square) >= np.abs(square.T), square, square.T)
    return values


def faint(array: xr.DataArray, random: Generator) -> Values:
    """A learner by heart: it learns what is stated, and passes on a twentieth of it in the right directions."""
    values = perfect(array, random)
    return np.where(texts(array, "relation") == "direct", values, FAINT * values)


RULES: dict[str, Rule] = {
    "perfect": perfect,
    "bag_of_words": bag_of_words,
    "format": form,
    "copying": copying,
    "negation_blind": negation_blind,
    "symmetric": symmetric,
    "faint": faint,
}
"""The reference learners by name."""


def of_images(array: xr.DataArray) -> bool:
    """Whether stimuli and probes are images, which have classes and no words."""
    return {"stimulus_class", "probe_class"} <= set(array.coords)


def has_words(array: xr.DataArray) -> bool:
    """Whether stimuli and probes are texts, with labels that say them."""
    return not of_images(array) and {"stimulus_label", "probe_label"} <= set(array.coords)


def must_have_words(array: xr.DataArray) -> None:
    """Refuse an array that a rule about words has nothing to say about.

    Raises:
        NotApplicable: It is one of images, or has no labels.
    """
    if not has_words(array):
        raise NotApplicable("model.rule must be one that needs no words where there are none. Try perfect or format.")


def clean_share(array: xr.DataArray) -> Float[np.ndarray, " stimulus"]:
    """What noise leaves of each stimulus: 1 without noise, falling to `LEAST_SHARE` at the strongest."""
    if "stimulus_sigma" not in array.coords:
        return np.ones(array.sizes["stimulus"])
    sigma = array["stimulus_sigma"].values.astype(float)
    return 1 - (1 - LEAST_SHARE) * sigma / max(sigma.max(), np.finfo(float).tiny)


def images_by_nearness(array: xr.DataArray) -> Values:
    """1 for the sample itself, 0.7 to 1 for its class by nearness, 0 to -0.4 for other classes by theirs."""
    distance = feature_or_pixel_distance(array)
    same = same_sample(array)
    stimulus, probe = (np.asarray(array[f"{dim}_class"].values) for dim in ("stimulus", "probe"))
    classes = np.unique(np.concatenate([stimulus, probe]))
    of_stimulus, of_probe = (np.eye(len(classes))[np.searchsorted(classes, one)] for one in (stimulus, probe))
    cells = np.maximum(of_stimulus.T @ ~same @ of_probe, 1)
    between = (of_stimulus.T @ np.where(same, 0, distance) @ of_probe / cells)[
        np.ix_(np.searchsorted(classes, stimulus), np.searchsorted(classes, probe))
    ]
    within = (stimulus[:, None] == probe[None, :]) & ~same
    other = ~within & ~same
    return np.where(
        same, 1.0, np.where(within, 0.7 + 0.3 * nearness(distance, within), -0.4 * nearness(between, other))
    )


def feature_or_pixel_distance(array: xr.DataArray) -> Values:
    """The distance between the base model's features, or else between pixels.

    Raises:
        NotApplicable: There is neither.
    """
    for name in ("distance_feature", "distance_pixel"):
        if name in array.coords:
            return array[name].transpose("stimulus", "probe").values.astype(float)
    raise NotApplicable("an array of images must have the coordinate distance_pixel, got none. Try eif_lab.annotate.")


def nearness(distance: Values, cells: Bool[np.ndarray, "stimulus probe"]) -> Values:
    """1 at the smallest distance of these cells, 0 at their largest; outside of them it has no meaning."""
    known = distance[cells]
    low, span = known.min(initial=np.inf), np.ptp(known) if len(known) else 0.0
    return (low + span - distance) / span if span > 0 else np.ones(distance.shape)
