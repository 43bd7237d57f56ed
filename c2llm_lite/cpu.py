"""Which instructions beyond the common base this CPU has, so that a library that needs them can be refused.

A library built for a newer CPU does not raise: its first unknown instruction kills the process.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterable
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_EAX, _EBX, _ECX, _EDX = 0, 1, 2, 3
# Leaf of glibc's table (CPUID_INDEX_1, CPUID_INDEX_7 and CPUID_INDEX_7_ECX_1 of <sys/platform/x86.h>), register, bit.
_BITS = {
    "sse4_2": (0, _ECX, 20),
    "avx": (0, _ECX, 28),
    "fma": (0, _ECX, 12),
    "f16c": (0, _ECX, 29),
    "avx2": (1, _EBX, 5),
    "bmi2": (1, _EBX, 8),
    "avx512f": (1, _EBX, 16),
    "avx512_vnni": (1, _ECX, 11),
    "amx_bf16": (1, _EDX, 22),
    "amx_int8": (1, _EDX, 25),
    "avx_vnni": (6, _EAX, 4),
    "avx512_bf16": (6, _EAX, 5),
}
VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")  # four products of int8 to a step, without saturating in between
BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # products of bf16; the last is ARM's


class _Leaf(ctypes.Structure):
    """struct cpuid_feature: what the CPU has, and which of it the operating system lets programs use."""

    _fields_ = (("cpuid", ctypes.c_uint * 4), ("active", ctypes.c_uint * 4))


def is_x86() -> bool:
    """Whether this is an x86-64 CPU, by each system's name for it."""
    return platform.machine().lower() in ("x86_64", "amd64")


def lacking(instructions: Iterable[str]) -> list[str]:
    """Those of `instructions` (named as in /proc/cpuinfo) that cannot be run here; none if nothing can tell."""
    known = _known()
    return [name for name in instructions if known is not None and name not in known]


def has(instruction: str) -> bool:
    """Whether `instruction` can be run here; False if nothing can tell."""
    return instruction in (_known() or ())


def lacks_all(instructions: Iterable[str]) -> bool:
    """Whether none of `instructions` can be run here; False if nothing can tell."""
    known = _known()
    return known is not None and known.isdisjoint(instructions)


def _known() -> set[str] | None:
    try:
        leaf = ctypes.CDLL(None)["__x86_get_cpuid_feature_leaf"]  # glibc 2.33; unlike /proc/cpuinfo right in emulators
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library without a name
        return _listed()
    leaf.restype = ctypes.POINTER(_Leaf)
    return {name for name, (index, register, bit) in _BITS.items() if leaf(index)[0].active[register] >> bit & 1}


def _listed() -> set[str] | None:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return None
    names = ("flags", "Features")  # on x86, on ARM
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith(names)), None)
