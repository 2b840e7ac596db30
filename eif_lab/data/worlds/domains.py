"""The knowledge domains, listed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eif_lab.data.worlds.causality import Causality
from eif_lab.data.worlds.compositionality import Compositionality
from eif_lab.data.worlds.implication import Implication
from eif_lab.data.worlds.inheritance import Inheritance
from eif_lab.data.worlds.knowledge import Knowledge
from eif_lab.data.worlds.negation import Negation
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.data.worlds.reversal import Reversal
from eif_lab.data.worlds.transitivity import Transitivity

if TYPE_CHECKING:
    pass


DOMAINS: tuple[type[Knowledge], ...] = (
    Ontology,
    Inheritance,
    Transitivity,
    Causality,
    Compositionality,
    Implication,
    Reversal,
    Negation,
)
"""What phi3-tiny is trained to read; a further domain joins here."""
