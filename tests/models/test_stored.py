"""The recipe of phi3-stored: what it reads and when, how its names learn, and that its facts are used."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi3ForCausalLM

from eif_lab.commands.pretrain import main
from eif_lab.data.worlds.logic import closure
from eif_lab.data.worlds.names import words
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.models.checkpoints import last_checkpoint
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.phi3 import OURS, STORED
from eif_lab.models.tiny.recipe import Storing
from eif_lab.models.tiny.stored import Birth, Lives, Namer, Reading, Sentences
from eif_lab.models.tiny.stored_training import pretrain_stored
from eif_lab.models.tiny.tokenizer import make_tokenizer
from eif_lab.readouts.classes import IGNORED

SMALL = {
    "hidden_size": 64,
    "layers": 2,
    "intermediate_size": 48,
    "context": 64,
    "worlds": 2,
    "batch_size": 4,
    "life": 12,
}


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(2048)


@pytest.fixture(scope="module")
def lives():
    return Lives(Storing(**SMALL))


def test_what_is_said_at_the_end_of_a_life_follows_from_what_was_said_at_its_beginning(lives):
    for step in (0, 5):
        known = closure([*lives.background, *lives.stated(step)], Ontology.rules)
        assert lives.used(step + 11) and set(lives.used(step + 11)) <= known
        assert set(lives.born(step)) == {fact.subject for fact in lives.stated(step)}


def test_no_step_says_of_a_name_both_its_kind_and_what_follows(lives):
    for step in (0, 5):
        assert not {fact.subject for fact in lives.stated(step)} & {fact.subject for fact in lives.used(step)}


def test_a_name_has_another_kind_in_another_life(lives):
    name = lives.born(0)[0]
    kinds = {fact.object for life in range(20) for fact in lives.stated(12 * life) if fact.subject == name}
    assert len(kinds) > 4


def test_names_are_neither_words_of_the_background_nor_words_that_a_dataset_uses(lives):
    settled = {word for fact in lives.background for word in (fact.subject, fact.object)}
    assert not set(lives.names) & (settled | set(words(unseen=True)))


def test_each_sentence_stands_alone_and_every_word_of_it_is_learnt(tokenizer):
    (sentences, births), targets = Sentences(tokenizer, Storing(steps=9, **SMALL))[7]
    assert (sentences[:, 0] == tokenizer.bos_token_id).all()
    assert ((sentences == tokenizer.bos_token_id).sum(1) == 1).all()
    learnt, words = targets != IGNORED, sentences[:, 1:] != tokenizer.pad_token_id
    assert torch.equal(targets[:, :-1][words], sentences[:, 1:][words])  # each word from those before it
    assert torch.equal(learnt[:, :-1], words) and (learnt.sum(1) >= 5).all()  # "a dax can fly ."
    assert len(births.ids) == len(births.embeddings) == len(set(births.ids.tolist()))


def namer(tokenizer, step_length=0.5):
    torch.manual_seed(0)
    options = Storing(**SMALL)
    names = torch.tensor(tokenizer(Lives(options).names, add_special_tokens=False)["input_ids"]).flatten()
    return Namer(Phi3ForCausalLM(options.architecture(tokenizer)), names, step_length)


def test_a_name_learns_by_a_step_against_its_gradient_and_the_optimizer_leaves_it_alone(tokenizer):
    reader = namer(tokenizer)
    reading, targets = Sentences(tokenizer, Storing(**SMALL))[0]
    twin = Phi3ForCausalLM(reader.model.config)
    twin.load_state_dict(reader.model.state_dict())
    with torch.no_grad():
        twin.get_input_embeddings().weight[reading.births.ids] = 0.02 * reading.births.embeddings
    token_loss(twin(input_ids=reading.sentences).logits, targets).backward()
    token_loss(reader(reading), targets).backward()
    weight, before = (model.get_input_embeddings().weight.data for model in (reader.model, twin))
    slopes, downhills = (model.get_input_embeddings().weight.grad for model in (reader.model, twin))
    for name in reading.births.ids:
        moved, downhill = weight[name] - before[name], -downhills[name]
        assert torch.cosine_similarity(moved, downhill, dim=0) == pytest.approx(1.0, abs=1e-4)
        assert moved.norm() == pytest.approx(0.5 * 0.02 * 64**0.5, rel=1e-3)
    assert not slopes[reader.names].any()
    others = torch.ones(len(weight), dtype=torch.bool)
    others[reader.names] = False
    assert torch.allclose(slopes[others], downhills[others], atol=1e-6) and torch.equal(weight[others], before[others])


def test_a_name_that_is_not_read_keeps_its_embedding_and_one_that_is_born_gets_another(tokenizer):
    reader = namer(tokenizer)
    weight = reader.model.get_input_embeddings().weight.data
    before = weight.clone()
    born, other = reader.names[:2]
    sentences = torch.tensor([tokenizer.encode("a", add_special_tokens=False) * 2])
    targets = sentences.clone()
    token_loss(reader(Reading(sentences, Birth(born[None], torch.ones(1, 64)))), targets).backward()
    assert torch.allclose(weight[born], torch.full((64,), 0.02)) and torch.equal(weight[other], before[other])


def test_a_shortened_run_repeats_itself_bit_by_bit_and_learns_what_is_known(tmp_path):
    made, reports = [], []
    for run, steps in enumerate([60, 60, 2]):
        torch.manual_seed(run)
        options = Storing(steps=steps, learning_rate=1e-2, **SMALL)
        reports.append(pretrain_stored(options, tmp_path / str(run), "cpu"))
        made.append((tmp_path / str(run) / "model.safetensors").read_bytes())
    assert made[0] == made[1] != made[2]
    assert reports[0]["pretraining_loss"] < reports[2]["pretraining_loss"] - 0.5
    loaded = CausalLM(AutoModelForCausalLM.from_pretrained(tmp_path / "0"))
    reading, targets = Sentences(AutoTokenizer.from_pretrained(tmp_path / "0"), options)[0]
    assert torch.isfinite(token_loss(loaded(reading.sentences), targets))
    card = (tmp_path / "0" / "README.md").read_text()
    assert "not Microsoft's Phi-3" in card.replace("\n", " ") and f"{reports[0]['parameters']:,} parameters" in card


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    options = Storing(steps=8, checkpoint_every=3, **SMALL)
    pretrain_stored(options, tmp_path / "whole", "cpu")
    read = Sentences.__getitem__

    def broken(sentences, number):
        if sentences.first + number == 5:
            raise RuntimeError("interrupted")
        return read(sentences, number)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="interrupted"):
        patched.setattr(Sentences, "__getitem__", broken)
        pretrain_stored(options, tmp_path / "resumed", "cpu")
    assert last_checkpoint(tmp_path / "resumed")["global_step"] == 3
    pretrain_stored(options, tmp_path / "resumed", "cpu")
    one, other = (tmp_path / name / "model.safetensors" for name in ("whole", "resumed"))
    assert one.read_bytes() == other.read_bytes()


def test_a_recipe_has_flags_of_its_own(capsys, tmp_path):
    asked = ["--output", str(tmp_path / "out"), "--recipe"]
    assert main([*asked, "phi3-stored", "--life", "1"]) == 2
    assert capsys.readouterr().err.strip() == "pretraining.life must be at least 2, got 1."
    for wrong in (["phi3-tiny", "--life", "4"], ["phi3-huge"], []):
        with pytest.raises(SystemExit):
            main([*asked, *wrong])
    assert not list(tmp_path.iterdir())


def test_the_card_of_phi3_stored_says_what_its_report_measured():
    report = json.loads((OURS[STORED] / "report.json").read_text())
    card = (OURS[STORED] / "README.md").read_text()
    assert f"{report['parameters']:,} parameters" in card and f"{report['pretraining_loss']:.3f} nats" in card
    assert f"knows {report['background_accuracy']:.1%}" in " ".join(card.split())
    assert Storing(**report["pretraining"]) == Storing()  # so that `make pretrain` makes it again
