"""Eight architectures of language models, held to the loop; all of them are in ``python -m tests.zoo``."""

from __future__ import annotations

import pytest

from .hold import hold
from .language import CORE, case, small_model


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", CORE)
def test_influence_on_a_language_model_is_the_loop_s(kind: str, method: str):
    assert hold(case(kind, method), "auto") == "equal"


def test_a_model_whose_own_assertions_refuse_a_tree_of_texts_reads_them_one_by_one():
    assert not small_model("xlm").can_share(7)
