"""bitsandbytes bundles: what is stored, reloaded, is what bitsandbytes quantized."""

from __future__ import annotations

import sys
from pathlib import Path

import bitsandbytes as bnb
import numpy as np
import pytest
import torch
from checkpoints import write_checkpoint
from safetensors import safe_open

from c2llm_lite import bundle as bundles
from c2llm_lite.benchmarks.lab import nf4_memory
from c2llm_lite.convert import convert
from c2llm_lite.convert.calibrate.smoothing import Smoothing
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.convert.checkpoint.safetensors_file import read_header
from c2llm_lite.convert.proof.probes import token_ids
from c2llm_lite.convert.targets import bitsandbytes
from c2llm_lite.engines.torch.backbone import load_backbone
from c2llm_lite.errors import CheckpointError, MissingDependencyError

MATRICES = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")


@pytest.fixture(scope="module")
def checkpoint(checkpoint_folder: Path) -> Checkpoint:
    return open_checkpoint(checkpoint_folder)


@pytest.fixture(scope="module", params=["int8", "nf4"])
def bundle(request: pytest.FixtureRequest, checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("bnb") / request.param
    return convert(checkpoint_folder, folder, f"bnb:{request.param}", target_probes=False)


@pytest.fixture(scope="module")
def smoothing(checkpoint: Checkpoint) -> Smoothing:
    """What int8's tensors went through."""
    return Smoothing(checkpoint, token_ids(checkpoint), None)


def quantized(weights: np.ndarray, kind: str) -> torch.nn.Module:
    """A layer as bitsandbytes itself quantizes it when it is moved to a device."""
    weight = torch.from_numpy(np.array(weights))
    rows, width = weight.shape
    if kind == "int8":
        layer = bnb.nn.Linear8bitLt(width, rows, False, has_fp16_weights=False, threshold=0.0)
        layer.weight = bnb.nn.Int8Params(weight.half(), requires_grad=False, has_fp16_weights=False)
    else:
        layer = bnb.nn.Linear4bit(width, rows, False, compute_dtype=torch.bfloat16, quant_type="nf4")
        layer.weight = bnb.nn.Params4bit(weight.bfloat16(), requires_grad=False, quant_type="nf4", module=layer)
    return layer.to("cpu").eval()


def test_reloaded_layers_are_bitsandbytes_own(
    bundle: bundles.Bundle, checkpoint: Checkpoint, smoothing: Smoothing
) -> None:
    kind = bundle.manifest.target.removeprefix("bnb:")
    model = load_backbone(bundle, torch.device("cpu"))
    torch.manual_seed(0)
    for name in MATRICES:
        layer = model.get_submodule(f"layers.1.{name}")
        weights = checkpoint.tensor(f"layers.1.{name}.weight")
        own = quantized(smoothing(f"layers.1.{name}.weight", weights) if kind == "int8" else weights, kind)
        states = torch.randn(7, layer.in_features, dtype=torch.bfloat16)
        with torch.inference_mode():
            ours = layer(states) if layer.bias is None else layer(states) - layer.bias
            theirs = own(states)
        assert torch.equal(own.weight.data, layer.weight.data)
        torch.testing.assert_close(ours, theirs, atol=0.02 if layer.bias is not None else 0, rtol=0)


def test_gains_and_biases_stay_in_bf16(bundle: bundles.Bundle, checkpoint: Checkpoint, smoothing: Smoothing) -> None:
    kind = bundle.manifest.target.removeprefix("bnb:")
    types = {name: dtype for name, dtype in bundle.manifest.tensors.items() if name != "embed_tokens.weight"}
    assert types == {n: kind if len(checkpoint.shape(n)) == 2 else "bf16" for n in types}
    assert len(types) == 2 * 12 + 1
    model = load_backbone(bundle, torch.device("cpu"))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert parameter.dtype == torch.bfloat16
            values = checkpoint.tensor(name)
            values = smoothing(name, values) if kind == "int8" else values
            np.testing.assert_array_equal(parameter.float().numpy(), values)


def test_no_wide_matrix_is_stored_or_loaded(bundle: bundles.Bundle) -> None:
    with safe_open(bundle.path(bundles.SAFETENSORS), framework="pt") as file:
        wide = [name for name in file.keys() if name.endswith("proj.weight") and file.get_tensor(name).itemsize > 1]  # noqa: SIM118 - no mapping
    assert not wide
    model = load_backbone(bundle, torch.device("cpu"))
    assert all(p.itemsize == 1 for p in model.parameters() if p.ndim == 2)


def test_size_from_the_shapes_is_the_file_s(bundle: bundles.Bundle) -> None:
    kind = bundle.manifest.target.removeprefix("bnb:")
    path = bundle.path(bundles.SAFETENSORS)
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert path.stat().st_size - header == bitsandbytes.stored_bytes(bundle.manifest.backbone, kind)


def test_7b_in_nf4_fits_a_card_of_6_gb() -> None:
    sizes = nf4_memory.sizes()
    assert 3.3e9 < sizes["weights"] < 3.6e9
    assert sizes["on_the_gpu"] < 6e9


@pytest.mark.parametrize(("options", "refused"), [({"hidden": 96, "heads": 4}, 96), ({"kv_heads": 1}, 16)])
def test_shapes_that_nf4_cannot_hold(tmp_path: Path, options: dict[str, int], refused: int) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path, **options))
    assert list(bitsandbytes.kinds(checkpoint)) == ["int8"]
    with pytest.raises(CheckpointError, match=rf"bnb:nf4 takes rows.*{refused}.*bnb:int8 instead"):
        bitsandbytes.write_backbone(checkpoint, tmp_path, "nf4")


def test_kinds(checkpoint: Checkpoint) -> None:
    bits = bitsandbytes.kinds(checkpoint)
    assert 8 < bits["int8"] < 9
    assert 4 < bits["nf4"] < 7  # tables weigh much in matrices this small


def test_a_weight_beyond_fp16(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", dtype="F32")
    path = folder / "model.safetensors"
    tensor = next(t for t in read_header(path) if t.name.endswith("layers.1.mlp.up_proj.weight"))
    with path.open("r+b") as file:
        file.seek(tensor.start)
        file.write(np.float32(1e12).tobytes())
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.(up|down)_proj\.weight.*65504.*bnb:nf4 instead"):
        bitsandbytes.write_backbone(open_checkpoint(folder), tmp_path, "int8")


@pytest.mark.parametrize("library", ["torch", "bitsandbytes"])
def test_a_library_is_missing(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"bnb:nf4 needs {library}.*c2llm-lite\[bitsandbytes\]"):
        bitsandbytes.write_backbone(checkpoint, tmp_path, "nf4")
