"""Bundles of the first layers of a backbone, with a head that was refitted to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from needed import skip_without
from safetensors.numpy import load_file

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite import pma
from c2llm_lite.convert import convert, head, reference
from c2llm_lite.convert.checkpoint import backbone_names, open_checkpoint
from c2llm_lite.errors import ArgumentError, BundleError, DeviceError
from c2llm_lite.head_file import read_head
from c2llm_lite.pma import Array
from c2llm_lite.search import Index
from c2llm_lite.verify import verify

LAYERS, KEPT = 4, 2
TEXTS = {"document": [f"def f{i}(x): return x * {i}" for i in range(24)], "query": [f"multiply {i}" for i in range(16)]}
TARGETS = ("gguf:f16", "gguf:int4", "openvino:fp32", "openvino:int8", "torch:fp32", "bnb:nf4")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "deep", layers=LAYERS)


@pytest.fixture(scope="module")
def half(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bundles.Bundle:
    return convert(source, tmp_path_factory.mktemp("bundles") / "half", "gguf:f32", layers=KEPT, calibrate=TEXTS)


def test_a_cut_checkpoint_has_its_first_layers_and_the_whole_one_s_hash(source: Path) -> None:
    whole = open_checkpoint(source)
    cut = whole.first_layers(KEPT)
    assert cut.backbone.layers == KEPT
    assert whole.backbone.layers == LAYERS
    assert cut.sha256 == whole.sha256
    left = [name for name in backbone_names(whole) if not name.startswith(("layers.2.", "layers.3."))]
    assert backbone_names(cut) == left
    text = [[5, 6, 7]]
    np.testing.assert_array_equal(reference.states(whole.first_layers(LAYERS), text), reference.states(whole, text))


@pytest.mark.parametrize("layers", [0, -1, LAYERS + 1])
def test_a_depth_that_it_does_not_have_is_refused(layers: int, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=f"deep has {LAYERS} layers, so {layers} cannot be kept"):
        convert(source, tmp_path / "bundle", "gguf:f16", layers=layers, calibrate=TEXTS)


def test_fewer_layers_need_texts(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="fewer layers need texts to refit the head on; pass --calibrate FILE"):
        convert(source, tmp_path / "bundle", "gguf:int4", layers=KEPT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", TARGETS)
def test_every_engine_runs_the_first_layers(target: str, source: Path, tmp_path: Path) -> None:
    skip_without(target)
    made = convert(source, tmp_path / "bundle", target, layers=KEPT, calibrate=TEXTS)
    assert made.manifest.backbone.layers == KEPT
    assert {name.split(".")[1] for name in made.manifest.tensors if name.startswith("layers.")} == {"0", "1"}
    noted = made.manifest.notes["depth"]
    assert (noted["layers"], noted["of"]) == (KEPT, LAYERS)
    assert noted["head"] in ("ridge", "distilled")
    assert noted["held_back"]["texts"] == 5
    assert all(result.passed for result in verify(made.folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]
    texts = TEXTS["document"][:4]
    with c2llm_lite.load(made.folder) as model:
        ids = model._tokenizer.encode(texts)
        found = model.embed(texts)
    wanted = _vectors(reference.states(open_checkpoint(source).first_layers(KEPT), ids), read_head(made))
    least = 0.9999 if made.manifest.matrix_type() in ("f32", "f16", "fp32", "bf16") else 0.97
    assert (found * wanted).sum(axis=1).min() > least


def test_the_target_may_be_chosen_for_fewer_layers(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("c2llm_lite.convert.choose", lambda checkpoint, calibrated: ("gguf:q8_0", {"gguf:q8_0": 9.0}))
    made = convert(source, tmp_path / "bundle", "auto", layers=KEPT, calibrate=TEXTS, target_probes=False)
    assert (made.manifest.target, made.manifest.backbone.layers) == ("gguf:q8_0", KEPT)
    assert made.manifest.notes["trial"]["tokens_per_second"] == {"gguf:q8_0": 9.0}


def test_the_refitted_head_is_nearer_to_the_whole_model(half: bundles.Bundle, source: Path) -> None:
    checkpoint = open_checkpoint(source)
    texts = [f"def g{i}(y): return y * {i} + 1" for i in range(20)]
    with c2llm_lite.load(half.folder) as model:
        ids = model._tokenizer.encode(texts)
        found = model.embed(texts)
    wanted = reference.vectors(checkpoint, ids)
    own = pma.Head(checkpoint.head(), checkpoint.variant)
    before = _vectors(reference.states(checkpoint.first_layers(KEPT), ids), own)
    assert (found * wanted).sum(axis=1).mean() > (before * wanted).sum(axis=1).mean() + 0.005


def test_the_same_texts_give_the_same_bytes(half: bundles.Bundle, source: Path, tmp_path: Path) -> None:
    again = convert(source, tmp_path / "again", "gguf:f32", layers=KEPT, calibrate=TEXTS)
    assert again.sha256 == half.sha256


def test_the_head_is_distilled_or_the_ridge_map_stays(half: bundles.Bundle) -> None:
    noted, held = half.manifest.notes["depth"], load_file(half.path(bundles.HEAD))
    losses = noted["held_back"]
    assert noted["head"] == ("distilled" if losses["distilled"] < losses["ridge"] else "ridge")
    assert (bundles.MAP_MATRIX in held) == (noted["head"] == "ridge")


def test_all_layers_are_an_ordinary_conversion(source: Path, tmp_path: Path) -> None:
    whole = convert(source, tmp_path / "whole", "gguf:q4_0", calibrate=TEXTS, target_probes=False)
    named = convert(source, tmp_path / "named", "gguf:q4_0", calibrate=TEXTS, target_probes=False, layers=LAYERS)
    assert named.sha256 == whole.sha256
    assert "depth" not in named.manifest.notes


def test_a_head_that_cannot_be_refitted_is_an_error(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise head.CannotRunHereError("no memory")

    monkeypatch.setattr(head, "refit", cannot)
    with pytest.raises(DeviceError, match="gguf:int4 cannot run here to refit it: no memory; convert where it can run"):
        convert(source, tmp_path / "bundle", "gguf:int4", layers=KEPT, calibrate=TEXTS)
    assert not (tmp_path / "bundle").exists()


def _vectors(states: list[Array], given: pma.Head) -> Array:
    found = given.embed(np.stack([pma.pool(text, given.queries) for text in states]))
    unit: Array = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def test_info_shows_the_depth(half: bundles.Bundle) -> None:
    done = _run("info", half.folder)
    assert "64 components, from 2 of 4 layers of width 64" in done.stdout


def test_verify_against_the_checkpoint_compares_the_layers_that_are_there(
    half: bundles.Bundle, source: Path, tmp_path: Path
) -> None:
    done = _run("verify", half.folder, "--against", source)
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("the reference is the checkpoint's first 2 of 4 layers in fp32 with the bundle's own head")
    assert last.endswith("texts at or above --min-cosine 0.99")
    found = json.loads(_run("verify", half.folder, "--against", source, "--json").stdout)
    assert found["mean"] > 0.9999
    assert found["reference_layers"] == KEPT
    other = write_checkpoint(tmp_path / "other", layers=LAYERS, intermediate=192)
    refused = _run("verify", half.folder, "--against", other)
    assert refused.returncode == 1
    assert "was made from deep, not from other" in refused.stderr


def test_an_index_takes_depths_for_different_spaces(half: bundles.Bundle, source: Path, tmp_path: Path) -> None:
    whole = convert(source, tmp_path / "whole", "gguf:f32", target_probes=False)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("def double(x):\n    return 2 * x\n")
    places = []
    for bundle in (half, whole):
        with c2llm_lite.load(bundle.folder) as model, Index(model, tmp_path / "src") as index:
            places.append(index.place)
    assert places[0] != places[1]
    with c2llm_lite.load(half.folder) as model, Index(model, tmp_path / "src", index=tmp_path / "index") as index:
        index.update()
    with (
        c2llm_lite.load(whole.folder) as model,
        pytest.raises(BundleError, match="was made with another bundle"),
    ):
        Index(model, tmp_path / "src", index=tmp_path / "index")


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "c2llm_lite", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
