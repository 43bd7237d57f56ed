"""The names of a Qwen2 backbone's tensors in a checkpoint (Hugging Face's) and in a GGUF file (llama.cpp's); shapes."""

from __future__ import annotations

from collections.abc import Iterator

from ...bundle import MATRIX, Backbone

LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
BIASED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def tensor_names(layers: int) -> Iterator[tuple[str, str]]:
    """Each tensor's name in the checkpoint and in the file, the token embeddings apart."""
    for layer in range(layers):
        for name, gguf_name in LAYER_NAMES.items():
            for part in ("weight", "bias") if name in BIASED else ("weight",):
                yield f"layers.{layer}.{name}.{part}", f"blk.{layer}.{gguf_name}.{part}"
    yield "norm.weight", "output_norm.weight"


def tensor_shape(name: str, backbone: Backbone) -> tuple[int, ...]:
    """A tensor's shape by its name in the checkpoint: (rows, columns), or (rows,) of a vector."""
    rows = {
        "k_proj": backbone.kv_heads * backbone.head_dim,
        "v_proj": backbone.kv_heads * backbone.head_dim,
        "gate_proj": backbone.intermediate,
        "up_proj": backbone.intermediate,
    }.get(name.split(".")[-2], backbone.hidden)
    if not name.endswith(MATRIX):
        return (rows,)
    return rows, backbone.intermediate if "down_proj" in name else backbone.hidden
