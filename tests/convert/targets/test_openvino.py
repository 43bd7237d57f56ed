"""The OpenVINO converter: what type each tensor is in, and what it refuses."""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

from c2llm_lite.bundle import OPENVINO_GRAPH
from c2llm_lite.convert import convert
from c2llm_lite.convert.calibrate.layers import Calibration
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.checkpoint.safetensors_file import Dtype, Stored
from c2llm_lite.convert.targets import openvino as target
from c2llm_lite.convert.targets.openvino.codes import products
from c2llm_lite.errors import CheckpointError, MissingDependencyError

MATRICES = 7  # of a layer
LAYERS = 2


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), layers=LAYERS)


def test_every_matrix_is_in_the_type_asked_for(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("optimum.exporters.openvino")
    checkpoint = open_checkpoint(source)
    sizes = {}
    for kind, name in {"int8": "i8", "int4": "i4", "fp32": "bf16"}.items():  # fp32 holds the checkpoint's bf16, exact
        folder = tmp_path / kind
        folder.mkdir()
        types = target.write_backbone(checkpoint, folder, kind)
        matrices = [types[n] for n in types if len(checkpoint.shape(n)) == 2]
        assert matrices == [name] * MATRICES * LAYERS
        assert set(types) == {n for n in checkpoint.names() if n.startswith(("layers.", "norm."))}
        assert sorted(path.name for path in folder.iterdir()) == ["openvino_model.bin", "openvino_model.xml"]
        sizes[kind] = (folder / "openvino_model.bin").stat().st_size
    assert sizes["int4"] < sizes["int8"] < sizes["fp32"]


def test_a_bias_of_zeros_is_reported_of_though_the_graph_leaves_it_out(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("optimum.exporters.openvino")
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", dtype="F32", layers=1))
    whole = checkpoint.stored

    def stored(name: str) -> tuple[Stored, Dtype]:
        values, dtype = whole(name)
        return (0 * values if name.endswith("bias") else values), dtype

    checkpoint.stored = stored  # type: ignore[method-assign]
    types = target.write_backbone(checkpoint, tmp_path, "int8")
    assert [dtype for name, dtype in types.items() if name.endswith("bias")] == ["f32"] * 3


def test_bits_count_scales_and_vectors(source: Path) -> None:
    bits = target.kinds(open_checkpoint(source))
    assert bits["fp32"] == 32
    assert 8 < bits["int8"] < 9
    assert 4.5 < bits["int4"] < 5


def test_int4_refuses_a_width_that_its_groups_do_not_divide(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", hidden=80, pma_heads=4))
    assert "int4" not in target.kinds(checkpoint)
    with pytest.raises(CheckpointError, match="rows of 80"):
        target.write_backbone(checkpoint, tmp_path, "int4")


def test_static_scales_are_those_of_all_products_but_down(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("optimum.exporters.openvino")
    texts = [list(range(start, start + 30)) for start in range(20)]
    target.write_backbone(open_checkpoint(source), tmp_path, "int8-static", calibration=Calibration(texts))
    graph = import_module("openvino").Core().read_model(tmp_path / OPENVINO_GRAPH)
    fixed = [
        module.rpartition(".")[2]
        for module, product in products(graph)
        if product.input_value(0).get_node().get_type_name() == "FakeQuantize"
    ]
    assert Counter(fixed) == dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"), LAYERS)


def test_convert_records_what_it_calibrated_on(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("optimum.exporters.openvino")
    texts = [f"def add(a, b): return a + b + {i}" for i in range(8)]
    bundle = convert(source, tmp_path / "bundle", "openvino:int4", calibrate={"document": texts, "query": ["add"]})
    assert bundle.manifest.notes["calibration"]["texts"] == 9


def test_missing_libraries_name_the_extra(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingDependencyError, match=r"c2llm-lite\[convert-openvino\]"):
        target.write_backbone(open_checkpoint(source), tmp_path, "int8")


def test_torchvision_that_does_not_fit_is_named_with_its_fix(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(MissingDependencyError, match=r"nms does not exist.*pip uninstall torchvision"):
        target.write_backbone(open_checkpoint(source), tmp_path, "int8")
