"""Value biases behind attention: the same states at full precision, and nearer ones in int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_checkpoint
from numpy.typing import NDArray

from c2llm_lite.bundle import OPENVINO_GRAPH
from c2llm_lite.convert import convert
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.convert.checkpoint.safetensors_file import Dtype, Stored
from c2llm_lite.convert.targets import openvino as target
from c2llm_lite.convert.targets.openvino import value_biases
from c2llm_lite.convert.targets.openvino.codes import behind, products

LARGE = 30.0
TEXTS = {"document": [f"def f_{i}(x):\n    return x + {i}" for i in range(9)]}
pytestmark = pytest.mark.usefixtures("large")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint's value biases are large."""
    whole = Checkpoint.stored

    def stored(self: Checkpoint, name: str) -> tuple[Stored, Dtype]:
        values, dtype = whole(self, name)
        return (np.sign(values) * np.float32(LARGE) if name.endswith("v_proj.bias") else values), dtype

    monkeypatch.setattr(Checkpoint, "stored", stored)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pytest.importorskip("optimum.exporters.openvino")
    return write_checkpoint(tmp_path / "checkpoint", dtype="F32")


def cosines(folder: Path) -> NDArray[np.float64]:
    manifest = convert(folder, folder.parent / "bundle", "openvino:int8", force=True).manifest
    return np.array([probe.cosine for probe in manifest.probes])


def test_int8_comes_nearer_to_full_precision(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = cosines(source)
    monkeypatch.setattr(target, "move_value_biases", lambda *_: None)
    assert (1 - moved).mean() < (1 - cosines(source)).mean() / 2


def test_full_precision_stays(source: Path, tmp_path: Path) -> None:
    probes = convert(source, tmp_path / "bundle", "openvino:fp32").manifest.probes
    assert min(probe.cosine or 0 for probe in probes) > 0.99999


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_a_calibrated_graph_adds_what_its_own_weights_make_of_the_bias(kind: str, source: Path, tmp_path: Path) -> None:
    import openvino

    convert(source, tmp_path / "bundle", f"openvino:{kind}", calibrate=TEXTS, target_probes=False)
    graph = openvino.Core().read_model(tmp_path / "bundle" / OPENVINO_GRAPH)
    constants = value_biases.moved(graph)
    assert len(constants) == open_checkpoint(source).backbone.layers
    for module, product in products(graph):
        if module in constants:
            multiply = behind(product, "Multiply")
            codes, scales = (constant_behind(multiply, side) for side in (0, 1))
            weights = (codes * scales).reshape(len(scales), -1)
            wanted = value_biases.passed_on(open_checkpoint(source), module, weights)
            np.testing.assert_allclose(constants[module].get_data(), wanted, rtol=1e-5, atol=1e-4)


def constant_behind(node: Any, side: int) -> NDArray[np.float32]:
    found = node.input_value(side).get_node()
    while found.get_type_name() != "Constant":
        found = found.input_value(0).get_node()
    values = found.get_data()
    if found.get_element_type().to_string() == "i4":  # two to a byte, the first in the low bits
        bits = values.reshape(-1).view(np.uint8)
        values = (np.stack([bits & 15, bits >> 4], axis=1) ^ 8).astype(np.int8) - 8
    return np.asarray(values, np.float32).reshape(found.get_output_shape(0))
