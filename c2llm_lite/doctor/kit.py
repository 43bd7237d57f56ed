"""What a kit for machines without a network needs of this machine. install.sh runs it; standard library alone."""

from __future__ import annotations

import ctypes
import json
import platform
import re
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

from . import Finding, host

# In a wheel's name: the versions of glibc that it runs with, any of which will do (PEP 600, and its earlier names).
MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_")
EARLIER = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}
# In a library: each version of a function that it calls, and the names of itself and of the libraries that it loads.
SYMBOL = re.compile(rb"GLIBC_(\d+)\.(\d+)")
LOADED = re.compile(rb"\0(lib[\w+-]+\.so\.\d+)(?=\0)")
FLOOR = "llama_cpp/lib/cpu_floor.json"  # as engines/llama_cpp/native.py reads it


def check_kit(kit: Path, target: Path) -> list[Finding]:
    """Whether `kit` can be installed in `target` and its bundle run there.

    Args:
        kit: The folder of `make airgap`.
        target: The folder that install.sh will make.

    Returns:
        One finding per line of the report.
    """
    wheels = sorted((kit / "wheels").glob("*.whl"))
    least = max((_glibc_of(wheel) for wheel in wheels), default=(0, 0))
    floor = next((found for wheel in wheels if (found := _floor_of(wheel))), [])
    bundle = kit / "bundle"
    replaced = {"C library": host.c_library(least, "the kit")}
    if floor:
        replaced["CPU"] = host.cpu_has([*host.BASE, *floor], "the kit's llama.cpp")
    findings = host.check_host(bundle if (bundle / "manifest.json").is_file() else None)
    size = sum(map(_unpacked, wheels)) + sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    return [
        *(replaced.get(finding.name, finding) for finding in findings),
        _architecture(wheels),
        _libraries(wheels),
        _venv(),
        host.disk(target, size, "the environment and the bundle"),
    ]


def main(kit: str, target: str) -> int:
    """Print the report. Returns 1 if something must be fixed."""
    findings = check_kit(Path(kit), Path(target))
    for finding in findings:
        print(finding.line())
    return int(not all(finding.ok for finding in findings))


def _architecture(wheels: list[Path]) -> Finding:
    """Whether each wheel's libraries are for this machine's architecture."""
    here = platform.machine()
    for wheel in wheels:
        tags = wheel.name.removesuffix(".whl").split("-")[-1]
        if tags != "any" and not tags.endswith(f"_{here}"):
            return Finding("architecture", False, f"{here}, but {wheel.name} is for another; use a kit for {here}")
    return Finding("architecture", True, here)


def _libraries(wheels: list[Path]) -> Finding:
    """Whether this system has the libraries that wheels compiled for the kit load and do not carry.

    Other wheels load only what the manylinux policies allow, which every system with glibc has.
    """
    for wheel in wheels:
        compiled = _compiled(wheel)
        names = {name.decode() for content in compiled.values() for name in LOADED.findall(content)}
        for name in sorted(names - {path.rpartition("/")[2] for path in compiled}):
            try:
                ctypes.CDLL(name)
            except OSError as error:
                return Finding(
                    "libraries", False, f"{error}; {wheel.name} needs {name}: install it with this system's packages"
                )
    return Finding("libraries", True, "none is missing")


def _venv() -> Finding:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        return Finding("venv", False, f"this Python lacks it; on Debian: apt install python{version}-venv")
    return Finding("venv", True, "available")


def _glibc_of(wheel: Path) -> tuple[int, int]:
    """The oldest glibc that a wheel runs with; (0, 0) for one without libraries."""
    tags = wheel.name.removesuffix(".whl").split("-")[-1]
    found = [(int(major), int(minor)) for major, minor in MANYLINUX.findall(tags)]
    found += [version for name, version in EARLIER.items() if name in tags]
    if found:
        return min(found)
    symbols = {pair for content in _compiled(wheel).values() for pair in SYMBOL.findall(content)}
    return max(((int(major), int(minor)) for major, minor in symbols), default=(0, 0))


def _compiled(wheel: Path) -> dict[str, bytes]:
    """The libraries of a wheel that was compiled for the kit, whose name does not tell what it needs."""
    if not wheel.name.removesuffix(".whl").split("-")[-1].startswith("linux_"):
        return {}
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".so" in name}


def _floor_of(wheel: Path) -> list[str]:
    if not wheel.name.startswith("llama_cpp_python-"):
        return []
    with zipfile.ZipFile(wheel) as archive:
        return list(json.loads(archive.read(FLOOR))) if FLOOR in archive.namelist() else []


def _unpacked(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        return sum(info.file_size for info in archive.infolist())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
