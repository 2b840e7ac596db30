"""Readouts: what is read of a probe."""
