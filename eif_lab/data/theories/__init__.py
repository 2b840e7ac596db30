"""Benchmarks of logical theories."""
