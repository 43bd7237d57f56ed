"""Target auto: what is installed is tried on the checkpoint's own shape, and the fastest is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint

from c2llm_lite.convert import convert
from c2llm_lite.convert.checkpoint import backbone_names, open_checkpoint
from c2llm_lite.convert.targets import auto
from c2llm_lite.errors import ArgumentError, MissingDependencyError

LATER = ("layers.2.", "layers.3.")


def test_the_fastest_of_what_is_installed_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(auto, "CANDIDATES", ("torch:fp32", "torch:bf16"))
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", layers=4))
    target, rates = auto.choose(checkpoint)
    assert rates.keys() == {"torch:fp32", "torch:bf16"}
    assert rates[target] == max(rates.values()) > 0


def test_with_texts_only_targets_that_take_them_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_checkpoint(tmp_path / "checkpoint")
    tried = []

    def missing(*given: object) -> None:
        tried.append(given[-1])
        raise MissingDependencyError("openvino", "openvino", "an openvino bundle")

    monkeypatch.setattr(auto, "_engine", missing)
    texts = {"document": [f"def f{i}(x): return x" for i in range(8)]}
    with pytest.raises(MissingDependencyError, match=r"needs OpenVINO or llama\.cpp, which"):
        convert(source, tmp_path / "bundle", "auto", calibrate=texts)
    assert tried == ["openvino:int8", "gguf:q8_0"]
    with pytest.raises(ArgumentError, match="1 different calibration texts; at least 8"):
        convert(source, tmp_path / "bundle", "auto", calibrate={"document": ["a"]})
    assert len(tried) == 2


def test_what_is_not_installed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint"))

    def missing(*_: object) -> None:
        raise MissingDependencyError("openvino", "openvino", "an openvino bundle")

    monkeypatch.setattr(auto, "_engine", missing)
    with pytest.raises(MissingDependencyError, match="converting to auto"):
        auto.choose(checkpoint)


def test_the_trial_s_weights_are_the_first_layers_of_the_checkpoint_s(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", layers=4, vocab=3000))
    first = auto._FirstRows(checkpoint.first_layers(auto.LAYERS))
    assert (first.backbone.layers, first.backbone.vocab) == (2, 1024)
    assert backbone_names(first) == [name for name in backbone_names(checkpoint) if name[:9] not in LATER]
    assert first.shape("embed_tokens.weight") == first.stored("embed_tokens.weight")[0].shape == (1024, 64)
    np.testing.assert_array_equal(first.tensor("norm.weight"), checkpoint.tensor("norm.weight"))
