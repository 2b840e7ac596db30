"""Data sets of texts, from files and made by code."""
