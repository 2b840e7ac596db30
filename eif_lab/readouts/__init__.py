"""Readouts: scalars of a model and a probe."""
