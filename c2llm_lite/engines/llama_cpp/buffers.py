"""Keeps llama.cpp's weights out of its AMX buffers, whose kernels kill the process in common builds.

GCC 12's `_tile_loadconfig` declares that it reads 8 bytes of the 64 that a tile configuration has, so the compiler
drops the stores to the rest and the CPU refuses the instruction (upstream issue 20824). A library does not tell which
compiler built it, so AMX is avoided on every CPU that has it. The other special buffers, with weights repacked for
AVX, stay: without them 4-bit weights run at half the speed.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from typing import Any

from .native import ggml

CPU_DEVICE = 0  # enum ggml_backend_dev_type
AMX, REPACKED = "AMX", "CPU_REPACK"  # names of ggml's buffer types
# Types with repacked kernels on x86 with AVX2, which every CPU with AMX has. The kernels take eight rows at a time.
REPACKED_TYPES = ("q4_0", "iq4_nl", "q4_k")
ROWS = 8


class _Override(ctypes.Structure):
    """llama_model_tensor_buft_override; an array of them ends with one of nulls."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def avoid_amx(params: Any, matrices: Mapping[str, str], rows: tuple[int, ...]) -> Any:
    """Set `params` (llama_model_params) so that no weight goes to an AMX buffer; does nothing on a CPU without AMX.

    matrices: each one's type, by its name in the file; rows: the matrices' row counts. Returns what must live as long
    as the load.
    """
    buffers = _special_buffers()
    if AMX not in buffers:
        return None
    params.use_extra_bufts = False
    repacked = [name for name, kind in matrices.items() if kind in REPACKED_TYPES]
    if not repacked or REPACKED not in buffers or any(count % ROWS for count in rows):
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
