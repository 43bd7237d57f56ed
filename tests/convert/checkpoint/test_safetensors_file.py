"""Conversions between the types that a checkpoint's tensors are stored in."""

from __future__ import annotations

import numpy as np
import pytest

from c2llm_lite.convert.checkpoint.safetensors_file import bf16_bits, widen


def test_bf16_bits_ties_go_to_even() -> None:
    torch = pytest.importorskip("torch")
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 3e38, 1e-40, 0.1, -0.0], np.float32)
    theirs = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(bf16_bits(values), theirs)


def test_bf16_bits_of_widened_bf16_are_the_same() -> None:
    bits = np.arange(0x7F80, dtype=np.uint16)  # every finite value from 0 up
    np.testing.assert_array_equal(bf16_bits(widen(bits, "BF16")), bits)
