"""The torch engine's own Qwen2 matches transformers', and does not need it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2Model

from c2llm_lite.bundle import Backbone
from c2llm_lite.convert import convert
from c2llm_lite.engines.torch.qwen2 import Qwen2
from c2llm_lite.engines.torch.texts import Texts

SHAPES = {
    "shared kv heads": Backbone(
        layers=3,
        hidden=64,
        intermediate=96,
        heads=4,
        kv_heads=2,
        vocab=400,
        tied=True,
        max_positions=512,
        rope_theta=1e6,
        rms_norm_eps=1e-6,
    ),
    "one kv head": Backbone(
        layers=2,
        hidden=96,
        intermediate=64,
        heads=6,
        kv_heads=1,
        vocab=400,
        tied=True,
        max_positions=512,
        rope_theta=1e4,
        rms_norm_eps=1e-5,
    ),
}
LENGTHS = [1, 17, 17, 300, 2]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_states_are_transformers(shape: Backbone, dtype: torch.dtype, tolerance: float) -> None:
    """Relative to each state's length; bf16's rounding is 4e-3 of a component, PyTorch 2.8's attention 0.022 off."""
    torch.manual_seed(0)
    theirs = Qwen2Model(
        Qwen2Config(
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=shape.max_positions,
            rms_norm_eps=shape.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
            vocab_size=1,
        )
    )
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(1 if parameter.dim() == 1 else 0, 0.2)
            parameter.data = parameter.to(dtype)  # RoPE's frequencies stay fp32
    theirs.eval()
    ours = Qwen2(shape)
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k != "embed_tokens.weight"}, assign=True)
    rows = torch.randn(sum(LENGTHS), shape.hidden).to(dtype)
    with torch.inference_mode():
        found = ours(rows, Texts(LENGTHS, torch.device("cpu")))
        wanted = torch.cat([theirs(inputs_embeds=text[None]).last_hidden_state[0] for text in rows.split(LENGTHS)])
    assert found.dtype == dtype
    difference = (found.float() - wanted.float()).norm(dim=1) / wanted.float().norm(dim=1)
    assert difference.max() < tolerance


def test_transformers_is_not_imported(checkpoint_folder: Path, tmp_path: Path) -> None:
    """Whatever release of it is installed beside this package, or none."""
    folder = convert(checkpoint_folder, tmp_path / "bundle", "torch:fp32", target_probes=False).folder
    code = (
        "import sys; sys.modules['transformers'] = None; import c2llm_lite; "
        f"print(c2llm_lite.load({str(folder)!r}, device='cpu', threads=1).embed('x').shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(64,)\n"
