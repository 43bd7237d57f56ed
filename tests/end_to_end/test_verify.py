"""The limits of `verify` follow from the engine's arithmetic."""

from __future__ import annotations

import pytest

from c2llm_lite.convert import convert
from c2llm_lite.verify import verify


@pytest.mark.parametrize(
    ("target", "least"),
    [
        ("gguf:f32", 0.99999),
        ("gguf:bf16", 0.9995),
        ("gguf:q8_0", 0.998),
        ("openvino:fp32", 0.99999),  # fp32 products of the checkpoint's bf16 matrices
        ("openvino:int8", 0.998),
        ("torch:fp32", 0.99999),
        ("torch:bf16", 0.9995),
        ("bnb:int8", 0.998),
    ],
)
def test_the_least_cosine_to_its_own_record(target, least, checkpoint_folder, tmp_path):
    made = convert(checkpoint_folder, tmp_path / "bundle", target, target_probes=False)
    assert {result.own_least for result in verify(made.folder)} == {least}
