"""The choices in ``conf/`` as typed options, without Hydra: what a library takes by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eif_lab.errors import unknown_name
from eif_lab.options import choice

HERE = Path(__file__).resolve().parent
CONF = next(folder for folder in (HERE / "conf", HERE.parent / "conf") if folder.is_dir())
"""In a checkout beside the package, in an installation within it."""

CACHE = "outputs/cache"
"""Where base models, unpacked data and arrays are found again, unless another folder is named."""


def names(group: str) -> list[str]:
    """The choices of a group: the files of its folder, but for the defaults of models."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if not path.stem.startswith("default_"))


def named_choice(
    group: str, name: Any, options: Mapping[str, Any] | None = None, cache: str | Path = CACHE, field: str = ""
) -> Any:
    """The options of a choice, as an instance of its class.

    Args:
        group: A folder of ``conf/``, such as ``dataset``.
        name: A file of it.
        options: What differs from the file's values.
        cache: What ``${cache}`` in a file stands for.
        field: What errors call it, where that is not the group.

    Raises:
        ConfigError: There is no such choice, or an option that is unknown, of another type, or breaks its rule.
    """
    from omegaconf import OmegaConf

    if name not in names(group):
        raise unknown_name(group, name, names(group))
    config = OmegaConf.create({"cache": str(cache), group: OmegaConf.load(CONF / group / f"{name}.yaml")})
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return choice(field or group, {**values[group], **(options or {})})
