"""A job's manifest: what the job was, how it ended, and where its results came from.

In code its fields are attributes. A manifest and its parts are mappings too: `manifest["word_overlap"]` reaches what
stands in the file beside the fields that are named here.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from eif_lab.errors import ConfigError, rule_error
from eif_lab.files.checksums import sha256

FORMAT = 3
"""Raised when a reader of the previous format would misread what is written; a job of an earlier one is opened as it
is, and run again where its sweep is. From 2 on a manifest has a digest, from 3 on a strength, and a violated verdict a
p-value."""

DIGEST, SEALED_SINCE = "digest", 2

DONE, FAILED, NOT_APPLICABLE = "done", "failed", "not applicable"
STATUSES = (DONE, FAILED, NOT_APPLICABLE)
"""How a job can end."""

UNREADABLE = "unreadable"
"""The status of a sweep's job whose results cannot be read; no file holds it."""

HOW_RUN = ("tracker", "workers", "plan", "cache")
"""Options that say how a job is run, and not which job it is."""


def _empty_if_null(value: Any) -> Any:
    return {} if value is None else value


def _as_effect(value: Any) -> Any:
    """Older manifests hold direct influence as a plain number."""
    return {"effect": value} if isinstance(value, int | float) else _empty_if_null(value)


Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Number = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]
DICT_IF_NULL = BeforeValidator(_empty_if_null)
LIST_IF_NULL = BeforeValidator(lambda value: [] if value is None else value)


def _shown(value: Any) -> str:
    if isinstance(value, Fields):
        return repr(value)
    return f"<{len(value)} entries>" if isinstance(value, dict) and len(value) > 2 else reprlib.repr(value)


class Fields(Mapping[str, Any]):
    """Fields as attributes, and as a mapping together with what else the file holds."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="allow", strict=True)

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    def __len__(self) -> int:
        return len(vars(self))

    def __repr__(self) -> str:
        """The fields that are not empty; of long ones their size or their beginning."""
        known = [f"{name}={_shown(value)}" for name, value in self.items() if value not in (None, "", [], {})]
        return f"{type(self).__name__}({', '.join(known)})"


class Config(TypedDict, total=False):
    """The job's options that readers of results use."""

    seed: int
    data_seed: int
    dataset: dict[str, Any] | None
    method: dict[str, Any] | None
    perturbation: dict[str, Any] | None
    desideratum: dict[str, dict[str, Any]] | None
    tracker: dict[str, Any] | None


@dataclass(frozen=True, eq=False, repr=False)
class BaseModel(Fields):
    """The base model; numbers that say how good it was, such as its accuracy, stand beside these fields.

    ``origin`` says where the influence is from where there is no model: from a rule, or from a file.
    """

    name: str | None = None
    architecture: str | None = None
    hash: str | None = None
    parameters: int | None = None
    origin: str | None = None
    worlds_not_learnt: list[Any] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Fields):
    """Target and result of the search for a learning rate: strength, in nats; None before format 3."""

    target: float
    reached: bool
    strength: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Update(Fields):
    """The recipe. Under prompting there is no optimizer, and the number of steps is 0."""

    optimizer: str | None = None
    steps: int | None = None
    learning_rate: float | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Effect(Fields):
    """A finding; None where a number is undefined."""

    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Count(Fields):
    """How many parameters the method trains, of how many; 0 of 0 where that is not known."""

    count: int = 0
    total: int = 0


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Provenance(Fields):
    """The packages, the code and the machine that something was done with."""

    versions: Annotated[dict[str, str], DICT_IF_NULL] = field(default_factory=dict)
    platform: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    device: str | None = None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Manifest(Provenance):
    """A job's options and how it ended; its provenance is that of the judgement.

    Attributes:
        name: The job's.
        status: One of `STATUSES`, or `UNREADABLE`.
        format: See `FORMAT`.
        reason: Why the job is not done; empty where it is.
        config: All options, as plain containers.
        choices: The names of its model, dataset, method and perturbation, as they are called; empty in older manifests.
        overrides: What the job differs in from the defaults.
        seeds: One for each place along the array's dimension ``seed``.
        base_model: The model before the update.
        trained_parameters: What the method trains.
        update: The recipe.
        strength: What was taught: what a stimulus states, less its controls, in ``unit``.
        direct_influence: Before format 3 instead of it: what a stimulus does to itself, with nothing subtracted.
        unit: The first readout's.
        engine: Which one measured.
        stimuli, probes: How many; 0 where the job did not get so far.
        seconds: The whole job.
        created: When the manifest was written, in UTC.
        measured: The provenance of the measurement; None where the job left no array.
        array: The key of the array in the cache.
        checksum: That of the file of checksums; None before there were any.
        digest: That of the manifest's own file.
    """

    name: str
    status: str
    format: int = FORMAT
    reason: Text = ""
    config: Annotated[Config, DICT_IF_NULL] = field(default_factory=Config)
    choices: Annotated[dict[str, str], DICT_IF_NULL] = field(default_factory=dict)
    overrides: Annotated[list[Any], LIST_IF_NULL] = field(default_factory=list)
    seeds: Annotated[list[int], LIST_IF_NULL] = field(default_factory=list)
    base_model: Annotated[BaseModel, DICT_IF_NULL] = field(default_factory=BaseModel)
    trained_parameters: Annotated[Count, DICT_IF_NULL] = field(default_factory=Count)
    update: Annotated[Update, DICT_IF_NULL] = field(default_factory=Update)
    strength: Annotated[Effect, DICT_IF_NULL] = field(default_factory=Effect)
    direct_influence: Annotated[Effect, BeforeValidator(_as_effect)] = field(default_factory=Effect)
    unit: Text = ""
    engine: Text = ""
    stimuli: Number = 0
    probes: Number = 0
    seconds: float | None = None
    created: Text = ""
    measured: Provenance | None = None
    array: str | None = None
    checksum: str | None = None
    digest: str = ""


