"""Models of transformers in the hub's format: from a directory, the local cache, or the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from eif_lab.errors import fits_a_line, rule_error
from eif_lab.files.build_once import REPORT
from eif_lab.files.hub import hub_answers, one_line_errors, quiet_hub, written_as_path

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

FIELD = "model.checkpoint"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
ADAPTER = "adapter_config.json"
"""What PEFT's adapters are known by."""

READ = {".jinja", ".json", ".model", ".safetensors", ".txt"}
"""Suffixes of the files that hold weights, configurations, tokenizers and chat templates."""

SMOLLM2 = "smollm2"
"""The folder that ``make smollm2`` makes, below ``cache/models``."""

told_in_one_line = partial(one_line_errors, FIELD, library="transformers", kinds=("directory",))
"""Called with a checkpoint and whether it is local: within this, what transformers raises for it becomes one line."""


class Family(NamedTuple):
    """Models for one purpose.

    Attributes:
        words: What one is called, with an article.
        auto: The class of transformers that loads them.
        mapping: Transformers' table of their architectures.
        hint: What to try where a checkpoint holds something else.
    """

    words: str
    auto: str
    mapping: str
    hint: str


@contextmanager
def opened(checkpoint: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a checkpoint is and how transformers loads what is in it: no code of its own, a directory without the hub.

    Within this, transformers is quiet, and what it raises becomes one line.

    Args:
        checkpoint: A directory in the hub's format, or a name on the hub.

    Raises:
        ConfigError: It cannot be had, or not be read.
    """
    local = check_directory(checkpoint)
    place = str(Path(checkpoint).expanduser()) if local else checkpoint
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": local or not hub_answers()}
    with quiet_transformers(), told_in_one_line(place, local):
        yield place, options


def load_model(
    place: str, family: Family, config: PretrainedConfig, options: Mapping[str, Any], *, dtype: str, **further: Any
) -> PreTrainedModel:
    """A checkpoint's model in eval mode, of safetensors alone, since any other format is a pickle.

    Args:
        place, options: As `opened` gives them.
        family: What it is a model for.
        config: Its configuration.
        dtype: Of the weights, as torch names it.
        further: Options of transformers' ``from_pretrained``.

    Raises:
        ConfigError: It lacks weights, or has some that are no numbers.
    """
    import transformers

    loaded: Any = getattr(transformers, family.auto).from_pretrained(
        place,
        config=config,
        dtype=getattr(torch, dtype),
        output_loading_info=True,
        use_safetensors=True,
        **options,
        **further,
    )
    return check_loaded(place, *loaded)


def load_shape(family: Family, config: PretrainedConfig, *, dtype: str, **further: Any) -> PreTrainedModel:
    """A model in eval mode on the meta device, its weights shapes without numbers. Arguments are those of `load_model`.

    Its buffers have no numbers either.
    """
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, family.auto).from_config(
            config, dtype=getattr(torch, dtype), trust_remote_code=False, **further
        )
    return model.eval()


def check_loaded(checkpoint: str, model: PreTrainedModel, loading: Mapping[str, Any]) -> PreTrainedModel:
    """A model that was loaded, in eval mode.

    Args:
        checkpoint: Where it came from.
        model: What was loaded.
        loading: What transformers says of its loading.

    Raises:
        ConfigError: It lacks weights, or has some that are no numbers.
    """
    if loading["missing_keys"]:
        raise rule_error(FIELD, f"hold all weights, {min(loading['missing_keys'])} is missing", checkpoint)
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise rule_error(FIELD, f"hold finite numbers, {name} has NaN or infinity", checkpoint)
    return model.eval()


def weights_at_hand(checkpoint: str) -> bool:
    """Whether a checkpoint's weights are on this machine: in its directory, or in the hub's local cache."""
    from huggingface_hub import try_to_load_from_cache

    if check_directory(checkpoint):
        return any(Path(checkpoint).expanduser().glob("*.safetensors"))
    try:
        places = [try_to_load_from_cache(checkpoint, name) for name in WEIGHTS]
    except ValueError:  # the hub has no such names, as loading it will say
        return False
    return any(isinstance(place, str) for place in places)


def read_made_report(checkpoint: str | Path) -> dict[str, Any]:
    """What the ``report.json`` in a directory says of a model that was made, such as its name; empty for any other."""
    with suppress(OSError, ValueError, RecursionError):
        told = json.loads((Path(checkpoint).expanduser() / REPORT).read_text(encoding="utf-8"))
        if isinstance(told, dict) and isinstance(told.get("name"), str) and fits_a_line(told["name"]):
            return told
    return {}


def files_read(directory: str) -> list[Path]:
    """The files of a checkpoint's directory that may be read to load it; of what is below, chat templates alone."""
    root = Path(directory).expanduser()
    return [path for place in ("*", "*/*.jinja") for path in root.glob(place) if path.suffix in READ]


def check_directory(checkpoint: str) -> bool:
    """Whether ``checkpoint`` is a directory of this machine rather than a name on the hub.

    Raises:
        ConfigError: It is written like a path and is no directory; or it holds no ``config.json``, or an adapter, or
            names weights outside itself.
    """
    if not checkpoint:
        raise rule_error(FIELD, "be a directory, or a name on the hub", checkpoint, "Name one, or leave it out.")
    path = Path(checkpoint).expanduser()
    if not path.is_dir():
        if written_as_path(checkpoint):
            hint = "Run make smollm2 first." if path.name == SMOLLM2 else ""
            raise rule_error(FIELD, "be a directory that exists, or a name on the hub", checkpoint, hint)
        return False
    must_be_whole(path)
    for name in weights_named(path):
        if Path(name).name != name:
            rule = f"name weights of its own folder alone, it names {name!r}"
            raise rule_error(FIELD, rule, checkpoint, "Write it anew with save_pretrained.")
    return True


def must_be_whole(path: Path) -> None:
    """Refuse an adapter: transformers would put it into a model, its own or one from elsewhere, without a word.

    Args:
        path: A directory.

    Raises:
        ConfigError: There is one, or there is no model.
    """
    merge = "Merge it with PEFT's merge_and_unload() and write the whole with save_pretrained."
    whole, adapter = (path / "config.json").exists(), (path / ADAPTER).exists()
    if adapter:
        rule = (
            f"hold no adapter beside its weights ({ADAPTER})" if whole else "be a whole model, it is an adapter alone"
        )
        raise rule_error(FIELD, rule, str(path), merge if not whole else f"{merge} Or remove it.")
    if not whole:
        raise rule_error(FIELD, "hold a config.json", str(path), "Write one with save_pretrained.")


def weights_named(path: Path) -> set[str]:
    """The files of weights that a directory's own files name; none where those cannot be read, as loading will say."""
    names = set()
    for place, entry in (("model.safetensors.index.json", "weight_map"), ("config.json", "transformers_weights")):
        with suppress(OSError, ValueError, RecursionError, AttributeError):
            value = json.loads((path / place).read_text(encoding="utf-8")).get(entry)
            names |= {one for one in (value.values() if isinstance(value, dict) else [value]) if isinstance(one, str)}
    return names


def config_of(place: str, family: Family, options: Mapping[str, Any]) -> PretrainedConfig:
    """The configuration of a checkpoint's model.

    Args:
        place, options: As `opened` gives them.
        family: What it has to be a model for.

    Raises:
        ConfigError: It is of another family, or an adapter.
    """
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto
    from transformers.utils import find_adapter_config_file

    if find_adapter_config_file(place, local_files_only=options["local_files_only"]) is not None:
        hint = "Merge it with PEFT's merge_and_unload() and give the directory of what save_pretrained writes."
        raise rule_error(FIELD, f"be a whole model without an adapter ({ADAPTER})", place, hint)
    config = AutoConfig.from_pretrained(place, **options)
    table = getattr(modeling_auto, family.mapping)
    known = {kind: [one] if isinstance(one, str) else list(one) for kind, one in table.items()}
    architectures = config.architectures or known.get(config.model_type, [config.model_type])[:1]
    if not set().union(*known.values()).intersection(architectures):
        rule = f"be {family.words}, this one is {', '.join(architectures)}"
        raise rule_error(FIELD, rule, place, family.hint)
    return config


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' and the hub's warnings, retries and progress bars off the console."""
    from transformers.utils import logging as transformers_logging

    bars, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with quiet_hub():
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
