"""The pre-training of phi3-stored, a model that uses what a single sentence has stored in its weights.

Its corpus, and why it works, are in `eif_lab.models.tiny.stored`; the training is that of phi3-tiny.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from eif_lab.data.worlds.ontology import Ontology
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder
from eif_lab.models.language.phi3 import STORED
from eif_lab.models.language.teaching import background_accuracy
from eif_lab.models.tiny.card import stored_card
from eif_lab.models.tiny.pretraining import BETAS, publish
from eif_lab.models.tiny.recipe import Storing
from eif_lab.models.tiny.stored import Lives, Namer, Sentences
from eif_lab.models.tiny.tokenizer import make_tokenizer


def pretrain_stored(options: Storing, directory: Path, device: str) -> dict[str, Any]:
    """Train phi3-stored and its tokenizer, and save both in the hub's format, with a model card and `report.json`.

    The same options give the same weights, bit for bit, on the same machine. An interrupted training goes on from its
    last checkpoint.

    Args:
        options: What to make.
        directory: Where the result goes.
        device: As torch names it.

    Returns:
        The report: parameters, loss at the end in nats per token, and the share of the background that it knows.
    """
    from transformers import Phi3ForCausalLM

    from eif_lab.models.training import train  # brings Lightning, which a made model does without

    tokenizer = make_tokenizer(options.vocabulary_size)
    names = torch.tensor(tokenizer(Lives(options).names, add_special_tokens=False)["input_ids"]).flatten()
    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = Phi3ForCausalLM(options.architecture(tokenizer))
        final = train(
            Namer(model, names.to(device), options.step_length),
            token_loss,
            lambda seen: DataLoader(Sentences(tokenizer, options, seen), batch_size=None),
            options,
            directory=directory,
            title=f"pre-training {STORED}",
            device=device,
            betas=BETAS,
        )
    module = CausalLM(model)
    report = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "pretraining_loss": final,
        "pretraining": asdict(options),
        "background_accuracy": known_share(module.to(device), Encoder(tokenizer, options.context), options),
    }
    publish(directory, model, tokenizer, report, stored_card(options, report))
    return report


def known_share(module: CausalLM, encode: Encoder, options: Storing) -> float:
    """The share of the questions for the background of its worlds that a model answers rightly."""
    background = Ontology(worlds=options.worlds, background="known").load(options.seed).background
    assert background is not None
    return float(np.mean(list(background_accuracy(module, encode, background).values())))
