"""The knowledge domains that phi3-tiny is trained to read: the one list of them.

A domain need not be here to be measured: ``dataset=`` takes any subclass of `Domain` that has a config.
"""

from __future__ import annotations

from eif_lab.data.worlds.causality import Causality
from eif_lab.data.worlds.compositionality import Compositionality
from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.implication import Implication
from eif_lab.data.worlds.inheritance import Inheritance
from eif_lab.data.worlds.negation import Negation
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.data.worlds.reversal import Reversal
from eif_lab.data.worlds.transitivity import Transitivity

DOMAINS: tuple[type[Domain], ...] = (
    Ontology,
    Inheritance,
    Transitivity,
    Causality,
    Compositionality,
    Implication,
    Reversal,
    Negation,
)
