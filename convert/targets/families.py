"""The families of targets: the engine that runs each, what has to be installed, and what each is good for."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What the targets of one family share."""

    engine: str  # as its authors call it
    runs_with: tuple[str, ...]  # modules
    run_extra: str
    converts_with: tuple[str, ...]
    convert_extra: str
    suits: str

    def missing_to_run(self) -> list[str]:
        """The modules that running lacks here."""
        return _missing(self.runs_with)

    def missing_to_convert(self) -> list[str]:
        """The modules that converting lacks here."""
        return _missing(self.converts_with)


FAMILIES = {
    "gguf": Family(
        "llama.cpp",
        ("llama_cpp",),
        "llama-cpp",
        ("gguf", "llama_cpp"),
        "convert,llama-cpp",
        "any CPU; the smallest memory",
    ),
    "openvino": Family(
        "OpenVINO",
        ("openvino",),
        "openvino",
        ("openvino", "torch", "nncf", "optimum.intel"),
        "convert-openvino",
        "x86 CPUs; the fastest there",
    ),
    "torch": Family("PyTorch", ("torch", "transformers"), "torch", (), "torch", "GPUs; full precision"),
    "bnb": Family(
        "bitsandbytes",
        ("torch", "transformers", "bitsandbytes"),
        "bitsandbytes",
        ("torch", "bitsandbytes"),
        "bitsandbytes",
        "GPUs with little memory",
    ),
}


def _missing(modules: Iterable[str]) -> list[str]:
    return [module for module in modules if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package above it is missing, or broken
        return False
