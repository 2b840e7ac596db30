"""Where a prompt ends and its target begins: the same text has one form, whichever of the two holds the space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eif_lab.data.task import RELATED

CLOZES = (*RELATED, "converse")
"""The fields of a stimulus that hold clozes, by their relation to it."""


def join(prompt: str, target: str, delimiter: str) -> tuple[str, str]:
    """Prompt and target with what parts them at the target's beginning.

    Spaces between them, none or any number, become the delimiter. A gap with a line break or a tab stays what it is,
    and so does any gap where the delimiter is empty. A target without a prompt begins with its first letter.

    Args:
        prompt: What stands before; blank for a whole statement.
        target: What is learnt or scored.
        delimiter: What stands between the two, as lm-evaluation-harness's ``target_delimiter``.
    """
    head, tail = prompt.rstrip(), target.lstrip()
    gap = prompt[len(head) :] + target[: len(target) - len(tail)]
    if delimiter and not gap.strip(" "):
        gap = delimiter if head else ""
    return head, gap + tail


def joined_fields(values: Mapping[str, Any], delimiter: str) -> dict[str, Any]:
    """The fields of a line with every target that they hold joined to its prompt."""
    joined = dict(values)
    if "target" in values:
        prompt = values.get("prompt", "")
        joined["prompt"], joined["target"] = join(prompt, values["target"], delimiter)
        if "candidates" in values:
            joined["candidates"] = [join(prompt, answer, delimiter)[1] for answer in values["candidates"]]
    for relation in CLOZES:
        if relation in values:
            joined[relation] = [join(prompt, target, delimiter) for prompt, target in values[relation]]
    return joined


def label(prompt: str, target: str) -> str:
    """A text in one, with a bar before what is learnt or scored."""
    return f"{prompt} |{target}" if prompt else target
