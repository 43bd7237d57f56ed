"""The properties that OpenVINO compiles a bundle's graph with."""

from __future__ import annotations

from typing import Any

from ...bundle import I4, I8, Backbone, Manifest

WEIGHT_GROUP = 32  # int4's; with larger groups of activations its products are not quantised at all, and slower
# int8's groups of activations, best first, of those that divide every row. Measured on C2LLM-0.5B's shape: 128 is 1.3
# times as fast as 64 and 1.4 times as fast as 32, OpenVINO's default.
ACTIVATION_GROUPS = (128, 64, 32)


def settings(manifest: Manifest, device: str, threads: int) -> dict[str, Any]:
    """What OpenVINO is told when it compiles the graph."""
    chosen: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    quantized = manifest.matrix_type() in (I8, I4)
    if device == "CPU":
        chosen["INFERENCE_NUM_THREADS"] = threads
        chosen["KV_CACHE_PRECISION"] = "f32"  # the default, u8, would be one more error; one batch's cache is small
        chosen["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = _activations(manifest)
    # On a CPU with bf16 units OpenVINO would choose bf16, which leaves the products' activations unquantised.
    if device == "CPU" or not quantized:
        chosen["INFERENCE_PRECISION_HINT"] = "f32"
    return chosen


def _activations(manifest: Manifest) -> int:
    """Activations that share one scale when they are quantised; 0 leaves them in fp32."""
    groups = {I8: activation_group(manifest.backbone), I4: WEIGHT_GROUP}
    return groups.get(manifest.matrix_type(), 0)


def activation_group(backbone: Backbone) -> int:
    """Of int8's activations, those that share one scale; 0 where no group divides the rows, and they stay in fp32."""
    rows = (backbone.hidden, backbone.intermediate)
    return next((group for group in ACTIVATION_GROUPS if not any(row % group for row in rows)), 0)
