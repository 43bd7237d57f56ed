"""The properties that OpenVINO compiles a bundle's graph with."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from ... import cpu
from ...bundle import I4, I8, Backbone, Manifest

log = logging.getLogger(__name__)

WEIGHT_GROUP = 32  # int4's; with larger groups of activations its products are not quantized at all, and slower
# int8's groups of activations, best first, of those that divide every row. Measured on C2LLM-0.5B's shape: 128 is 1.3
# times as fast as 64 and 1.4 times as fast as 32, OpenVINO's default.
ACTIVATION_GROUPS = (128, 64, 32)
STATIC_TARGET = "openvino:int8-static"
STATIC = b'type="FakeQuantize"'  # how its graph has fixed scales of activations; no other target's graph has it
ISA_WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")  # values of ONEDNN_MAX_CPU_ISA


def settings(manifest: Manifest, device: str, threads: int) -> dict[str, Any]:
    """The settings that OpenVINO compiles the graph with."""
    chosen: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    quantized = manifest.matrix_type() in (I8, I4)
    if device == "CPU":
        chosen["INFERENCE_NUM_THREADS"] = threads
        chosen["KV_CACHE_PRECISION"] = "f32"  # the default, u8, would be one more error; one batch's cache is small
        chosen["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = _activations(manifest)
    # On a CPU with bf16 units OpenVINO would choose bf16, which leaves the products' activations unquantized.
    if device == "CPU" or not quantized:
        chosen["INFERENCE_PRECISION_HINT"] = "f32"
    return chosen


def _activations(manifest: Manifest) -> int:
    """Activations that share one scale when they are quantized; 0 leaves them in fp32."""
    groups = {I8: activation_group(manifest.backbone), I4: WEIGHT_GROUP}
    return groups.get(manifest.matrix_type(), 0)


def activation_group(backbone: Backbone) -> int:
    """Of int8's activations, those that share one scale; 0 where no group divides the rows, and they stay in fp32."""
    rows = (backbone.hidden, backbone.intermediate)
    return next((group for group in ACTIVATION_GROUPS if not any(row % group for row in rows)), 0)


def activation_bits(manifest: Manifest, device: str) -> str:
    """How activations are rounded before a product, in words.

    OpenVINO's kernels for ARM and for x86 without VNNI take fp32 ones, whatever group is asked for: an emulated Haswell
    and an emulated ARM CPU with SVE gave the same vectors.
    """
    if device != "CPU":
        return f"as OpenVINO's {device} device takes them"
    if manifest.target == STATIC_TARGET:
        return "int8 at fixed scales"
    group = _activations(manifest)
    return f"int8 in groups of {group}" if group and cpu.is_x86() and not _without_vnni() else "fp32"


def warn_of_saturation(graph: Path) -> None:
    """Log a warning if the activations of openvino:int8-static would saturate: on an x86 CPU without VNNI.

    Such a CPU adds the products of two pairs of int8 in 16 bits. With ONEDNN_MAX_CPU_ISA=AVX2 the worst cosine of the
    stand-in's texts fell from 0.994 to 0.974. Dynamically quantized activations are not affected.
    """
    if not cpu.is_x86() or not _without_vnni():
        return
    try:
        static = STATIC in graph.read_bytes()
    except OSError:
        return  # OpenVINO's own error follows
    if static:
        log.warning(
            "%s: this CPU has no VNNI instructions, so fixed-scale int8 products saturate and vectors lose accuracy; "
            "convert the checkpoint to openvino:int8 for this machine",
            graph.parent,
        )


def _without_vnni() -> bool:
    """Whether oneDNN has no VNNI instructions on this x86 CPU, or the user keeps it from them."""
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL")).upper()
    return cpu.lacks_all(cpu.VNNI) or limited in ISA_WITHOUT_VNNI
