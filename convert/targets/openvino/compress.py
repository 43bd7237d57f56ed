"""nncf's compression of the exported graph's weights to int8 or int4, and of its activations where scales are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from c2llm_lite.engines.openvino.settings import WEIGHT_GROUP

from ...calibrate.layers import Calibration
from ...checkpoint import Weights
from ...checkpoint.safetensors_file import widen
from .codes import products, write_codes

# At most, taken evenly from those given, which stand in an order: each goes through the graph more than once, alone.
CALIBRATION_TEXTS = 300
# A few inputs of these are far beyond the others, to which one fixed scale would leave little.
DYNAMIC = "mlp.down_proj"


def compress(checkpoint: Weights, graph: Any, kind: str, calibration: Calibration | None) -> Any:
    """The graph in `kind`, int8, int8-static or int4; see write_backbone."""
    nncf = import_module("nncf")
    if kind == "int8-static":
        assert calibration is not None  # the registry's needs_texts
        chosen = calibration.texts[:: -(-len(calibration.texts) // CALIBRATION_TEXTS)]
        # The default, the mean of the texts' ranges, cuts off what a text has beyond it.
        whole_range = import_module("nncf.quantization.range_estimator").RangeEstimatorParametersSet.MINMAX
        graph = nncf.quantize(
            graph,
            _dataset(checkpoint, chosen),
            subset_size=len(chosen),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(
                names=[product.get_friendly_name() for module, product in products(graph) if module.endswith(DYNAMIC)],
                # The paged-attention transformation does not find an attention whose inputs are quantized.
                types=["ScaledDotProductAttention"],
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=whole_range),
        )
    modes = nncf.CompressWeightsMode
    if kind.startswith("int8"):
        graph = nncf.compress_weights(graph, mode=modes.INT8_SYM)
    else:
        graph = nncf.compress_weights(graph, mode=modes.INT4_SYM, group_size=WEIGHT_GROUP, ratio=1.0, all_layers=True)
    if calibration is not None and kind != "int8-static":
        write_codes(checkpoint, graph, kind, calibration)
    return graph


def _dataset(checkpoint: Weights, texts: Sequence[Sequence[int]]) -> Any:
    """The texts as the exported graph takes them, one at a time."""
    table, dtype = checkpoint.stored("embed_tokens.weight")

    def inputs(ids: Sequence[int]) -> dict[str, Any]:
        return {
            "inputs_embeds": widen(table[np.asarray(ids)], dtype)[None],  # (1, tokens, hidden)
            "attention_mask": np.ones((1, len(ids)), np.int64),
            "position_ids": np.arange(len(ids), dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }

    return import_module("nncf").Dataset(list(texts), inputs)
