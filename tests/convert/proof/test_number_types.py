"""The largest values on the probes, as transformers has them, and warnings where a target cannot hold them."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from safetensors.numpy import load_file, save_file

from c2llm_lite.bundle import Probe
from c2llm_lite.convert import convert, reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.proof.number_types import warnings
from c2llm_lite.convert.reference import Largest

TEXTS = [[5, 6, 7, 8, 300], [9, 10], [11] * 40]


def test_the_largest_values_are_transformers_own(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "c", dtype="F32"))
    found = Largest()
    reference.states(checkpoint, TEXTS, largest=found)

    config = transformers.Qwen2Config(**json.loads((tmp_path / "c" / "config.json").read_text()))
    model = transformers.Qwen2Model(config).eval()
    prefix = "plm_model.model."
    weights = load_file(tmp_path / "c" / "model.safetensors")
    tensors = {n.removeprefix(prefix): torch.tensor(w) for n, w in weights.items() if n.startswith(prefix)}
    model.load_state_dict(tensors)
    seen = {"state": 0.0, "matrix_input": 0.0, "key_or_value": 0.0}

    def note(name, values):
        seen[name] = max(seen[name], float(values.abs().max()))

    for layer in model.layers:
        layer.register_forward_hook(lambda _, given, out: note("state", out[0] if isinstance(out, tuple) else out))
        attention, mlp = layer.self_attn, layer.mlp
        for matrix in (attention.q_proj, attention.o_proj, mlp.gate_proj, mlp.down_proj):
            matrix.register_forward_hook(lambda _, given, out: note("matrix_input", given[0]))
        for matrix in (attention.k_proj, attention.v_proj):
            matrix.register_forward_hook(lambda _, given, out: note("key_or_value", out))
    with torch.inference_mode():
        for text in TEXTS:
            model(torch.tensor([text]))
    for name, value in seen.items():
        assert vars(found)[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize(
    ("target", "largest", "cosine", "said"),
    [
        (("gguf", "f16", 16), Largest(1e4, 100, 100), 0.9999, []),
        (("gguf", "f16", 16), Largest(1e5, 4e4, 100), 0.9999, ["inputs of its matrices reach 40,000.*gguf:bf16"]),
        (("gguf", "q8_0", 8), Largest(1e5, 4e4, 100), 0.9999, []),
        (("gguf", "q8_0", 8), Largest(10, 10, 4e4), 0.9999, ["keys and values reach 40,000.*openvino:int8"]),
        (("openvino", "int8", 8), Largest(10, 10, 4e4), 0.96, []),
        (("openvino", "int8", 8), Largest(3e3, 10, 10), 0.93, [r"0\.9300, where 8 bits keep .* states reach 3,000"]),
        (("torch", "bf16", 16), Largest(3e3, 10, 10), 0.99, [r"0\.9900, where 16 bits .* torch:fp32"]),
        (("gguf", "int4", 4), Largest(3e3, 10, 10), 0.8, []),
    ],
)
def test_what_a_target_cannot_hold_is_said(target, largest, cosine, said) -> None:
    found = warnings(*target, largest, (Probe("x", 1, cosine), Probe("y", 1, None)))
    assert len(found) == len(said)
    for sentence, words in zip(found, said, strict=True):
        assert re.search(words, sentence)


def test_convert_warns_and_notes_the_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_checkpoint(tmp_path / "c", dtype="F32")
    tensors = load_file(folder / "model.safetensors")
    tensors["plm_model.model.layers.1.self_attn.k_proj.bias"] = np.full(32, 5e4, np.float32)
    save_file(tensors, folder / "model.safetensors")
    with caplog.at_level(logging.WARNING):
        made = convert(folder, tmp_path / "b", "gguf:q8_0", target_probes=False)
    assert made.manifest.notes["largest"]["key_or_value"] == pytest.approx(5e4, rel=0.01)
    assert "keys and values reach 50,0" in caplog.text
