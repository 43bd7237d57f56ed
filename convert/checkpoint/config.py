"""config.json of a C2LLM checkpoint: the backbone's shape, the head's variant, and what this package cannot run.

Two groups of fields stand in one file: Qwen2's own, which must be there, and those of the C2LLM lineage (CodeFuse-CGE,
D2LLM), any of which may be missing. A value that would change the arithmetic is refused by name, never ignored.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from c2llm_lite import pma
from c2llm_lite.bundle import Backbone
from c2llm_lite.errors import CheckpointError

Config = Mapping[str, Any]
DEFAULT_PMA_HEADS = 32  # arXiv 2512.21332, both sizes
DEFAULT_MAX_TOKENS = 2048  # what the model was evaluated at
# What engines hold counts and numbers in: int32 and fp32.
LARGEST_COUNT = 2**31 - 1
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
SHOWN = 80  # characters of a wrong value


def backbone(config: Config, has_lm_head: bool) -> Backbone:
    """The backbone's shape. Raises CheckpointError, naming the field, for one missing, wrong or not Qwen2's."""
    layers = _count(config, "num_hidden_layers")
    heads = _count(config, "num_attention_heads")
    kv_heads = heads if config.get("num_key_value_heads") is None else _count(config, "num_key_value_heads")
    hidden = _count(config, "hidden_size")
    if hidden % heads or hidden // heads % 2:
        raise CheckpointError(f"config.json: hidden_size {hidden} is not {heads} attention heads of an even width")
    if heads % kv_heads:
        raise CheckpointError(
            f"config.json: num_attention_heads {heads} is not divisible by num_key_value_heads {kv_heads}"
        )
    if config.get("head_dim") not in (None, hidden // heads):
        raise _unsupported("head_dim", config["head_dim"], f"hidden_size / num_attention_heads, {hidden // heads}")
    if config.get("hidden_act", "silu") != "silu":
        raise _unsupported("hidden_act", config["hidden_act"], "silu")
    _refuse_sliding_window(config, layers)
    return Backbone(
        hidden=hidden,
        intermediate=_count(config, "intermediate_size"),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        vocab=_count(config, "vocab_size"),
        rope_theta=_rope_theta(config),
        rms_norm_eps=_positive(config, "rms_norm_eps"),
        max_positions=_count(config, "max_position_embeddings"),
        tied=bool(config.get("tie_word_embeddings", not has_lm_head)),
    )


def variant(config: Config, layers: int) -> pma.Variant:
    """The head's variant. Raises CheckpointError, naming the field, for a head or a layer that C2LLM does not use."""
    for field, wanted in (
        ("embedding_method", "pma"),
        ("pma_norm_mode", "post_normal"),
        ("pma_norm", False),
        ("pma_ln", True),
    ):
        if config.get(field) not in (None, wanted):
            raise _unsupported(field, config[field], str(wanted))
    # The older models index the list of hidden states with it: entry `layers`, or -1, is the last, after the norm.
    last = config.get("keep_max_layer")
    if last is not None and (type(last) is not int or (last < layers and last != -1)):
        raise _unsupported("keep_max_layer", last, f"the last layer, {layers}")
    if config.get("pma_num_heads") is None:
        return pma.Variant(heads=DEFAULT_PMA_HEADS)
    return pma.Variant(heads=_count(config, "pma_num_heads"))


def max_tokens(config: Config) -> int:
    """The longest text, in tokens, prefix included."""
    wanted = DEFAULT_MAX_TOKENS if config.get("inf_seq_length") is None else _count(config, "inf_seq_length")
    return min(wanted, _count(config, "max_position_embeddings"))


def _rope_theta(config: Config) -> float:
    # transformers before release 5 wrote rope_theta and rope_scaling; from then on rope_parameters holds both.
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(scaling, dict):
        raise _unsupported("rope_parameters", scaling, "a JSON object")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise _unsupported("rope_type", kind, "default")
    for source in (scaling, config):
        if source.get("partial_rotary_factor") not in (None, 1.0):
            raise _unsupported("partial_rotary_factor", source["partial_rotary_factor"], "1.0")
    found = {_positive(source, "rope_theta") for source in (scaling, config) if "rope_theta" in source}
    if len(found) != 1:
        what = "has two values" if found else "is missing"
        raise CheckpointError(
            f"config.json: rope_theta {what}; copy config.json again from where the weights come from"
        )
    return found.pop()


def _refuse_sliding_window(config: Config, layers: int) -> None:
    # Layers from max_window_layers on use the window, if use_sliding_window is set; layer_types says it outright.
    kinds = config.get("layer_types") or []
    if not isinstance(kinds, list):
        raise _unsupported("layer_types", kinds, "a list of full_attention")
    windowed = config.get("use_sliding_window") and config.get("sliding_window") is not None
    full = config.get("max_window_layers")
    if any(kind != "full_attention" for kind in kinds) or (
        windowed and not kinds and (type(full) is not int or full < layers)
    ):
        raise _unsupported("use_sliding_window", True, "full causal attention in every layer")


def _count(config: Config, field: str) -> int:
    value = config.get(field)
    if type(value) is not int or not 1 <= value <= LARGEST_COUNT:
        raise CheckpointError(
            f"config.json: {field} is {_shown(value)}, not an integer from 1 to {LARGEST_COUNT}; copy config.json again"
        )
    return value


def _positive(config: Config, field: str) -> float:
    value = config.get(field)
    if not isinstance(value, int | float) or isinstance(value, bool) or not SMALLEST <= value <= LARGEST:
        raise CheckpointError(
            f"config.json: {field} is {_shown(value)}, not a positive fp32 number; copy config.json again"
        )
    return float(value)


def _unsupported(field: str, value: object, runs: str) -> CheckpointError:
    return CheckpointError(f"config.json: {field} is {_shown(value)}; this package runs only {runs}")


def _shown(value: object) -> str:
    """A value of any size, short enough for a message."""
    text = reprlib.repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
