"""Opens an OpenVINO bundle with the profile of each pass: how long each operation took."""

from __future__ import annotations

from collections import Counter

from c2llm_lite import machine
from c2llm_lite.bundle import OPENVINO_GRAPH, Bundle
from c2llm_lite.engines import openvino as engine
from c2llm_lite.engines.openvino.settings import settings


def open_profiled(bundle: Bundle) -> engine.OpenVino:
    """The bundle's engine, compiled as always but for the profile."""
    import openvino
    from openvino._offline_transformations import paged_attention_transformation

    core, threads = engine.process_core(), machine.cores()
    graph = core.read_model(bundle.path(OPENVINO_GRAPH))
    paged_attention_transformation(graph)
    compiled = core.compile_model(graph, "CPU", settings(bundle.manifest, "CPU", threads) | {"PERF_COUNT": True})
    return engine.OpenVino(bundle, openvino, compiled, device="CPU", threads=threads)


def seconds_by_operation(backbone: engine.OpenVino) -> Counter[str]:
    """Of the last pass, by the operation's type in OpenVINO's words."""
    seconds: Counter[str] = Counter()
    for node in backbone._request.profiling_info:
        seconds[node.node_type] += node.real_time.total_seconds()
    return seconds
