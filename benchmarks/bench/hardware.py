"""What a result was measured on: CPU, memory, versions and date stand in every results file."""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from c2llm_lite import cpu, machine
from c2llm_lite.embedder import Embedder

# What vectors are computed by.
ENGINES = (
    "c2llm-lite",
    "numpy",
    "tokenizers",
    "llama-cpp-python",
    "openvino",
    "torch",
    "bitsandbytes",
)
LIBRARIES = (*ENGINES, "transformers", "optimum-intel", "nncf", "starlette", "uvicorn", "ray")
# What decides which kernels a library chooses.
SPEED_FLAGS = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "sve",
)

STEAL = 7  # in /proc/stat's order


def stamp() -> dict[str, Any]:
    """CPU model and the flags that decide speed, cores granted, memory (bytes), system, library versions, date."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in SPEED_FLAGS if cpu.has(flag)],
        "cores": machine.cores(),
        "free_memory": machine.free_memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in LIBRARIES if (version := _version(name))},
    }


def cores(on: Mapping[str, Any]) -> str:
    """How many a stamp has, in words."""
    return "1 core" if on["cores"] == 1 else f"{on['cores']} cores"


def engine(model: Embedder) -> dict[str, Any]:
    """What a model tells of its engine, without where this machine keeps its files."""
    return {name: value for name, value in model.info()["engine"].items() if name != "compiled_graph"}


class Stolen:
    """The share of CPU time that a virtual machine's host gave to others, from when this was made; None off Linux."""

    def __init__(self) -> None:
        self._begun = _cpu_times()

    def share(self) -> float | None:
        """The share so far, 0 to 1."""
        ended = _cpu_times()
        if not ended:
            return None
        spent = [after - before for before, after in zip(self._begun, ended, strict=True)]
        return round(spent[STEAL] / max(1, sum(spent)), 3)


def memory(field: str, process: int | str = "self") -> int:
    """Bytes, as Linux accounts a process's memory: VmRSS, VmHWM (its peak), RssAnon. OSError if there is none."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def peak_memory() -> int:
    """The most bytes of memory that this process held, mapped files that it read among them; 0 on Windows."""
    try:
        # Not getrusage's ru_maxrss: on Linux a process starts with its parent's, from before it ran its own program.
        return memory("VmHWM")
    except OSError:
        try:
            import resource
        except ImportError:
            return 0
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return held if sys.platform == "darwin" else held * 1024  # KiB, but for macOS


def peak_vram() -> int | None:
    """The most bytes of a CUDA device that PyTorch held for this process; None if it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


def _cpu_times() -> list[int]:
    """Of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal (proc(5))."""
    try:
        first, *_ = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return []
    return [int(field) for field in first.split()[1 : STEAL + 2]]


def _cpu_field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
