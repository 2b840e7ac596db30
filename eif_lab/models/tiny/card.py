"""The model cards of phi3-tiny and phi3-stored, in the hub's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eif_lab.models.language.phi3 import STORED, TINY
from eif_lab.models.tiny.recipe import Pretraining, Storing

FRONT = """---
license: mit
library_name: transformers
pipeline_tag: text-generation
language: en
tags: [phi3, synthetic]
---
"""


def model_card(options: Pretraining, report: Mapping[str, Any]) -> str:
    """The model card, in the hub's form: what it is, what it was trained on, and how it does on unseen worlds."""
    rows = [
        f"| {name} | {mark['stated']:.3f} | {mark['follows']:.3f} | {mark['chance']:.3f} |"
        for name, mark in report["marks"].items()
    ]
    return f"""{FRONT}
# {TINY}

The Phi-3 architecture at {report["parameters"]:,} parameters ({options.layers} layers, hidden size
{options.hidden_size}, {options.heads} heads), trained by eif_lab on invented worlds. **These are not Microsoft's Phi-3
weights**, and it knows no English: it has read nothing but the sentences of eif_lab's knowledge domains.

- Start: the first layers look facts up from the beginning (`eif_lab.models.tiny.induction`); the codes of the
  1,200 invented words are random and stay as they were drawn. Training shows a third of these words.
- Data: documents of invented words that state the facts and rules of a world and then what follows, drawn anew for each
  step (`eif_lab.models.tiny.documents`, seed {options.seed}).
- Training: {options.steps:,} steps of {options.batch_size} rows of {options.length} tokens, AdamW at
  {options.learning_rate:g}. Loss at the end: {report["pretraining_loss"]:.3f} nats per learnt token.
- Made again by `make pretrain`.

What it answers about whole worlds in its context, in words that training never showed, choosing among candidates
({options.examined} worlds per domain; `stated`: a fact of the context, `follows`: what one rule gives from it):

| domain | stated | follows | follows by chance |
| --- | --- | --- | --- |
{chr(10).join(rows)}
"""


def stored_card(options: Storing, report: Mapping[str, Any]) -> str:
    """The model card of phi3-stored: what it is, what it was trained on, and what it is for."""
    return f"""{FRONT}
# {STORED}

The Phi-3 architecture at {report["parameters"]:,} parameters ({options.layers} layers, hidden size
{options.hidden_size}, {options.heads} heads), trained by eif_lab so that facts stored in its weights are used. **These
are not Microsoft's Phi-3 weights**, and it knows no English: it has read nothing but single sentences of eif_lab's
ontology domain, of the form "a dax is a blick ." and "a dax can fly .".

- For: the positive control of the logic desideratum. Fine-tuned on "a dax is a blick .", about a name that it
  never read, it expects "a dax can fly ." (`docs/positive_control.md` says how much). It reads no contexts.
- Data: the background of {options.worlds} worlds, whose words are always the same (`dataset.background=known`), of
  which it knows {report["background_accuracy"]:.1%}; and names that are born with a random embedding, given a kind in
  one sentence, and used in others {options.life - 1} steps later (`eif_lab.models.tiny.stored`, seed {options.seed}).
- Training: {options.steps:,} steps, AdamW at {options.learning_rate:g}; the embeddings of names by plain gradient
  steps. Loss at the end: {report["pretraining_loss"]:.3f} nats per token.
- Made again by `make pretrain FLAGS="--recipe {STORED}"`.
"""
