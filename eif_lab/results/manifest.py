"""What the fields of a manifest hold, so that whatever reads one need not ask."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Required

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from eif_lab.errors import rule_error


class Config(TypedDict, total=False):
    """The job's options, as far as results are read by them."""

    seed: int
    data_seed: int
    dataset: dict[str, Any] | None
    perturbation: dict[str, Any] | None
    desideratum: dict[str, dict[str, Any]] | None


class BaseModel(TypedDict, total=False):
    """The base model; numbers that say how good it was may stand beside these."""

    name: str
    hash: str
    parameters: int | None
    worlds_not_learnt: list[Any] | None


class Calibration(TypedDict, total=False):
    """What the learning rate was to reach, in nats."""

    target: Required[float]
    reached: Required[bool]
    direct_influence: float | None


class Update(TypedDict, total=False):
    """The recipe."""

    optimizer: str | None
    steps: int
    learning_rate: float | None
    calibration: Calibration | None


class Effect(TypedDict, total=False):
    """A finding; numbers that are undefined are null."""

    effect: float | None
    low: float | None
    high: float | None
    n: int
    unit: str


class Count(TypedDict):
    """Parameters that the method trains, of how many."""

    count: int
    total: int


class Provenance(TypedDict, total=False):
    """The packages, the code and the machine by which something was done."""

    device: str | None
    platform: str | None
    versions: dict[str, str] | None
    git_commit: str | None
    git_dirty: bool | None


class Manifest(Provenance, total=False):
    """All fields that anything reads; a manifest may have more."""

    name: Required[str]
    status: Required[str]
    reason: str | None
    config: Config | None
    overrides: list[Any] | None
    seeds: list[int] | None
    base_model: BaseModel | None
    trained_parameters: Count | None
    update: Update | None
    direct_influence: Effect | float | None
    unit: str | None
    engine: str | None
    stimuli: int | None
    probes: int | None
    seconds: float | None
    created: str | None
    measured: Provenance | None
    array: str | None
    checksum: str
    digest: str


def checked_manifest(raw: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """The manifest itself, every known field of the right type.

    Args:
        raw: As it was read.
        place: The file, for the error.

    Raises:
        ConfigError: The first field that is not what it should be.
    """
    try:
        _rules().validate_python(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        names = [str(part) for part in first["loc"] if str(part).isidentifier() and str(part) not in KINDS]
        rule = first["msg"].replace("Input should be", "be").replace("Field required", "be there")
        raise rule_error(f"{place} {'.'.join(names)}".rstrip(), rule, first["input"], "Run the job again.") from None
    return raw


KINDS = ("Effect", "float")
"""What pydantic writes into the place of an error for a field that may be of several kinds."""


@cache
def _rules() -> Any:  # pydantic's adapter of `Manifest`, whose type beartype does not know
    return TypeAdapter(Manifest)
