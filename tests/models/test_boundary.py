"""Where a prompt ends and its target begins: one law for every kind of tokenizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from language import TOKENIZERS, small_phi3
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from eif_lab.data.task import Texts
from eif_lab.models.language.causal_lm import CausalLM
from eif_lab.models.language.encoding import Encoder
from eif_lab.models.language.phi3 import SHIPPED
from eif_lab.readouts.readout import log_prob

SENTENCES = ["A dax is a bird.", "A wug can swim, and birds can fly.", "Is it red? It is not."] * 3

PAIRS = [
    ("A dax is a", " bird"),
    ("A dax is a", " bird."),
    ("A wug can", " swim far"),
    ("Is a dax red? It is", " not"),
    ("Q: Is a dax red?\nA:", " It is."),
    ("Birds\n", "can fly"),
    ("A dax is a  ", "bird"),
    ("A dax, a", " zebrafinch"),
    ("Ein Vogel heißt", " Käuzchen"),
]


def trained(model, trainer, before, decoder=None, **special):
    """A tokenizer of another kind, trained on a few sentences."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = before
    if decoder:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", **special)


def bytes_without_prefix():
    """As GPT-2's and SmolLM2's: a word's space is in its token, and no space is put in front."""
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<pad>", "<s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    return trained(models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel())


def unigram():
    """As T5's and Gemma's: pieces with a mark for the space, chosen by their probability."""
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<pad>", "<s>", "<unk>"], unk_token="<unk>")
    return trained(models.Unigram(), trainer, pre_tokenizers.Metaspace(), decoders.Metaspace(), unk_token="<unk>")


def words():
    """Whole words and marks, with no spaces in them."""
    trainer = trainers.WordLevelTrainer(special_tokens=["<pad>", "<s>", "<unk>"])
    return trained(models.WordLevel(unk_token="<unk>"), trainer, pre_tokenizers.Whitespace(), unk_token="<unk>")


KINDS = {
    **TOKENIZERS,
    "phi3-tiny": lambda: AutoTokenizer.from_pretrained(SHIPPED),
    "bytes_without_prefix": bytes_without_prefix,
    "unigram": unigram,
    "words": words,
}


@pytest.fixture(params=KINDS)
def tokenizer(request):
    return KINDS[request.param]()


def log_probability(model, ids):
    """Of ids as a text, each given those before it; the first is given."""
    with torch.no_grad():
        scores = model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
    return scores.gather(1, torch.tensor(ids[1:])[:, None]).sum().item()


def test_a_readout_is_the_whole_texts_log_probability_less_the_prompts(tokenizer):
    """The prompt is encoded by itself, and its white space at the end goes to the target."""
    model = small_phi3(tokenizer, context=128).double()
    encode = Encoder(tokenizer, 128)
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    prompts, targets = zip(*PAIRS)
    inputs, scored = encode(Texts(prompts, targets, np.arange(len(PAIRS))))
    with torch.no_grad():
        readings = log_prob(CausalLM(model)(inputs), scored).tolist()
    for (prompt, target), reading in zip(PAIRS, readings):
        whole, before = (
            [*bos, *tokenizer.encode(text, add_special_tokens=False)] for text in (prompt + target, prompt.rstrip())
        )
        assert whole[: len(before)] == before
        assert reading == pytest.approx(log_probability(model, whole) - log_probability(model, before), abs=1e-4)


@pytest.mark.parametrize("prompt", ["A dax is a ", "A dax is a", "A dax is", "A"])
def test_the_split_of_a_text_moves_the_boundary_and_no_id(tokenizer, prompt):
    encode, target = Encoder(tokenizer, 64), "A dax is a bird".removeprefix(prompt)
    ids, start = encode.tokens(prompt, target)
    assert ids == encode.tokens("", "A dax is a bird")[0]
    assert ids[:start] == encode.tokens("", prompt.rstrip())[0]


def test_a_space_is_the_targets_whichever_of_the_two_has_it(tokenizer):
    encode = Encoder(tokenizer, 64)
    assert encode.tokens("A dax is a ", "bird") == encode.tokens("A dax is a", " bird")
