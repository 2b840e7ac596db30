"""A small Phi-3 and its tokenizer, made once."""

from __future__ import annotations

import copy

import pytest


@pytest.fixture(scope="session")
def tokenizer():
    from language import byte_level_tokenizer

    return byte_level_tokenizer()


@pytest.fixture(scope="session")
def made_language_model(tokenizer):
    from language import small_phi3

    return small_phi3(tokenizer)


@pytest.fixture
def language_model(made_language_model):
    """A copy of its own for each test: two layers, hidden size 32."""
    return copy.deepcopy(made_language_model)
