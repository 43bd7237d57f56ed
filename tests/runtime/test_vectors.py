"""Postprocessing of vectors."""

from __future__ import annotations

import numpy as np
import pytest

from c2llm_lite.vectors import encode, normalize


def test_rows_come_to_unit_length_and_a_row_of_zeros_stays():
    unit = normalize(np.array([[3, 4], [0, 0]], np.float32))
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0]], rtol=1e-6)
    assert unit.dtype == np.float32


def test_int8_takes_each_vector_to_its_own_largest():
    coded = encode(np.array([[0.5, -0.25, 0.004], [0, 0, 0]], np.float32), "int8")
    assert coded.tolist() == [[127, -64, 1], [0, 0, 0]]  # -63.5 rounds to even
    assert coded.dtype == np.int8


def test_binary_packs_sign_bits_with_the_first_component_highest():
    coded = encode(np.array([[1, -1, 1, 0, -2, -1, -1, 3, 5]], np.float32), "binary")
    assert coded.tolist() == [[0b10100001, 0b10000000]]
    assert coded.dtype == np.uint8


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="precision is 'int3'; it must be one of float32, int8, binary"):
        encode(np.zeros((1, 2), np.float32), "int3")  # type: ignore[arg-type]
