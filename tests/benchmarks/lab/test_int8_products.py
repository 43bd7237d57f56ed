"""The ways to compute int8 products: each comes near the product in fp32."""

from __future__ import annotations

import numpy as np
import pytest

from c2llm_lite.benchmarks.lab.int8_products import WAYS, layer_shapes


@pytest.mark.parametrize("way", WAYS)
def test_a_product_is_near_its_fp32(way: str) -> None:
    pytest.importorskip("openvino" if way.startswith("openvino") else "torch")
    random = np.random.default_rng(1)
    weights, x = random.standard_normal((128, 256), np.float32), random.standard_normal((512, 256), np.float32)
    x[3] *= 0.1  # a token of its own scale
    found, wanted = WAYS[way](weights)(x), x @ weights.T
    assert found.shape == wanted.shape
    assert found.dtype == np.float32
    cosines = np.sum(found * wanted, 1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() > (0.98 if way == "openvino:int8-static" else 0.999)  # static: one scale for all tokens


def test_the_shapes_of_a_layer() -> None:
    assert layer_shapes() == [(896, 896), (128, 896), (128, 896), (896, 896), (4864, 896), (4864, 896), (896, 4864)]
