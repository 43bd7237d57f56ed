"""Imports llama-cpp-python, but not on a CPU that its libraries were not built for: they would kill the process.

`make airgap` builds them for a stated floor and writes its instructions into the wheel, beside the libraries. A wheel
without that file was built for the CPU that built it, which may be another one: an image or an environment was copied.
It can be imported here, and then says itself what it was built for.
"""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ... import cpu
from ...errors import DeviceError, MissingDependencyError
from ...openmp import waiting_passively

FLOOR = "lib/cpu_floor.json"  # in the package: a list of instructions, named as in /proc/cpuinfo
# ggml-cpu's functions ggml_cpu_has_…, each of which says what the library was built for -> the name in /proc/cpuinfo.
BUILT_FOR = {
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "bmi2": "bmi2",
    "avx_vnni": "avx_vnni",
    "avx512": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_int8": "amx_int8",
    "dotprod": "asimddp",
    "matmul_int8": "i8mm",
    "sve": "sve",
}


def library(module: str, need: str) -> Any:
    """llama_cpp.`module`; need: what asks for it, for the error.

    Raises MissingDependencyError, and DeviceError if this machine lacks an instruction or a library that they need.
    """
    found = find_spec("llama_cpp")
    if found is not None and found.origin is not None:
        floor = Path(found.origin).parent / FLOOR
        if floor.exists():
            _require(json.loads(floor.read_text(encoding="utf-8")))
    try:
        with waiting_passively("llama_cpp"):
            imported = import_module(f"llama_cpp.{module}")
    except ImportError as error:
        raise MissingDependencyError("llama-cpp-python", "llama-cpp", need) from error
    except RuntimeError as error:  # llama_cpp's own, for what the loader raised
        raise DeviceError(
            f"llama-cpp-python cannot be loaded: {error.__context__ or error}; install that library with this system's "
            "packages (libgomp.so.1: apt install libgomp1, dnf install libgomp)"
        ) from error
    _require(_built_for())
    return imported


def ggml(name: str, need: str) -> ctypes.CDLL:
    """One of the libraries under llama.cpp: "ggml", or "ggml-base", whose symbols "ggml" lacks on Windows."""
    folder = library("_ggml", need).libggml_base_path
    loaded: ctypes.CDLL = library("_ctypes_extensions", need).load_shared_library(name, folder)
    return loaded


def _require(instructions: Iterable[str]) -> None:
    if missing := cpu.lacking(instructions):
        raise DeviceError(
            f"this llama-cpp-python needs a CPU with {', '.join(missing)}, which this CPU lacks; install one "
            "built here (pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python)"
        )


@functools.cache
def _built_for() -> tuple[str, ...]:
    """What ggml's CPU library was built for; nothing for a build with several, of which ggml chooses one."""
    folder = import_module("llama_cpp._ggml").libggml_base_path
    try:
        loaded = import_module("llama_cpp._ctypes_extensions").load_shared_library("ggml-cpu", folder)
    except FileNotFoundError:
        return ()
    return tuple(instruction for name, instruction in BUILT_FOR.items() if getattr(loaded, f"ggml_cpu_has_{name}")())
