"""What a target's traits make of a conversion: which texts it takes, and whether it is smoothed by them."""

from __future__ import annotations

import sys

import pytest

from c2llm_lite.convert import convert, reference
from c2llm_lite.convert.calibrate.layers import Calibration
from c2llm_lite.convert.calibrate.smoothing import Smoothed
from c2llm_lite.convert.checkpoint import Weights, open_checkpoint
from c2llm_lite.convert.targets.backbone import write_backbone
from c2llm_lite.convert.targets.registry import parse
from c2llm_lite.errors import MissingDependencyError

TEXTS = [list(range(1, 60)), list(range(200, 230)), [7, 7, 9]]


@pytest.mark.parametrize("target", ["gguf:f16", "openvino:fp32", "torch:bf16"])
def test_a_target_that_quantizes_nothing_refuses_texts(target, checkpoint_folder, tmp_path):
    with pytest.raises(ValueError, match=f"{target} is not quantized"):
        convert(checkpoint_folder, tmp_path / "bundle", target, calibrate={"document": ["def f(): pass"]})
    assert not (tmp_path / "bundle").exists()


def test_static_scales_need_texts(checkpoint_folder, tmp_path):
    with pytest.raises(ValueError, match="int8-static fixes the scales of activations on texts; pass --calibrate"):
        write_backbone(parse("openvino:int8-static"), open_checkpoint(checkpoint_folder), tmp_path, None)


@pytest.mark.parametrize(
    ("target", "texts", "takes"),
    [("gguf:q8_0", TEXTS, True), ("gguf:q4_1", TEXTS, False), ("bnb:int8", TEXTS, False), ("gguf:q4_0", None, False)],
)
def test_texts_reach_the_converters_that_round_by_them(target, texts, takes, checkpoint_folder, tmp_path, monkeypatch):
    seen = []
    wanted = parse(target)
    monkeypatch.setattr(wanted.converter, "write_backbone", lambda *_, **calibrated: seen.append(calibrated) or {})
    calibration = None if texts is None else Calibration(texts)
    write_backbone(wanted, open_checkpoint(checkpoint_folder), tmp_path, calibration)
    assert seen == [{"calibration": calibration} if takes else {}]


def test_missing_libraries_are_found_before_the_texts_run(tmp_path, checkpoint_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    monkeypatch.setattr(reference, "states", lambda *given, **named: pytest.fail("the reference ran"))
    with pytest.raises(MissingDependencyError, match="nncf"):
        write_backbone(parse("openvino:int8"), open_checkpoint(checkpoint_folder), tmp_path, None)


@pytest.mark.parametrize(
    ("target", "texts", "smooth"),
    [
        ("openvino:int8", None, True),
        ("openvino:int8", TEXTS, True),
        ("bnb:int8", None, True),
        ("gguf:q8_0", None, False),
        ("gguf:q8_0", TEXTS, True),
        ("gguf:int4", TEXTS, False),
        ("openvino:fp32", None, False),
    ],
)
def test_targets_with_rounded_activations_are_smoothed(target, texts, smooth, checkpoint_folder, tmp_path, monkeypatch):
    seen: list[Weights] = []
    wanted = parse(target)
    monkeypatch.setattr(wanted.converter, "write_backbone", lambda given, *_, **__: seen.append(given) or {})
    calibration = None if texts is None else Calibration(texts)
    write_backbone(wanted, open_checkpoint(checkpoint_folder), tmp_path, calibration)
    assert [isinstance(given, Smoothed) for given in seen] == [smooth]
