"""Stimuli, probes, relations and distances."""
