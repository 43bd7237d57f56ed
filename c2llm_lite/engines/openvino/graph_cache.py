"""Caches compiled graphs between processes: compiling takes most of the time to load a bundle.

One file for each bundle, version of OpenVINO, processor and settings, in the user's cache folder. OpenVINO takes a blob
as it finds it, so each starts with the SHA-256 of what follows: one that was cut or altered is compiled again. The
caller checks the bundle's files before it compiles a graph that is kept: a blob outlives a repair of the bundle.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...durable import durable

log = logging.getLogger(__name__)

DIGEST = 32  # bytes
# In the file's name. Before there was a mark, graphs of damaged bundles were kept too.
CHECKED = "checked"
# From this version on, the CPU plugin asks each paged attention for its k_head_size when it reads a blob, and no blob
# carries that (upstream pull request 36363): what it exports, it cannot import.
UNREADABLE_SINCE = (2026, 3)


def can_be_read_back(version: str, device: str) -> bool:
    """Whether this version of OpenVINO, as it tells it, can import for `device` what it exports."""
    release = version.partition("-")[0].split(".")
    return device != "CPU" or tuple(int(part) for part in release[:2]) < UNREADABLE_SINCE


def place(folder: Path, version: str, core: Any, device: str, settings: dict[str, Any]) -> Path:
    """The file in `folder`, which is one bundle's, for what is compiled with these. version: as OpenVINO tells it."""
    processor = core.get_property(device, "FULL_DEVICE_NAME")
    key = hashlib.sha256(json.dumps([version, processor, device, settings], sort_keys=True).encode()).hexdigest()
    return folder / f"openvino-{version.partition('-')[0]}-{CHECKED}-{key[:16]}.blob"


def compiled(
    path: Path, core: Any, device: str, settings: dict[str, Any], compile_graph: Callable[[], Any]
) -> tuple[Any, NDArray[np.uint8] | None]:
    """The compiled graph that `path` holds; where it holds none that can be used, what `compile_graph` gives, kept.

    The second value must live as long as the graph: the weights of a graph that was read stay where they were read.
    """
    blob = _read(path)
    if blob is not None:
        try:
            tensor = import_module("openvino").Tensor(blob, shared_memory=True)
            return core.import_model(tensor, device, settings), blob
        except RuntimeError as error:
            log.info("the compiled graph %s cannot be used here and will be compiled again: %s", path, error)
    graph = compile_graph()
    try:
        _write(path, graph.export_model())
    except (OSError, RuntimeError) as error:  # a full disk, a cache that may not be written, a device that cannot
        log.warning("the compiled graph could not be cached: %s", error)
    return graph, None


def _read(path: Path) -> NDArray[np.uint8] | None:
    try:
        with path.open("rb") as file:
            digest = file.read(DIGEST)
            blob: NDArray[np.uint8] = np.fromfile(file, np.uint8)
    except OSError:
        return None
    if hashlib.sha256(blob.data).digest() != digest:
        log.info("the compiled graph %s is damaged and will be compiled again", path)
        return None
    return blob


def _write(path: Path, blob: Any) -> None:
    content = blob if isinstance(blob, bytes) else blob.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable(path) as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
    version = path.name.rpartition("-")[0]
    for other in path.parent.glob("openvino-*.blob"):
        if not other.name.startswith(f"{version}-"):
            other.unlink(missing_ok=True)  # of a version that is no longer installed
