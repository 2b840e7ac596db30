"""Engines: how influence is computed."""
