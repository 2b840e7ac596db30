"""Checkpoints of Llama's form, in the hub's format or as GGUF, made into checkpoints of Phi-3's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eif_lab.errors import rule_error
from eif_lab.files.build_once import build_once
from eif_lab.files.fingerprint import fingerprint
from eif_lab.files.hub import commit_at_hand
from eif_lab.models.hub import check_directory, files_read, quiet_transformers, read_made_report
from eif_lab.models.language.gguf import SUFFIX, describe_gguf, load_gguf
from eif_lab.models.language.hub import load_checkpoint
from eif_lab.models.language.joining import join

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TRIED = 64
"""Tokens of the text that a joined model is held to its source with."""


@dataclass(frozen=True)
class Conversion:
    """What is made of which checkpoint.

    Attributes:
        source: A file in the format GGUF, a directory in the hub's format, or a name on the hub.
        name: What plots and runs call the model, before "(Phi-3 architecture)"; None for the source's own name.
        origin: Where the source is from, in words for the card.
        bos: The token that stands in front of every text; None for that of the source's tokenizer.
    """

    source: str
    name: str | None = None
    origin: str = ""
    bos: str | None = None

    @property
    def is_gguf(self) -> bool:
        """Whether the source is a file in the format GGUF."""
        return self.source.endswith(SUFFIX)

    def facts(self) -> dict[str, Any]:
        """All that is known of it before it is made, as its report and its card say it."""
        path = Path(self.source).expanduser()
        facts: dict[str, Any] = {
            "name": f"{self.name or path.name.removesuffix(SUFFIX)} (Phi-3 architecture)",
            "origin": self.origin,
            "bos": self.bos,
        }
        if self.is_gguf:
            return facts | describe_gguf(path)
        if check_directory(self.source):
            return facts | {"folder": path.name, "sha256": dict(fingerprint(files_read(self.source)))}
        return facts | {"hub": self.source}

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The source's model and tokenizer, with the BOS that was asked for."""
        model, tokenizer = load_gguf(Path(self.source).expanduser()) if self.is_gguf else load_checkpoint(self.source)
        if self.bos is not None:
            if self.bos not in tokenizer.get_vocab():
                raise rule_error("--bos", "be a token of the tokenizer", self.bos)
            tokenizer.bos_token = self.bos
            model.config.bos_token_id = tokenizer.bos_token_id
        return model, tokenizer


def convert(asked: Conversion, directory: Path) -> dict[str, Any]:
    """Make a checkpoint of Phi-3's form in the hub's format, with a card and ``report.json``, unless it is there.

    The folder appears whole or not at all.

    Args:
        asked: What is made of which checkpoint.
        directory: Where the result goes: a new folder, or one that holds this very model.

    Returns:
        The report: all that is known of the source, the number of parameters, and the largest difference between the
        logits of the source and of the result.

    Raises:
        ConfigError: The checkpoint cannot be had, is not of Llama's form, or has what Phi-3's form has no place for; or
            the folder holds something else.
    """
    facts = asked.facts()
    if directory.exists() and not facts.items() <= read_made_report(directory).items():
        raise rule_error("--output", "be a new folder, or one that holds this very model", str(directory))

    def make(partial: Path) -> dict[str, Any]:
        model, tokenizer = asked.load()
        joined = join(model)
        ids = torch.arange(min(TRIED, len(tokenizer))).unsqueeze(0)
        with torch.no_grad():
            difference = (joined(ids).logits - model(ids).logits).abs().max().item()
        report = facts | {"parameters": joined.num_parameters(), "logits_differ_by": difference}
        if "hub" in facts:
            report["commit"] = commit_at_hand(asked.source)
        with quiet_transformers():
            joined.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
        (partial / "README.md").write_text(card(report), encoding="utf-8")
        return report

    return build_once(directory, make)


def card(report: Mapping[str, Any]) -> str:
    """The model card, in the hub's form: what it is, what it was made of, and what was done to it."""
    licence = f"license: {report['license']}\n" if report.get("license") else ""
    source = {"file": "File", "folder": "Folder", "hub": "On the hub", "commit": "Commit", "sha256": "SHA-256"}
    rows = {"origin": "Origin", **source, "license": "Licence", "quantisation": "Quantisation"}
    made_of = [f"- {title}: {report[name]}" for name, title in rows.items() if report.get(name)]
    bos = f"\nIts tokenizer's BOS was set to `{report['bos']}`.\n" if report["bos"] else ""
    return f"""---
{licence}library_name: transformers
pipeline_tag: text-generation
tags: [phi3]
---

# {report["name"]}

A model of Llama's form, {report["parameters"]:,} parameters, in the form of Phi-3: the rows of q, k and v stand in one
matrix (`qkv_proj`), and those of gate and up in another (`gate_up_proj`). **These are not Microsoft's Phi-3 weights.**
Weights that were quantised are dequantised to float32. On a text of {TRIED} tokens the largest difference between its
logits and the source's was {report["logits_differ_by"]:g}.
{bos}
Made by `eif-lab convert` of:

{chr(10).join(made_of)}
"""
