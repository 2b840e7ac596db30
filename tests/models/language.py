"""Small language models and tokenizers in the hub's format, for the tests."""

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.models.tiny.documents import document
from eif_lab.models.tiny.tokenizer import CHAT_TEMPLATE, make_tokenizer


def byte_level_tokenizer():
    return make_tokenizer(330)


def sentencepiece_like_tokenizer():
    """As Phi-3's own: spaces become a mark, one is put in front, words are not split beforehand; pad is eos."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    specials = ["<unk>", "<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
    random = np.random.default_rng(0)
    sentences = ["".join(piece.text for piece in document(DOMAINS, random)) for _ in range(40)]
    tokenizer.train_from_iterator(
        sentences, trainers.BpeTrainer(vocab_size=400, special_tokens=specials, show_progress=False)
    )
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )


def tokenizer_without_bos():
    tokenizer = byte_level_tokenizer()
    tokenizer.bos_token = None
    tokenizer.chat_template = None
    return tokenizer


TOKENIZERS = {
    "byte_level": byte_level_tokenizer,
    "sentencepiece_like": sentencepiece_like_tokenizer,
    "without_bos": tokenizer_without_bos,
}


def small_phi3(tokenizer, *, tied=False, context=64):
    config = Phi3Config(
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=tokenizer.pad_token_id,
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=context,
        original_max_position_embeddings=context,
        tie_word_embeddings=tied,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Phi3ForCausalLM(config).eval()


def save_checkpoint(directory, tokenizer, **options):
    small_phi3(tokenizer, **options).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)
