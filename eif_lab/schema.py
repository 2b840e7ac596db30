"""Typed options: every choice in ``conf/`` is a dataclass whose fields state their own rule.

A wrong name, type or value ends in a `ConfigError` whose one line names the field, the rule, the value received and
what to try. This module imports nothing from the project, so that every room can declare its options with it.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


class ConfigError(ValueError):
    """A user's mistake, told in one line: field, rule, value received, next step."""


class NotApplicable(ConfigError):
    """The options are each fine, but this combination has no meaning (a sweep lists it and goes on)."""


def option(
    default: Any = dataclasses.MISSING,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    one_of: Iterable[str] | None = None,
    hint: str = "",
) -> Any:
    """A dataclass field with a rule. A list is held to the rule item by item; ``None`` passes where the type admits it.

    Args:
        default: The value when none is given; a list, tuple or dict is copied per instance.
        at_least, above, at_most, below: Bounds for numbers.
        one_of: The admitted values.
        hint: The next step, printed after a violation ("Try 8.").
    """
    metadata = {
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "one_of": tuple(one_of) if one_of is not None else None,
        "hint": hint,
    }
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class Options:
    """Base of every option group; construction checks each field's rule and changes nothing else."""

    group: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, list | tuple) else [value]:
                rule = broken_rule(item, field.metadata)
                if rule:
                    raise rule_error(f"{self.group}.{field.name}".lstrip("."), rule, item, field.metadata.get("hint", ""))


def broken_rule(value: Any, metadata: Mapping[str, Any]) -> str:
    """The rule that ``value`` breaks, in words; empty where it breaks none."""
    if value is None:
        return ""
    one_of = metadata.get("one_of")
    if one_of is not None and value not in one_of:
        return f"be one of {', '.join(map(str, one_of))}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if value != value:
        return "be a number"
    for name, words, holds in (
        ("at_least", "be at least", lambda bound: value >= bound),
        ("above", "be above", lambda bound: value > bound),
        ("at_most", "be at most", lambda bound: value <= bound),
        ("below", "be below", lambda bound: value < bound),
    ):
        bound = metadata.get(name)
        if bound is not None and not holds(bound):
            return f"{words} {bound}"
    return ""


def rule_error(field: str, rule: str, value: Any, hint: str = "") -> ConfigError:
    """``<field> must <rule>, got <value>. <hint>``"""
    return ConfigError(f"{field} must {rule}, got {value!r}. {hint}".rstrip())


def unknown_name(field: str, value: str, known: Iterable[str]) -> ConfigError:
    """A name that does not exist, with the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(value, known, n=1)
    return rule_error(field, f"be one of {', '.join(known)}", value, f"Did you mean {near[0]}?" if near else f"Try {known[0]}.")
