"""Base models, their training and their cache."""
