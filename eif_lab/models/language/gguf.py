"""Files in the format GGUF, which llama.cpp reads: a causal language model, often quantised, and its tokenizer."""

from __future__ import annotations

import hashlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eif_lab.errors import rule_error
from eif_lab.models.hub import FIELD, check_loaded, quiet_transformers, told_in_one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SUFFIX = ".gguf"


def load_gguf(file: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model in eval mode, its weights dequantised to float32, and its tokenizer.

    Args:
        file: The file.

    Raises:
        ConfigError: As of `eif_lab.models.language.hub.load_checkpoint`; or the package gguf is not installed.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    check_readable(file)
    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    with quiet_transformers(), told_in_one_line(str(file), local=True):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, dtype=torch.float32, output_loading_info=True, **options
        )
    return check_loaded(str(file), *loaded), tokenizer


def describe_gguf(file: Path) -> dict[str, str]:
    """What a file says of itself: ``file``, ``sha256``, ``license`` where it names one, and ``quantisation``.

    Args:
        file: The file.

    Raises:
        ConfigError: It cannot be read.
    """
    check_readable(file)
    from gguf import GGUFReader

    with told_in_one_line(str(file), local=True):
        reader = GGUFReader(file)
        licence = reader.get_field("general.license")
        types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {
        "file": file.name,
        "sha256": digest,
        "license": str(licence.contents()) if licence else "",
        "quantisation": ", ".join(f"{kind} ({count} tensors)" for kind, count in types.most_common()),
    }


def check_readable(file: Path) -> None:
    """Refuse a file that is not there, and any where the package that reads it is lacking.

    Raises:
        ConfigError: One line says which.
    """
    if not file.is_file():
        raise rule_error(FIELD, "be a file that exists", str(file))
    if find_spec("gguf") is None:
        hint = "Try pip install 'eif-lab[gguf]'."
        raise rule_error(FIELD, "be read by the package gguf, which is not installed", str(file), hint)
