"""Which texts share a forward pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from c2llm_lite.packing import packs


@given(st.lists(st.integers(1, 700), max_size=60), st.integers(1, 600), st.integers(1, 9))
def test_every_text_once_within_both_limits(lengths, tokens, texts):
    found = list(packs(lengths, tokens=tokens, texts=texts))
    assert sorted(i for pack in found for i in pack) == list(range(len(lengths)))
    for pack in found:
        assert len(pack) <= texts
        assert len(pack) == 1 or sum(lengths[i] for i in pack) <= tokens


def test_texts_of_a_pack_are_near_in_length():
    assert list(packs([10, 500, 12, 490], tokens=600, texts=8)) == [[1], [3, 2, 0]]