def parse_manifest(text: str, file: Path) -> Manifest:
    """The manifest in a file's text, every known field of the right type.

    Args:
        text: The whole file.
        file: Where it was read, for the error.

    Raises:
        ConfigError: It is damaged, a field is not what it should be, or it was written by a newer version.
    """
    try:
        raw = json.loads(text)
        version = int(raw["format"])
        json.dumps(raw, ensure_ascii=False).encode()  # half a character cannot be shown or stored
        if version <= FORMAT:
            require_name_and_status(raw)
            require_digest(text, raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file} must be a job's manifest, got {error!r}. Run the job again.") from error
    if version > FORMAT:
        raise rule_error(f"{file} format", f"be at most {FORMAT}", version, "Upgrade eif_lab.")
    try:
        manifest: Manifest = _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        names = [str(part) for part in first["loc"] if str(part).isidentifier()]
        rule = first["msg"].replace("Input should be", "be").replace("Field required", "be there")
        raise rule_error(f"{file} {'.'.join(names)}".rstrip(), rule, first["input"], "Run the job again.") from None
    return manifest


@cache
def _adapter() -> Any:  # pydantic's adapter of `Manifest`, whose type beartype does not know
    return TypeAdapter(Manifest)


def require_name_and_status(manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest that does not say what it is of.

    Raises:
        ValueError: No name, or no such status.
    """
    if not manifest.get("name") or manifest.get("status") not in STATUSES:
        raise ValueError(f"a manifest needs a name and a status ({', '.join(STATUSES)}), got {dict(manifest)}")


def with_all_fields(known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a manifest as its file holds them; those that are not known are null or empty."""
    blank = {one.name: None if one.default is MISSING else one.default for one in fields(Manifest)}
    return {**blank, **known}


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it stands in its file, with its digest at the end."""
    contents = {name: value for name, value in strict_json(manifest).items() if name != DIGEST}
    return with_digest(json.dumps({**contents, DIGEST: ""}, indent=2, allow_nan=False))


def with_digest(text: str) -> str:
    """A manifest's text with its digest, which is that of the same bytes with the digest left empty.

    Args:
        text: It ends with the digest, so that no other text in it is mistaken for that.
    """
    before, empty, end = text.rpartition(f'"{DIGEST}": ""')
    return f'{before}"{DIGEST}": "{sha256(text.encode())}"{end}' if empty else text


def require_digest(text: str, manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest that is not as it was written; before `SEALED_SINCE` it had no digest.

    Raises:
        ValueError: It differs from its digest, or has none.
    """
    digest = manifest.get(DIGEST)
    if digest is None and manifest["format"] < SEALED_SINCE:
        return
    before, there, end = text.rpartition(f'"{DIGEST}": "{digest}"')
    if not there or with_digest(f'{before}"{DIGEST}": ""{end}') != text:
        raise ValueError("other contents than were written")


def in_json(value: Any) -> Any:
    """``value`` as it comes back from JSON."""
    return json.loads(json.dumps(strict_json(value)))


def strict_json(value: Any) -> Any:
    """``value`` as strict JSON: numbers of numpy as Python's, paths as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): strict_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(item) for item in value]
    if isinstance(value, np.generic):
        return strict_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
