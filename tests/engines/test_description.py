"""Every engine describes itself under the same keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from needed import skip_without

from c2llm_lite import load
from c2llm_lite.convert import convert
from c2llm_lite.engines import Description


@pytest.mark.parametrize("target", ["gguf:q8_0", "torch:fp32", "openvino:int8"])
def test_the_keys_are_the_same(checkpoint_folder: Path, tmp_path: Path, target: str) -> None:
    skip_without(target)
    convert(checkpoint_folder, tmp_path / "bundle", target, target_probes=False)
    with load(tmp_path / "bundle", threads=1) as model:
        told = model.info()["engine"]
    assert set(told) == set(Description.__annotations__)
    assert told["threads"] == 1
    assert told["batch_tokens"] > 1


@pytest.mark.parametrize(
    ("target", "activations"),
    [("torch:fp32", "float32"), ("bnb:int8", "int8, one scale a token"), ("bnb:nf4", "bfloat16")],
)
def test_pytorch_s_activations_are_those_of_the_products(
    checkpoint_folder: Path, tmp_path: Path, target: str, activations: str
) -> None:
    skip_without(target)
    convert(checkpoint_folder, tmp_path / "bundle", target, target_probes=False)
    with load(tmp_path / "bundle", device="cpu") as model:
        assert model.info()["engine"]["activations"] == activations
