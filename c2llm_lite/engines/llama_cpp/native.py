"""Imports llama-cpp-python, but not on a CPU that its libraries were not built for: they would kill the process.

`make airgap` builds them for a stated floor and writes its instructions into the wheel, beside the libraries. A wheel
without that file was built by this machine's owner, for the CPU that built it.

ggml computes with OpenMP, whose waiting threads spin by default and take the cores from other processes: two at once on
two cores ran at 155 tokens a second each, and at 365 with OMP_WAIT_POLICY=passive, which costs nothing alone. libgomp
reads it once, when it is loaded. PyTorch brings the same library: where torch was imported first, its policy stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ... import cpu
from ...errors import DeviceError, MissingDependencyError

log = logging.getLogger(__name__)

WAIT_POLICY = "OMP_WAIT_POLICY"
FLOOR = "lib/cpu_floor.json"  # in the package: a list of instructions, named as in /proc/cpuinfo


def library(module: str, need: str) -> Any:
    """llama_cpp.`module`; need: what asks for it, for the error.

    Raises MissingDependencyError, and DeviceError if this CPU lacks what the libraries were built for.
    """
    found = find_spec("llama_cpp")
    if found is not None and found.origin is not None:
        floor = Path(found.origin).parent / FLOOR
        if floor.exists() and (missing := cpu.lacking(json.loads(floor.read_text(encoding="utf-8")))):
            raise DeviceError(
                f"this llama-cpp-python needs a CPU with {', '.join(missing)}, which this CPU lacks; install one "
                "built here (pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python)"
            )
    try:
        with _waiting_passively():
            return import_module(f"llama_cpp.{module}")
    except ImportError as error:
        raise MissingDependencyError("llama-cpp-python", "llama-cpp", need) from error


@contextlib.contextmanager
def _waiting_passively() -> Iterator[None]:
    """OMP_WAIT_POLICY is passive in the block, unless the user has set it; other libraries are left as they are."""
    if WAIT_POLICY in os.environ or "llama_cpp" in sys.modules:
        yield
        return
    if "torch" in sys.modules:
        log.info("torch was imported before llama.cpp; set %s=passive for speed beside other processes", WAIT_POLICY)
    os.environ[WAIT_POLICY] = "passive"
    try:
        yield
    finally:
        del os.environ[WAIT_POLICY]


def ggml(name: str, need: str) -> ctypes.CDLL:
    """One of the libraries under llama.cpp: "ggml", or "ggml-base", whose symbols "ggml" lacks on Windows."""
    folder = library("_ggml", need).libggml_base_path
    loaded: ctypes.CDLL = library("_ctypes_extensions", need).load_shared_library(name, folder)
    return loaded
