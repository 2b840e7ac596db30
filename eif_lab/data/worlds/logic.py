"""Facts, rules, and what follows from them: forward chaining over Horn clauses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple


class Fact(NamedTuple):
    """``subject relation object``, or its denial. In a rule, words that begin with ``?`` are variables."""

    subject: str
    relation: str
    object: str
    negated: bool = False

    def denied(self) -> Fact:
        """The same fact denied; of a denied one the fact itself."""
        return self._replace(negated=not self.negated)


class Rule(NamedTuple):
    """From facts that match all the premises follows the conclusion, under the same words for the same variables."""

    premises: tuple[Fact, ...]
    conclusion: Fact


Binding = Mapping[str, str]


def closure(facts: Iterable[Fact], rules: Sequence[Rule]) -> set[Fact]:
    """All that follows from ``facts``, which it includes: every rule is applied until nothing new follows."""
    known = set(facts)
    while new := consequences(known, rules) - known:
        known |= new
    return known


def consequences(facts: Collection[Fact], rules: Sequence[Rule]) -> set[Fact]:
    """What follows from ``facts`` by one application of one rule."""
    alike = defaultdict(list)
    for fact in facts:
        alike[fact.relation, fact.negated].append(fact)
    return {filled(rule.conclusion, bound) for rule in rules for bound in matches(rule.premises, alike, {})}


def matches(
    premises: Sequence[Fact], alike: Mapping[tuple[str, bool], list[Fact]], bound: Binding
) -> Iterator[Binding]:
    """Every binding of the variables under which all the premises are known.

    Args:
        premises: Facts with variables.
        alike: The known facts, by relation and by whether they are denied.
        bound: The words that some variables stand for already.
    """
    if not premises:
        yield bound
        return
    first, *rest = premises
    for fact in alike.get((first.relation, first.negated), ()):
        extended = dict(bound)
        if all(
            (extended.setdefault(mark, word) if mark.startswith("?") else mark) == word
            for mark, word in ((first.subject, fact.subject), (first.object, fact.object))
        ):
            yield from matches(rest, alike, extended)


def filled(pattern: Fact, bound: Binding) -> Fact:
    """The pattern with each variable replaced by its word; an object may hold several variables."""

    def fill(words: str) -> str:
        return " ".join(bound.get(word, word) for word in words.split(" "))

    return pattern._replace(subject=fill(pattern.subject), object=fill(pattern.object))
