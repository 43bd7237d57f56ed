"""Imports llama-cpp-python, but not on a CPU that its libraries were not built for: they would kill the process.

`make airgap` builds them for a stated floor and writes its instructions into the wheel, beside the libraries. A wheel
without that file was built by this machine's owner, for the CPU that built it.
"""

from __future__ import annotations

import ctypes
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ... import cpu
from ...errors import DeviceError, MissingDependencyError
from ...openmp import waiting_passively

FLOOR = "lib/cpu_floor.json"  # in the package: a list of instructions, named as in /proc/cpuinfo


def library(module: str, need: str) -> Any:
    """llama_cpp.`module`; need: what asks for it, for the error.

    Raises MissingDependencyError, and DeviceError if this machine lacks an instruction or a library that they need.
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
        with waiting_passively("llama_cpp"):
            return import_module(f"llama_cpp.{module}")
    except ImportError as error:
        raise MissingDependencyError("llama-cpp-python", "llama-cpp", need) from error
    except RuntimeError as error:  # llama_cpp's own, for what the loader raised
        raise DeviceError(
            f"llama-cpp-python cannot be loaded: {error.__context__ or error}; install that library with this system's "
            "packages (libgomp.so.1: apt install libgomp1, dnf install libgomp)"
        ) from error


def ggml(name: str, need: str) -> ctypes.CDLL:
    """One of the libraries under llama.cpp: "ggml", or "ggml-base", whose symbols "ggml" lacks on Windows."""
    folder = library("_ggml", need).libggml_base_path
    loaded: ctypes.CDLL = library("_ctypes_extensions", need).load_shared_library(name, folder)
    return loaded
