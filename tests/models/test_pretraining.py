"""The pre-training recipe: its tokenizer, its corpus, and a shortened run of it."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi3ForCausalLM

from eif_lab.commands.pretrain import main
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.data.worlds.logic import closure
from eif_lab.data.worlds.names import words
from eif_lab.data.worlds.reversal import Reversal
from eif_lab.errors import ConfigError
from eif_lab.models.checkpoints import last_checkpoint
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder
from eif_lab.models.language.phi3 import SHIPPED
from eif_lab.models.tiny.corpus import Corpus, Packed
from eif_lab.models.tiny.documents import document, examination, facts_and_questions
from eif_lab.models.tiny.examination import examine
from eif_lab.models.tiny.induction import start_by_looking_up
from eif_lab.models.tiny.pretraining import Pretraining, pretrain
from eif_lab.models.tiny.tokenizer import make_tokenizer, names_in
from eif_lab.readouts.classes import IGNORED

SMALL = {
    "hidden_size": 64,
    "layers": 2,
    "heads": 4,
    "intermediate_size": 48,
    "compiled": False,
    "batch_size": 2,
    "length": 96,
    "context": 256,
    "examined": 1,
}


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(2048)


def test_an_invented_word_is_one_token_wherever_it_stands_and_so_is_a_word_of_the_domains(tokenizer):
    every = (*words(unseen=True), *words(unseen=False), "is", "not", "comes", ".", "king", "lamp")
    ids = [[tokenizer.encode(text, add_special_tokens=False) for text in (word, f" {word}")] for word in every]
    assert all(first == later and len(first) == 1 for first, later in ids)
    assert len({own[0] for own, _ in ids}) == len(every)


def test_the_tokenizer_gives_every_text_back(tokenizer):
    random = np.random.default_rng(0)
    made = ["".join(piece.text for piece in document(DOMAINS, random)) for _ in range(5)]
    for text in (*made, "a dax can zorp .", "Grüße, 世界!"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_documents_answer_only_what_their_facts_allow():
    random = np.random.default_rng(1)
    for domain in DOMAINS:
        for share in (0.0, 1.0):
            facts, asked = facts_and_questions(domain, random, share)
            known = closure(facts, domain.rules)
            for fact in asked:
                assert fact in known or (domain.closed and fact.negated and fact.denied() not in known)
            assert set(asked) & set(facts)


def test_documents_use_no_word_that_a_dataset_uses():
    random = np.random.default_rng(2)
    spoken = {word for _ in range(200) for p in document(DOMAINS, random) for word in p.text.split()}
    assert not spoken & set(words(unseen=True))
    assert spoken & set(words(unseen=False))


def test_what_is_learnt_of_a_batch_are_the_answers_and_the_rows_are_whole_documents(tokenizer):
    corpus = Corpus(tokenizer, Pretraining(steps=10, **SMALL))
    inputs, targets = corpus[9]
    assert inputs.shape == targets.shape == (2, 96)
    learnt = targets != IGNORED
    assert torch.equal(targets[:, :-1][learnt[:, :-1]], inputs[:, 1:][learnt[:, :-1]])
    assert not (targets == tokenizer.pad_token_id).any()
    for row, answers in zip(inputs, targets):
        begun, ended = (int((row == token).sum()) for token in (tokenizer.bos_token_id, tokenizer.eos_token_id))
        last = int((answers == tokenizer.eos_token_id).sum())
        assert row[0] == tokenizer.bos_token_id and begun == last and begun - ended in (0, 1)
    assert all(torch.equal(one, other) for one, other in zip(corpus[9], corpus[9]))
    assert not torch.equal(corpus[8][0], inputs)


def test_questions_of_an_examination_are_answered_by_their_context():
    random = np.random.default_rng(3)
    for domain in DOMAINS:
        for kind, prompt, answer, candidates in examination(domain, random):
            assert candidates[0] == answer and len(set(candidates)) == len(candidates) >= 2
            sentence = prompt.split(" . ")[-1] + answer
            assert (f"{sentence} ." in prompt) == (kind == "stated")


class Oracle(torch.nn.Module):
    """Certain of the targets of some rows, and indifferent to all others."""

    def __init__(self, known, size):
        super().__init__()
        self.known, self.size, self.anchor = known, size, torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs):
        logits = torch.zeros(*inputs.shape, self.size)
        for row, ids in enumerate(inputs.tolist()):
            for place, token in self.known.get(tuple(ids), ()):
                logits[row, place, token] = 9.0
        return logits


@pytest.mark.parametrize("answered", ["stated", "follows"])
def test_an_examination_counts_what_is_answered(tokenizer, answered):
    encode = Encoder(tokenizer, 512)
    random = np.random.default_rng([0, DOMAINS.index(Reversal)])
    known = {}
    for kind, prompt, answer, candidates in [one for _ in range(4) for one in examination(Reversal, random)]:
        ids, start = encode.tokens(prompt, answer if kind == answered else candidates[1])
        known[tuple(ids[:-1])] = [(place - 1, ids[place]) for place in range(start, len(ids))]
    lengths = {len(ids) for ids in known}
    assert len(lengths) == 1  # so that no row is padded
    mark = examine(Oracle(known, len(tokenizer)), encode, Reversal, worlds=4, seed=0)
    assert (mark.stated, mark.follows) == ((1.0, 0.0) if answered == "stated" else (0.0, 1.0))
    assert mark.chance == pytest.approx(1 / 5)  # four names, and one of which nothing is said


def test_a_shortened_run_repeats_itself_bit_by_bit_and_learns(tmp_path):
    hashes, losses = [], []
    for run, (seed, steps) in enumerate([(0, 30), (0, 30), (1, 2)]):
        torch.manual_seed(run)
        state = torch.random.get_rng_state()
        options = Pretraining(steps=steps, seed=seed, learning_rate=5e-3, **SMALL)
        report = pretrain(options, tmp_path / str(run), "cpu")
        assert torch.equal(torch.random.get_rng_state(), state)
        hashes.append((tmp_path / str(run) / "model.safetensors").read_bytes())
        losses.append(report["pretraining_loss"])
    assert hashes[0] == hashes[1] != hashes[2]
    assert losses[0] < losses[2] - 0.5
    loaded = CausalLM(AutoModelForCausalLM.from_pretrained(tmp_path / "0"))
    inputs, targets = Corpus(AutoTokenizer.from_pretrained(tmp_path / "0"), options)[0]
    assert torch.isfinite(token_loss(loaded(inputs), targets))
    record = json.loads((tmp_path / "0" / "report.json").read_text())
    assert set(record["marks"]) == {domain().name for domain in DOMAINS}
    card = (tmp_path / "0" / "README.md").read_text()
    assert "not Microsoft's Phi-3" in card.replace("\n", " ") and f"{record['parameters']:,} parameters" in card


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    options = Pretraining(steps=8, checkpoint_every=3, **SMALL)
    whole = pretrain(options, tmp_path / "whole", "cpu")
    read = Corpus.__getitem__

    def broken(corpus, number):
        if corpus.first + number == 5:
            raise RuntimeError("interrupted")
        return read(corpus, number)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="interrupted"):
        patched.setattr(Corpus, "__getitem__", broken)
        pretrain(options, tmp_path / "resumed", "cpu")
    assert last_checkpoint(tmp_path / "resumed")["global_step"] == 3
    resumed = pretrain(options, tmp_path / "resumed", "cpu")
    one, other = (tmp_path / name / "model.safetensors" for name in ("whole", "resumed"))
    assert one.read_bytes() == other.read_bytes() and whole["marks"] == resumed["marks"]


def untrained(tokenizer, **options):
    torch.manual_seed(3)
    model = Phi3ForCausalLM(Pretraining(**options).architecture(tokenizer))
    start_by_looking_up(model, names_in(tokenizer))
    return model.eval()


def with_heads(model, first, last):
    """Of all layers that look up, only these heads of the first one answer."""
    size = model.config.hidden_size // model.config.num_attention_heads
    with torch.no_grad():
        for number, layer in enumerate(model.model.layers[1:]):
            answers = layer.self_attn.o_proj.weight
            answers[:, : first * size if number == 0 else None] = 0
            answers[:, last * size :] = 0
    return CausalLM(model)


def test_an_untrained_model_finds_stated_facts_about_words_that_are_never_shown(tokenizer):
    model = with_heads(untrained(tokenizer), 0, 2)
    marks = [examine(model, Encoder(tokenizer, 2048), domain, worlds=2, seed=0) for domain in DOMAINS]
    # by chance it would be a third of them at the most
    assert np.mean([mark.stated for mark in marks]) > 0.5


def test_an_untrained_model_goes_back_from_a_realm_to_its_king(tokenizer):
    model = with_heads(untrained(tokenizer), 2, 4)
    mark = examine(model, Encoder(tokenizer, 2048), Reversal, worlds=8, seed=0)
    assert mark.chance == 0.2 and mark.follows > 0.5


def test_documents_of_a_row_are_read_apart(tokenizer):
    corpus, model = Corpus(tokenizer, Pretraining(steps=10, **SMALL)), untrained(tokenizer, **SMALL)
    rows = [row[None] for batch in range(5) for row in corpus[batch][0]]
    inputs = next(row for row in rows if (row == tokenizer.bos_token_id).sum() > 1)
    packed = Packed(model, tokenizer.bos_token_id)
    begins = (inputs[0] == tokenizer.bos_token_id).nonzero().flatten().tolist()
    together = packed(inputs)[0]
    for begin, end in zip(begins, [*begins[1:], inputs.shape[1]]):
        alone = model(input_ids=inputs[:1, begin:end]).logits[0]
        assert torch.allclose(together[begin:end], alone, atol=1e-4)


def test_training_leaves_the_codes_of_invented_words_as_they_were_drawn(tokenizer, tmp_path):
    options = Pretraining(steps=3, **SMALL)
    pretrain(options, tmp_path, "cpu")
    torch.manual_seed(options.seed)
    begun = Phi3ForCausalLM(options.architecture(tokenizer))
    names = names_in(tokenizer)
    start_by_looking_up(begun, names)
    ended = AutoModelForCausalLM.from_pretrained(tmp_path)
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        before, after = (getattr(model, layer)().weight for model in (begun, ended))
        same = (before == after).all(1)
        assert same[names].all() and not same.all()


def test_mistakes_are_told_in_one_line(capsys, tmp_path):
    assert main(["--output", str(tmp_path / "out"), "--steps", "0"]) == 2
    assert capsys.readouterr().err.strip() == "pretraining.steps must be at least 1, got 0."
    with pytest.raises(
        ConfigError, match=r"pretraining.hidden_size must be a multiple of 24, .* with 6 heads, got 100"
    ):
        Pretraining(hidden_size=100, heads=6)
    assert main(["--output", str(tmp_path / "out"), "--vocabulary-size", "400"]) == 2
    assert capsys.readouterr().err.strip().startswith("pretraining.vocabulary_size must be large enough for 1200 ")
    assert not list(tmp_path.iterdir())


def test_the_card_of_phi3_tiny_says_what_its_report_measured():
    report = json.loads((SHIPPED / "report.json").read_text())
    card = (SHIPPED / "README.md").read_text()
    for name, mark in report["marks"].items():
        assert f"| {name} | {mark['stated']:.3f} | {mark['follows']:.3f} |" in card
