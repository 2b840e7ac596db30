"""The pre-training of phi3-tiny: a byte-level tokenizer, an endless corpus of invented worlds, and the training on it.

The corpus states facts in the very wording of the text domains and then what follows from them, each document about a
world with its own words, so that a model can only do well by reading the document (`eif_lab.models.tiny.documents`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.files.build_once import REPORT, set_usual_permissions
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder
from eif_lab.models.language.phi3 import TINY
from eif_lab.models.tiny.card import model_card
from eif_lab.models.tiny.corpus import Corpus, Packed
from eif_lab.models.tiny.examination import examine
from eif_lab.models.tiny.induction import keep_codes, start_by_looking_up
from eif_lab.models.tiny.recipe import Pretraining
from eif_lab.models.tiny.tokenizer import make_tokenizer, names_in

if TYPE_CHECKING:
    from transformers import Phi3ForCausalLM, PreTrainedTokenizerFast

BETAS = 0.9, 0.98
"""Of AdamW: the second moment of a model that changes fast."""


def pretrain(options: Pretraining, directory: Path, device: str) -> dict[str, Any]:
    """Train phi3-tiny and its tokenizer, and save both in the hub's format, with a model card and `report.json`.

    The same options give the same weights, bit for bit, on the same machine. An interrupted training goes on from its
    last checkpoint.

    Args:
        options: What to make.
        directory: Where the result goes.
        device: As torch names it.

    Returns:
        The report: parameters, loss at the end in nats per learnt token, and per domain the `Mark`.
    """
    from transformers import Phi3ForCausalLM

    from eif_lab.models.training import train  # brings Lightning, which a made model does without

    tokenizer = make_tokenizer(options.vocabulary_size)
    names = names_in(tokenizer)
    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = Phi3ForCausalLM(options.architecture(tokenizer))
        start_by_looking_up(model, names)
        keep_codes(model, names)
        reader = Packed(model, tokenizer.bos_token_id)
        if options.compiled:
            reader.compile()
        final = train(
            reader,
            token_loss,
            lambda seen: DataLoader(Corpus(tokenizer, options, seen), batch_size=None, num_workers=1),
            options,
            directory=directory,
            title=f"pre-training {TINY}",
            device=device,
            betas=BETAS,
        )
    module = CausalLM(model)
    encode = Encoder(tokenizer, options.context)
    marks = {
        domain().name: examine(module.to(device), encode, domain, worlds=options.examined, seed=options.seed)
        for domain in DOMAINS
    }
    report = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "pretraining_loss": final,
        "pretraining": asdict(options),
        "marks": {name: asdict(mark) for name, mark in marks.items()},
    }
    publish(directory, model, tokenizer, report, model_card(options, report))
    return report


def publish(
    directory: Path, model: Phi3ForCausalLM, tokenizer: PreTrainedTokenizerFast, report: Mapping[str, Any], card: str
) -> None:
    """Save a model that was made, in the hub's format, with its card and ``report.json``."""
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (directory / "README.md").write_text(card, encoding="utf-8")
    set_usual_permissions(directory, (directory / REPORT).stat().st_mode)
