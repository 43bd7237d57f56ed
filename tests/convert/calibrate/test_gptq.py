"""The factor that carries a column's error to the columns after it."""

from __future__ import annotations

import numpy as np
import pytest

from c2llm_lite.convert.calibrate.gptq import _inverse_factor, damped


@pytest.mark.parametrize("width", [1, 32, 301, 1000])
def test_the_factor_is_upper_and_gives_the_inverse(width: int) -> None:
    random = np.random.default_rng(width)
    inputs = random.normal(0, 1, (2 * width, width)) * np.logspace(-2, 1, width)
    moments = (inputs.T @ inputs).astype(np.float32)
    factor = _inverse_factor(moments).astype(np.float64)
    np.testing.assert_array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(factor.T @ factor @ damped(moments), np.eye(width), atol=1e-4)
