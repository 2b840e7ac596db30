"""JSON files of published sets: read and checked, since they may have been changed on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eif_lab.errors import ConfigError, one_line, rule_error, unwritable

LONGEST_TEXT = 5_000
"""Characters of a text in a published set (the longest has 3,489), so that none takes long to read or much memory."""


def read_records(root: str, place: str, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The records of a JSON file, a list or a single one.

    Args:
        root: What ``dataset.root`` names.
        place: The file below it.
        fields: What every record has to have.

    Raises:
        ConfigError: The file is not there, is no JSON, a record lacks a field, or a text cannot be one of the set.
    """
    path = Path(root) / place
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise rule_error(
            "dataset.root", f"be a folder that holds {place}", root, "Set EIF_LAB_DATA to one that does."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} must be JSON in UTF-8, got {type(error).__name__} ({error}).") from None
    records = content if isinstance(content, list) else [content]
    for number, record in enumerate(records):
        missing = [name for name in fields if not isinstance(record, dict) or name not in record]
        if missing:
            raise ConfigError(f"{path} must have {missing[0]!r} in every record, got none in record {number}.")
        for text in texts_in(record):
            if len(text) > LONGEST_TEXT or unwritable(text):
                rule = f"hold texts of at most {LONGEST_TEXT} characters, without NUL and halves of surrogate pairs"
                raise rule_error(f"{path}: record {number}", rule, text, "Fetch the file anew.")
    return records


def texts_in(record: Any) -> Iterator[str]:
    """Every text in a JSON value but the names of fields."""
    left = [record]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | dict):
            left += [*value, *value.values()] if isinstance(value, dict) else value


@contextmanager
def refuse_changed_records(root: str, place: str) -> Iterator[None]:
    """Within this, what breaks on a record that is not as its authors published it is a ConfigError of one line.

    Args:
        root: What ``dataset.root`` names.
        place: The file below it.

    Raises:
        ConfigError: Something breaks.
    """
    try:
        yield
    except ConfigError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        received = f"{type(error).__name__} ({error!s:.200})"
        message = f"{Path(root) / place} must hold records as they were published, got {received}."
        raise ConfigError(one_line(f"{message} Fetch the file anew.")) from error
