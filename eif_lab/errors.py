"""A user's mistake, reported in one line: field, rule, value received, next step."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable
from numbers import Integral
from typing import Any


class ConfigError(ValueError):
    """A user's mistake, reported in one line: field, rule, value received, next step."""


class NotApplicable(ConfigError):
    """The options are each fine, but this combination has no meaning (a sweep lists it and goes on)."""


LONGEST_SHOWN = 200
"""Characters of a value that an error shows."""


def rule_error(field: str, rule: str, value: Any, hint: str = "") -> ConfigError:
    """``<field> must <rule>, got <value>. <hint>``, of a long value its beginning."""
    whole = repr(value)
    shown = whole if len(whole) <= LONGEST_SHOWN else f"{whole[:LONGEST_SHOWN]}..."
    return ConfigError(f"{field} must {rule}, got {shown}. {hint}".rstrip())


def one_line(text: object) -> str:
    """A text, or what an error says, with a blank for each run of blanks and line breaks."""
    return " ".join(str(text).split())


def must_be(field: str, value: Any, kinds: Any, words: str, hint: str = "") -> None:
    """Refuse a value of another type than it should be.

    Args:
        field: Its name.
        value: What was received.
        kinds: A class, or a union of them, that it must be an instance of.
        words: What it must be, with an article.
        hint: What to try.

    Raises:
        ConfigError: It is of none of these classes, or is a class itself.
    """
    if not isinstance(value, kinds):
        received = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise rule_error(field, f"be {words}", received, hint)


def reason_of(error: BaseException) -> str:
    """The message of an error, in one line; the name of its class where it has none."""
    return one_line(error) or type(error).__name__


def class_and_reason(error: BaseException) -> str:
    """``<class>: <what the error says>`` in one line, for errors that make no sense without their class."""
    return one_line(f"{type(error).__name__}: {error}")


def printable(text: str) -> str:
    """The text with a question mark for each character that a terminal would obey instead of showing it.

    These are control characters but tab and line feed, marks that turn the direction of writing, and halves of a
    surrogate pair.
    """
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "?", text)


def fits_a_line(text: str) -> bool:
    """Whether a name has no control character and no half of a surrogate pair, so that it can be shown in a line."""
    return not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text)


def unwritable(text: str) -> str:
    """The first character that numpy drops (NUL) or UTF-8 lacks (half of a surrogate pair); empty where none is."""
    refused = re.search("[\0\ud800-\udfff]", text)
    return refused[0] if refused else ""


def unknown_name(field: str, value: Any, known: Iterable[str]) -> ConfigError:
    """A name that does not exist, with the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Try {known[0]}."
    return rule_error(field, f"be one of {', '.join(known)}", value, hint)


FORMER = {"update.direct_influence": "update.strength"}
"""Options that earlier versions had, and what stands in their place now."""


def unknown_option(field: str, value: Any, known: Iterable[str]) -> ConfigError:
    """An option that does not exist, with the nearest one that does.

    Args:
        field: Its full name, such as ``method.rnak``.
        value: What it was to be.
        known: Names of the options beside it.
    """
    if field in FORMER:
        rule = f"be left out, since {FORMER[field]} stands in its place"
        return rule_error(field, rule, value, f"Try {FORMER[field]}={value}.")
    parent, _, name = field.rpartition(".")
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {parent}{'.' if parent else ''}{near[0]}?" if near else f"Remove {field}."
    rule = f"be an option, one of {', '.join(known)}" if known else f"be left out, since {parent} has no options"
    return rule_error(field, rule, value, hint)


SIGNS = (
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "bad_alloc",
    "failed to map segment",
)
"""Messages of errors for too little memory: of the CPU's allocators, of MPS, of CUDA's libraries, of the loader."""


def short_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is too little; for torch's own see `eif_lab.influence.resources.memory`."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | ImportError) and any(sign in str(error) for sign in SIGNS)


def memory_line(error: BaseException) -> str:
    """One line that says which memory ran out, and what to try."""
    hint = "Try a lower engine.memory_budget, fewer stimuli or probes, or more memory for this process (ulimit -v)."
    return f"out of memory ({class_and_reason(error)[:300]}). {hint}"


def one_seed(seed: Any) -> int:
    """A single seed, of Python's or NumPy's whole numbers.

    Raises:
        ConfigError: It is no whole number from 0 on.
    """
    if not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
        raise rule_error("seed", "be a whole number from 0 on", seed, "Try 0.")
    return int(seed)
