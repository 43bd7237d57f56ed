"""What arithmetic allows for long texts."""

from __future__ import annotations

import pytest

from c2llm_lite.benchmarks.lab.long_texts import limit
from c2llm_lite.benchmarks.lab.random_checkpoint import C2LLM_05B


def test_the_limit_at_the_released_shape() -> None:
    # Of one token: 716e6 int8 operations; attention to 64 tokens 5.5e6 in fp32, to 1,024 88e6; fp32 counts four times.
    assert limit(C2LLM_05B, 128) == 1
    assert limit(C2LLM_05B, 2048) == pytest.approx((716 + 4 * 5.5) / (716 + 4 * 88), abs=0.001)
