"""Typed options: every choice in ``conf/`` is a dataclass whose fields state their own rule."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from eif_lab.errors import ConfigError, reason_of, rule_error, short_of_memory, unknown_option


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
    """Base of every option group; construction checks each field's rule and changes nothing else.

    Attributes:
        group: The group's name, as errors give it.
        incidental: Options that change no result, such as where to look for a file.
        reads, writes: Options that name folders which data is read from, or unpacked to.
    """

    group: ClassVar[str] = ""
    incidental: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ()

    def identity(self) -> Any:
        """The current identity of what the options name, as JSON holds it: checksums, a commit; None if they name none.

        It is part of what an influence array is found by, beside the options themselves.
        """
        return None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, list | tuple) else [value]:
                rule = broken_rule(item, field.metadata)
                if rule:
                    raise rule_error(
                        f"{self.group}.{field.name}".lstrip("."), rule, item, field.metadata.get("hint", "")
                    )


def options_of(chosen: Options) -> dict[str, Any]:
    """A choice's class, the options that decide a result, and the identity of what they name."""
    options = {name: value for name, value in dataclasses.asdict(chosen).items() if name not in chosen.incidental}
    identity = chosen.identity()
    return {"class": type(chosen).__qualname__, **options, **({} if identity is None else {"identity": identity})}


def broken_rule(value: Any, metadata: Mapping[str, Any]) -> str:
    """The rule that ``value`` breaks, in words; empty where it breaks none."""
    if value is None:
        return ""
    one_of = metadata.get("one_of")
    if one_of is not None and value not in one_of:
        return f"be one of {', '.join(map(str, one_of))}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if not math.isfinite(value):
        return "be a finite number"
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


def choice(group: str, given: Any, trusted: Sequence[str] | None = None) -> Any:
    """The options of one group as an instance of the class that ``_target_`` names.

    Args:
        group: The group's name, as errors give it.
        given: The options, as plain containers.
        trusted: Modules and packages whose classes may be taken, where somebody else may have written the options: to
            import a module is to run it. None: the user's own options, which may name any class.

    Raises:
        ConfigError: There is no such class, it is not to be trusted, or an option breaks its rule.
    """
    if not isinstance(given, Mapping) or "_target_" not in given:
        raise rule_error(group, "be a choice from conf/ with a _target_", given, f"Leave {group} out for the default.")
    options = {key: value for key, value in given.items() if key != "_target_"}
    path, _, name = str(given["_target_"]).rpartition(".")
    if trusted is not None and not any(path == one or path.startswith(f"{one}.") for one in trusted):
        rule = f"name a class of {', '.join(trusted)}, since importing any other would run its code"
        raise rule_error(f"{group}._target_", rule, given["_target_"], f"Give --plugin {path} if you trust it.")
    try:
        kind = getattr(importlib.import_module(path), name)
    except Exception as error:  # whatever a module of the user's own raises
        if short_of_memory(error):
            raise
        reason = reason_of(error)
        raise rule_error(
            f"{group}._target_", f"name a class that can be imported ({reason})", given["_target_"]
        ) from None
    if not (isinstance(kind, type) and issubclass(kind, Options) and kind is not Options):
        raise rule_error(f"{group}._target_", "name a class of options (eif_lab.options.Options)", given["_target_"])
    family = group.partition(".")[0]
    if kind.group and family != (kind.group if family == group else kind.group.partition(".")[0]):
        raise rule_error(f"{group}._target_", f"name a class whose group is {family}", given["_target_"])
    return build(kind, options, group)


def build(kind: type[Options], given: Mapping[str, Any], prefix: str) -> Options:
    """Options of a class from plain values, every name, type and rule checked.

    Args:
        kind: The class.
        given: Some or all of its fields; nested options as mappings.
        prefix: What errors call it.
    """
    hints = _hints(kind)  # type: ignore[arg-type] # mypy takes the hash of instances for that of the class
    nested = [name for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Options)]
    for name in nested:
        if name in given and not isinstance(given[name], Mapping):
            known = ", ".join(field.name for field in dataclasses.fields(hints[name]))
            raise rule_error(f"{prefix}.{name}", f"hold options ({known})", given[name])
    values = _typed(kind, given, f"{prefix}.")
    for name in nested:
        values[name] = build(hints[name], values[name], f"{prefix}.{name}")
    try:
        return kind(**values)
    except ConfigError as error:
        message = str(error)
        raise type(error)(
            prefix + message[len(kind.group) :] if kind.group and message.startswith(kind.group) else message
        ) from None


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a class's fields, found out once for many jobs."""
    return typing.get_type_hints(kind)


@functools.cache
def _structured(kind: type) -> Any:
    """A class as OmegaConf sees it, made once for many jobs; what is merged with it is a copy."""
    from omegaconf import OmegaConf

    return OmegaConf.structured(kind)


def _typed(kind: type, given: Mapping[str, Any], prefix: str, others: Iterable[str] = ()) -> dict[str, Any]:
    """The values for ``kind``'s fields, each converted to its type."""
    from omegaconf import OmegaConf, SCMode
    from omegaconf.errors import OmegaConfBaseException

    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in given:
        if name not in fields:
            raise unknown_option(f"{prefix}{name}", given[name], [*fields, *others])
        if given[name] == "???":  # OmegaConf's mark of a missing value, for which it would take the default
            raise rule_error(f"{prefix}{name}", "be given", given[name], fields[name].metadata.get("hint", ""))
    try:
        merged = OmegaConf.merge(_structured(kind), {name: _plain(value) for name, value in given.items()})
        return typing.cast(dict[str, Any], OmegaConf.to_container(merged, structured_config_mode=SCMode.DICT))
    except OmegaConfBaseException as error:
        key = str(error.full_key or "")
        top = re.split(r"[.\[]", key)[0]
        rule = f"be {_words(fields[top].type)}" if top in fields else "fit its type"
        hint = fields[top].metadata.get("hint", "") if top in fields else ""
        raise rule_error(f"{prefix}{key}", rule, _value_at(given, key), hint) from None


def _plain(value: Any) -> Any:
    """A single number of NumPy or torch as Python's; anything else as it is."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _words(annotation: Any) -> str:
    """A field's type in words."""
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    for code, words in (
        ("list[", "a list of "), ("]", ""), (" | None", " or null"), ("str", "text"), ("int", "a whole number"),
        ("float", "a number"), ("bool", "true or false"),
    ):  # fmt: skip
        name = name.replace(code, words)
    return name


def _value_at(given: Mapping[str, Any], key: str) -> Any:
    value: Any = given
    for part in re.findall(r"[^.\[\]]+", key):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            break
    return value
