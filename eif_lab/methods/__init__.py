"""Methods: which parameters move when a model is fine-tuned."""

from eif_lab.methods.method import Method, named_method

__all__ = ["Method", "named_method"]
