"""A small Llama-shaped backbone of random weights, and its states by transformers."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

Array = NDArray[np.float32]

LAYERS, HIDDEN, HEADS, KV_HEADS, INTERMEDIATE = 2, 64, 4, 2, 96


def to_q4_1(weight: Array) -> Array:
    q4_1 = GGMLQuantizationType.Q4_1
    rounded: Array = dequantize(quantize(weight, q4_1), q4_1)
    return rounded


def random_backbone(seed: int = 0) -> dict[str, Array]:
    """Llama-shaped weights on a Q4_1 grid, norms that are not 1."""
    random = np.random.default_rng(seed)
    kv = HIDDEN * KV_HEADS // HEADS
    shapes = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (kv, HIDDEN),
        "self_attn.v_proj": (kv, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
        "mlp.up_proj": (INTERMEDIATE, HIDDEN),
        "mlp.down_proj": (HIDDEN, INTERMEDIATE),
    }
    weights = {}
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            weights[f"layers.{layer}.{name}.weight"] = to_q4_1(random.normal(0, 0.15, shape).astype(np.float32))
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"layers.{layer}.{norm}.weight"] = random.uniform(0.5, 2, HIDDEN).astype(np.float32)
    weights["norm.weight"] = random.uniform(0.5, 2, HIDDEN).astype(np.float32)
    weights["embed_tokens.weight"] = random.normal(0, 1, (50, HIDDEN)).astype(np.float32)
    return weights


def final_states(weights: dict[str, Array]) -> Array:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
    )
    model = transformers.LlamaModel(config).eval()
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    with torch.inference_mode():
        states: Array = model(torch.arange(24)[None]).last_hidden_state[0].numpy()
    return states
