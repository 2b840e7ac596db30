"""The names of `eif_lab.desiderata.format` that the report page takes from here."""

from eif_lab.desiderata.format import MARKS, bar_text, number_text, p_text, spaced

__all__ = ["MARKS", "bar_text", "number_text", "p_text", "spaced"]
