"""Full-precision bundles: what is written is what the checkpoint holds."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from checkpoints import bfloat16_bits, write_checkpoint
from safetensors import safe_open

from c2llm_lite.bundle import SAFETENSORS
from c2llm_lite.convert.checkpoint import Checkpoint, backbone_names, open_checkpoint
from c2llm_lite.convert.checkpoint.safetensors_file import StoredTensor, read_header, widen
from c2llm_lite.convert.checkpoint.safetensors_writer import ALIGNMENT, Tensor, write_safetensors
from c2llm_lite.convert.targets import full, gguf, openvino


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path / "checkpoint", tied=False, shards=2))


def read(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: widen(tensor.read(), tensor.dtype) for tensor in read_header(path)}


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_fp32_is_exact(tmp_path: Path, dtype: str) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", dtype=dtype))
    types = full.write_backbone(checkpoint, tmp_path, "fp32")
    written = read(tmp_path / SAFETENSORS)
    assert types == dict.fromkeys(written, "fp32")
    for name, values in written.items():
        np.testing.assert_array_equal(values, checkpoint.tensor(name))


@pytest.mark.parametrize("write", [full.write_backbone, openvino.write_backbone, gguf.write_backbone])
def test_each_tensor_is_searched_for_nan_once(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optimum.exporters.openvino")
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", dtype="F32"))
    read: Counter[str] = Counter()

    def counted(tensor: StoredTensor, search=StoredTensor.read):
        read[tensor.name] += 1
        return search(tensor)

    monkeypatch.setattr(StoredTensor, "read", counted)
    write(checkpoint, tmp_path, "fp32" if write is openvino.write_backbone else "bf16")
    twice = ("self_attn.o_proj.weight", "self_attn.v_proj.bias") if write is openvino.write_backbone else ()
    # OpenVINO's value biases move behind o_proj's weights.
    wanted = {f"plm_model.model.{name}": 1 + name.endswith(twice) for name in backbone_names(checkpoint)}
    assert read == wanted


def test_bf16_of_bf16_is_exact(checkpoint: Checkpoint, tmp_path: Path) -> None:
    full.write_backbone(checkpoint, tmp_path, "bf16")
    for name, values in read(tmp_path / SAFETENSORS).items():
        np.testing.assert_array_equal(values, checkpoint.tensor(name))


@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_bf16_of_wider_is_rounded_to_nearest(tmp_path: Path, dtype: str) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", dtype=dtype))
    full.write_backbone(checkpoint, tmp_path, "bf16")
    for tensor in read_header(tmp_path / SAFETENSORS):
        np.testing.assert_array_equal(tensor.read(), bfloat16_bits(checkpoint.tensor(tensor.name)))


def test_only_the_backbone_is_written(checkpoint: Checkpoint, tmp_path: Path) -> None:
    full.write_backbone(checkpoint, tmp_path, "bf16")
    names = set(read(tmp_path / SAFETENSORS))
    left_out = {name for name in checkpoint.names() if name not in names}
    assert {name.partition(".")[0] for name in left_out} == {"embed_tokens", "lm_head", "mha_pma"}


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_memory_and_bits_are_the_file_s(checkpoint: Checkpoint, tmp_path: Path, kind: str) -> None:
    full.write_backbone(checkpoint, tmp_path, kind)
    weights = sum(values.size for values in read(tmp_path / SAFETENSORS).values())
    assert full.memory(checkpoint, kind) - full.LIBRARIES == weights * full.kinds(checkpoint)[kind] / 8


def test_one_tensor_in_memory_at_a_time(tmp_path: Path) -> None:
    """The file grows as tensors are drawn."""
    path = tmp_path / "file.safetensors"
    sizes = []

    def tensors():
        for i in range(4):
            sizes.append(path.stat().st_size)
            yield Tensor(f"t{i}", "F32", np.full(100_000, i, np.float32))

    write_safetensors(path, tensors(), 4)
    assert all(later - earlier >= 390_000 for earlier, later in itertools.pairwise(sizes[1:]))
    with safe_open(path, framework="np") as file:
        assert [float(file.get_tensor(f"t{i}").mean()) for i in range(4)] == [0, 1, 2, 3]
    assert (8 + int.from_bytes(path.read_bytes()[:8], "little")) % ALIGNMENT == 0


def test_more_tensors_than_room(tmp_path: Path) -> None:
    tensors = [Tensor(f"a long name of a tensor {i}" * 3, "F32", np.zeros(1, np.float32)) for i in range(20)]
    with pytest.raises(ValueError, match="20 tensors do not fit"):
        write_safetensors(tmp_path / "file", tensors, 2)
