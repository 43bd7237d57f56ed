"""Target auto: what is installed is tried on the checkpoint's own shape, and the fastest is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import write_checkpoint

from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.targets import auto
from c2llm_lite.errors import MissingDependencyError


def test_the_fastest_of_what_is_installed_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(auto, "CANDIDATES", ("torch:fp32", "torch:bf16"))
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", layers=4))
    tried: list[str] = []
    target, rates = auto.choose(checkpoint, tried.append)
    assert tried == ["torch:fp32", "torch:bf16"]
    assert rates.keys() == set(tried)
    assert rates[target] == max(rates.values()) > 0


def test_what_is_not_installed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint"))

    def missing(*_: object) -> None:
        raise MissingDependencyError("openvino", "openvino", "an openvino bundle")

    monkeypatch.setattr(auto, "_engine", missing)
    with pytest.raises(MissingDependencyError, match="converting to auto"):
        auto.choose(checkpoint)
