"""Figures, drawn from the store alone."""
