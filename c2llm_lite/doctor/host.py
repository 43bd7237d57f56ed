"""The machine's part of `doctor`: Python, C library, CPU, cores, memory, disk, cache folder. Standard library alone."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import cpu, machine
from ..cache import cache_folder
from ..errors import OutputError
from . import Finding

OLDEST_PYTHON = (3, 10)
# NumPy from 2.4 on is built for x86-64-v2, and OpenVINO's system requirements name SSE4.2. On ARM both take any CPU.
BASE = ("sse4_2",) if cpu.is_x86() else ()
EXTRA = ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")  # what products of int8 gain by
# A compiled graph is about as large as the weights that it was compiled from; an index takes less.
CACHE_BYTES = 64 << 20
MIB = 1 << 20


def check_host(bundle: Path | None) -> list[Finding]:
    """Whether this machine can run `bundle`, or any bundle if it is None. Needs no library and runs nothing."""
    needs = [] if bundle is None else [_bundle(bundle)]
    memory, weights = _needs(bundle)
    return [
        python(),
        c_library(),
        cpu_has(BASE, "NumPy and OpenVINO"),
        cores(),
        free_memory(memory),
        *_cache(max(weights, CACHE_BYTES)),
        *needs,
    ]


def python() -> Finding:
    """The version of Python."""
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", False, f"{version} is too old; use Python 3.10 or newer")
    return Finding("Python", True, version)


def c_library(least: tuple[int, int] = (0, 0), need: str = "") -> Finding:
    """The C library's version. least: the version of glibc that `need` takes."""
    version = glibc()
    if version is None:
        known = "not glibc; the wheels of PyPI for this system decide"
        return Finding("C library", least == (0, 0), known if least == (0, 0) else f"not glibc, which {need} needs")
    found = f"glibc {version[0]}.{version[1]}"
    if version < least:
        wanted = f"glibc {least[0]}.{least[1]}"
        return Finding("C library", False, f"{found}, but {need} needs {wanted}; use a newer system")
    return Finding("C library", True, found)


def glibc() -> tuple[int, int] | None:
    """The running glibc's version; None for another C library."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except (AttributeError, ValueError, OSError):  # Windows has no confstr, and musl does not know the name
        return None


def cpu_has(instructions: Iterable[str], need: str) -> Finding:
    """Whether the CPU has the instructions that `need` was built for."""
    if missing := cpu.lacking(instructions):
        return Finding("CPU", False, f"lacks {', '.join(missing)}, which {need} needs; use a newer CPU")
    extra = [name for name in EXTRA if name not in instructions and cpu.has(name)]
    listed = ", ".join([*instructions, *extra])
    return Finding("CPU", True, platform.machine() + (f" with {listed}" if listed else ""))


def cores() -> Finding:
    """The cores granted to this process."""
    count, present = machine.cores(), os.cpu_count() or 1
    return Finding("cores", True, f"{count} granted, of {present} CPUs")


def free_memory(needed: int) -> Finding:
    """The free memory within the cgroup's limit, against the bytes that a bundle needs; 0 if none was given."""
    free = machine.free_memory()
    if free is None:
        return Finding("memory", True, "this system does not tell how much is free")
    if free < needed:
        return Finding(
            "memory",
            False,
            f"{free // MIB:,} MiB free, but the bundle needs {needed // MIB:,} MiB; free some, raise the container's "
            "limit, or convert to a smaller target",
        )
    against = f"; the bundle needs {needed // MIB:,} MiB" if needed else ""
    return Finding("memory", True, f"{free // MIB:,} MiB free{against}")


def disk(folder: Path, needed: int, use: str) -> Finding:
    """The free space where `folder` is or will be."""
    place = _existing(folder)
    free = shutil.disk_usage(place).free
    if free < needed:
        return Finding(
            "disk", False, f"{free // MIB:,} MiB free at {place}, but {use} need {needed // MIB:,} MiB; free some space"
        )
    return Finding("disk", True, f"{free // MIB:,} MiB free at {place}; {use} need up to {needed // MIB:,} MiB")


def writable(folder: Path) -> Finding:
    """Whether the cache folder can be written, or made."""
    place = _existing(folder)
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        return Finding("cache folder", False, f"{place} cannot be written; set XDG_CACHE_HOME to a folder that can")
    return Finding("cache folder", True, str(folder))


def _cache(needed: int) -> list[Finding]:
    try:
        folder = cache_folder()
    except OutputError as error:
        return [Finding("cache folder", False, str(error))]
    return [disk(folder, needed, "compiled graphs and indexes"), writable(folder)]


def _bundle(folder: Path) -> Finding:
    manifest = _manifest(folder)
    if manifest is None:
        return Finding("bundle", False, f"{folder} has no manifest.json that can be read; pass a bundle's folder")
    return Finding("bundle", True, f"{manifest.get('target')}, run by {manifest.get('engine')}")


def _needs(bundle: Path | None) -> tuple[int, int]:
    """The bytes of memory that a bundle needs, and those of its largest file; 0 for what cannot be read."""
    manifest = {} if bundle is None else _manifest(bundle) or {}
    files = manifest.get("files")
    sizes = (
        [record.get("size") for record in files.values() if isinstance(record, dict)] if isinstance(files, dict) else []
    )
    memory = manifest.get("memory")
    return memory if isinstance(memory, int) else 0, max((size for size in sizes if isinstance(size, int)), default=0)


def _manifest(folder: Path) -> dict[str, Any] | None:
    """A manifest's fields, unchecked: bundle.py, which checks them, needs NumPy."""
    try:
        found = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
