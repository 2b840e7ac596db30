"""Facts, rules, and what follows from them: forward chaining over Horn clauses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple


class Fact(NamedTuple):
    """``subject relation object``, or that it is not so. In a rule, words that begin with ``?`` stand for any word."""

    subject: str
    relation: str
    object: str
    negated: bool = False

    def denied(self) -> Fact:
        """That it is not so."""
        return self._replace(negated=not self.negated)


class Rule(NamedTuple):
    """From facts that match all the premises follows the conclusion, under the same words for the same variables."""

    premises: tuple[Fact, ...]
    conclusion: Fact


Binding = Mapping[str, str]


def closure(facts: Iterable[Fact], rules: Sequence[Rule]) -> set[Fact]:
    """All that follows from ``facts``, themselves included: every rule is applied until nothing new comes."""
    known = set(facts)
    while new := consequences(known, rules) - known:
        known |= new
    return known


def consequences(facts: Collection[Fact], rules: Sequence[Rule]) -> set[Fact]:
    """What a single application of one of the rules gives."""
    alike = defaultdict(list)
    for fact in facts:
        alike[fact.relation, fact.negated].append(fact)
    return {filled(rule.conclusion, found) for rule in rules for found in matches(rule.premises, alike, {})}


def matches(
    premises: Sequence[Fact], alike: Mapping[tuple[str, bool], list[Fact]], bound: Binding
) -> Iterator[Binding]:
    """Every way to read the premises in what is known.

    Args:
        premises: Patterns.
        alike: What is known, by relation and by whether it is denied.
        bound: The words that variables stand for already.
    """
    if not premises:
        yield bound
        return
    first, *rest = premises
    for fact in alike.get((first.relation, first.negated), ()):
        found = dict(bound)
        if all(
            (found.setdefault(mark, word) if mark.startswith("?") else mark) == word
            for mark, word in ((first.subject, fact.subject), (first.object, fact.object))
        ):
            yield from matches(rest, alike, found)


def filled(pattern: Fact, bound: Binding) -> Fact:
    """The pattern with its variables' words in their places; an object may be made of several."""

    def fill(words: str) -> str:
        return " ".join(bound.get(word, word) for word in words.split(" "))

    return pattern._replace(subject=fill(pattern.subject), object=fill(pattern.object))
