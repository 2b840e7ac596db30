"""Perturbations: what they do to stimuli, what they add to the probes, and how they relabel relations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eif_lab.data.images.digits import Digits
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.errors import ConfigError, NotApplicable
from eif_lab.perturbations.exclude import Exclude
from eif_lab.perturbations.include import Include
from eif_lab.perturbations.noise import IMAGE_NOISE, TEXT_NOISE, Noise
from eif_lab.perturbations.relabel import Relabel


@pytest.fixture(scope="module")
def digits():
    return Digits(stimuli=12, probes=20).load(0)


@pytest.fixture(scope="module")
def ontology():
    return Ontology(worlds=2, stimuli_per_world=2).load(0)


def test_include_and_exclude_leave_the_task_alone(digits):
    assert Include().apply(digits, 0) is digits and Exclude().apply(digits, 0) is digits
    assert (Include().membership, Exclude().membership) == ("include", "exclude")


def test_noisy_task_holds_clean_samples_first_and_every_level_after(digits):
    noisy = Noise(levels=[0.25, 0.5]).apply(digits, 0)
    assert len(noisy.stimuli) == 36 and len(noisy.probes) == 60
    np.testing.assert_array_equal(noisy.stimuli.pixels[:12], digits.stimuli.pixels)
    assert noisy.stimuli.coords["sigma"].tolist() == [0.0] * 12 + [0.25] * 12 + [0.5] * 12
    assert noisy.stimuli.coords["source"].tolist() == digits.stimuli.ids.tolist() * 3
    np.testing.assert_array_equal(noisy.relation[:12, :20], digits.relation)
    assert len(set(noisy.probes.ids)) == 60


def test_same_sample_at_another_strength_is_entailed_and_at_its_own_direct(digits):
    noisy = Noise(levels=[0.5]).apply(digits, 0)
    assert noisy.relation[3, 3] == "direct" and noisy.relation[15, 23] == "direct"
    assert noisy.relation[3, 23] == "entailed" and noisy.relation[15, 3] == "entailed"


def test_a_stimulus_and_the_probe_of_the_same_sample_share_their_noise_whatever_the_order(digits):
    noisy = Noise(levels=[0.5]).apply(digits, 0)
    np.testing.assert_array_equal(noisy.stimuli.pixels[12:], noisy.probes.pixels[20:32])
    order = np.arange(12)[::-1]
    reversed_task = Noise(levels=[0.5]).apply(digits.take(order, np.arange(20)), 0)
    np.testing.assert_array_equal(reversed_task.stimuli.pixels[12:], noisy.stimuli.pixels[12:][order.copy()])
    other_seed = Noise(levels=[0.5]).apply(digits, 1)
    assert not torch.equal(other_seed.stimuli.pixels[12:], noisy.stimuli.pixels[12:])


def test_gaussian_noise_has_the_strength_it_says():
    flat = torch.full((1, 200, 200), 0.5)
    noisy = IMAGE_NOISE["gaussian"](flat, 0.1, np.random.default_rng(0))
    assert abs((noisy - flat).std().item() - 0.1) < 0.002
    assert noisy.min() >= 0 and noisy.max() <= 1


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_salt_and_pepper_and_occlusion_hit_the_share_of_pixels_they_say(share):
    image = torch.full((2, 100, 100), 0.3)
    for name in ("salt_and_pepper", "occlusion"):
        noisy = IMAGE_NOISE[name](image, share, np.random.default_rng(0))
        hit = noisy != image
        assert torch.equal(hit[0], hit[1])
        assert abs(hit.float().mean().item() - share) < 0.02
        assert set(noisy[hit].tolist()) <= ({0.0, 1.0} if name == "salt_and_pepper" else {0.5})
        assert torch.equal(image, torch.full((2, 100, 100), 0.3))


def test_character_noise_changes_letters_only_and_as_many_as_it_says():
    text = "abc def, " * 500
    noisy = TEXT_NOISE["character"](text, 0.3, np.random.default_rng(0))
    changed = [a != b for a, b in zip(text, noisy) if a.isalpha()]
    assert len(noisy) == len(text) and abs(np.mean(changed) - 0.3 * 25 / 26) < 0.03
    assert all(a == b for a, b in zip(text, noisy) if not a.isalpha())


def test_word_shuffle_keeps_the_words_and_moves_the_share_it_says():
    words = [f"w{i}" for i in range(40)]
    shuffled = TEXT_NOISE["word_shuffle"](" " + " ".join(words), 0.5, np.random.default_rng(0))
    moved = shuffled.split()
    assert shuffled.startswith(" ") and sorted(moved) == sorted(words)
    assert sum(a != b for a, b in zip(words, moved)) == 20


def test_noisy_texts_keep_the_answers_of_cloze_probes_and_their_foils(ontology):
    noisy = Noise(levels=[0.5]).apply(ontology, 0)
    n, m = len(ontology.stimuli), len(ontology.probes)
    cloze = [i for i, prompt in enumerate(ontology.probes.prompts) if prompt]
    assert all(noisy.probes.targets[m + i] == ontology.probes.targets[i] for i in cloze)
    assert any(noisy.probes.prompts[m + i] != ontology.probes.prompts[i] for i in cloze)
    assert all(noisy.stimuli.targets[n + i] != ontology.stimuli.targets[i] for i in range(n))
    for block in (slice(0, m), slice(m, 2 * m)):
        shift = block.start
        for name, places in ontology.foils.items():
            expected = np.where(places < 0, -1, places + shift)
            np.testing.assert_array_equal(noisy.foils[name][n:, block], expected)


def test_noise_of_the_other_kind_of_data_does_not_apply(digits, ontology):
    with pytest.raises(NotApplicable, match=r"perturbation.noise must be one of gaussian"):
        Noise(noise="character").apply(digits, 0)
    with pytest.raises(NotApplicable, match=r"perturbation.noise must be one of character"):
        Noise(noise="occlusion").apply(ontology, 0)


def test_shares_above_one_are_refused(ontology):
    with pytest.raises(ConfigError, match=r"perturbation.levels must be shares of at most 1 with noise=character"):
        Noise(levels=[2.0]).apply(ontology, 0)
    with pytest.raises(
        ConfigError, match=r"perturbation.levels must be shares of at most 1 with noise=occlusion, got 2"
    ):
        Noise(noise="occlusion", levels=[0.5, 2.0])
    with pytest.raises(ConfigError, match=r"perturbation.levels must differ from each other"):
        Noise(levels=[0.5, 0.5])
    with pytest.raises(ConfigError, match=r"perturbation.levels must hold at least one strength"):
        Noise(levels=[])


def test_relabelled_images_claim_another_class_and_are_probes_of_their_own(digits):
    wrong = Relabel().apply(digits, 0)
    assert (wrong.stimuli.labels != digits.stimuli.labels).all()
    assert torch.equal(wrong.stimuli.pixels, digits.stimuli.pixels)
    assert len(wrong.probes) == 32 and torch.equal(wrong.probes.labels[20:], wrong.stimuli.labels)
    for i in range(12):
        claimed, true = wrong.stimuli.labels[i], digits.stimuli.labels[i]
        for j in range(32):
            label = wrong.probes.labels[j]
            expected = (
                "direct"
                if j == 20 + i
                else "entailed"
                if label == claimed
                else "contradicted"
                if label == true
                else "unrelated"
            )
            assert wrong.relation[i, j] == expected
    assert Relabel().apply(digits, 1).stimuli.labels.tolist() != wrong.stimuli.labels.tolist()


def test_relabelled_texts_are_negated_and_contradict_the_fact(ontology):
    wrong = Relabel().apply(ontology, 0)
    n, m = len(ontology.stimuli), len(ontology.probes)
    assert all("not" in target.split() for target in wrong.stimuli.targets)
    assert wrong.probes.targets[m:] == wrong.stimuli.targets
    was_direct = ontology.relation == "direct"
    assert (wrong.relation[:, :m][was_direct] == "contradicted").all()
    assert np.isin(wrong.relation[:, :m][~was_direct], ["unrelated", "foil"]).all()
    assert (wrong.relation[:, m:] == np.where(np.eye(n, dtype=bool), "direct", "unrelated")).all()


def test_what_a_negated_fact_contradicts_keeps_its_foils(ontology):
    relabelled, m = Relabel().apply(ontology, 0), len(ontology.probes)
    for name, places in relabelled.foils.items():
        clozes = (ontology.relation == "direct") & (ontology.foils[name] >= 0)
        assert clozes.any()
        np.testing.assert_array_equal(places[:, :m], np.where(clozes, ontology.foils[name], -1))
        assert (places[:, m:] == -1).all()
        for i, j in np.argwhere(places >= 0):
            assert (relabelled.relation[i, j], relabelled.relation[i, places[i, j]]) == ("contradicted", "foil")
