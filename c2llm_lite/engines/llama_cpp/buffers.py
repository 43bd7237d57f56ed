"""Chooses where llama.cpp keeps matrices, which decides the kernels that multiply them.

A matrix in the repacked buffer is a copy laid out for kernels of its own: 4-bit weights run twice as fast there. In the
plain one, K-quants have tiled kernels on x86, which are 1.6 times as fast as q4_k's repacked ones.

GCC 12's `_tile_loadconfig` declares that it reads 8 bytes of the 64 that a tile configuration has, so the compiler
drops the stores to the rest and the CPU refuses the instruction (upstream issue 20824): llama.cpp's AMX kernels kill
the process. A library does not tell which compiler built it, so AMX is avoided on every CPU that has it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from typing import Any

from ... import cpu
from .native import ggml

CPU_DEVICE = 0  # enum ggml_backend_dev_type
AMX, REPACKED = "AMX", "CPU_REPACK"  # names of ggml's buffer types
# Types whose best kernels are repacked: on x86 with AVX2, and on ARM with dot products.
ON_X86 = ("q4_0", "iq4_nl")
ON_ARM = ("q8_0", "q6_k", "q5_k", "q4_k", *ON_X86)
ROWS = 8  # at a time, that the kernels on x86 take


class _Override(ctypes.Structure):
    """llama_model_tensor_buft_override; an array of them ends with one of nulls."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def repacked_types() -> tuple[str, ...]:
    """The types that this CPU has the repacked buffer for."""
    return ON_ARM if cpu.has("asimddp") else ON_X86


def choose_buffers(params: Any, matrices: Mapping[str, str], rows: tuple[int, ...]) -> Any:
    """Set `params` (llama_model_params) so that no weight goes to an AMX buffer, nor one to a slower repacked one.

    matrices: each one's type, by its name in the file; rows: the matrices' row counts. Returns what must live as long
    as the load.
    """
    repacked = [name for name, kind in matrices.items() if kind in ON_X86]
    if cpu.is_x86() and not repacked:
        params.use_extra_bufts = False
        return None
    buffers = _special_buffers()
    if AMX not in buffers:
        return None
    params.use_extra_bufts = False
    if REPACKED not in buffers or any(count % ROWS for count in rows):
        return None
    # One pattern for all: llama.cpp compiles every pattern for every tensor.
    pattern = f"^({'|'.join(map(re.escape, repacked))})$".encode()
    overrides = (_Override * 2)(_Override(pattern, buffers[REPACKED]), _Override(None, None))
    params.tensor_buft_overrides = ctypes.addressof(overrides)
    return overrides


def _special_buffers() -> dict[str, int]:
    """The CPU's special buffer types by name, as ggml lists them."""
    base, registry = ggml("ggml-base", "a gguf bundle"), ggml("ggml", "a gguf bundle")
    pointer = ctypes.c_void_p

    def function(library: Any, name: str, *arguments: Any) -> Any:
        found = getattr(library, name)
        found.argtypes, found.restype = arguments, pointer
        return found

    device = function(registry, "ggml_backend_dev_by_type", ctypes.c_int)(CPU_DEVICE)
    cpu = function(base, "ggml_backend_dev_backend_reg", pointer)(device)
    address = function(base, "ggml_backend_reg_get_proc_address", pointer, ctypes.c_char_p)
    lister = address(cpu, b"ggml_backend_dev_get_extra_bufts")
    if not lister:
        return {}
    listed = ctypes.CFUNCTYPE(ctypes.POINTER(pointer), pointer)(lister)(device)
    name_of = function(base, "ggml_backend_buft_name", pointer)
    found = {}
    for buffer_type in iter(listed):
        if not buffer_type:
            break
        name = ctypes.string_at(name_of(buffer_type)).decode()
        found[name] = buffer_type
    return found
