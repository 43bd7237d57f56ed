"""The families of targets: the engine that runs each, what has to be installed, and what each is good for."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

from c2llm_lite import cpu


@dataclass(frozen=True)
class Family:
    """What the targets of one family share."""

    engine: str  # as its authors call it
    runs_with: tuple[str, ...]  # modules
    run_extra: str
    converts_with: tuple[str, ...]
    convert_extra: str
    suits: str

    @property
    def here(self) -> str:
        """What this machine can do with the family, and what to install for the rest."""
        run, convert = self.missing_to_run(), self.missing_to_convert()
        if not run and not convert:
            return "yes"
        able = "runs only" if not run else "converts only" if not convert else "no"
        extra = self.convert_extra if convert else self.run_extra
        return f"{able}: pip install 'c2llm-lite[{extra}]'"

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
    "torch": Family("PyTorch", ("torch",), "torch", (), "torch", "GPUs; full precision"),
    "bnb": Family(
        "bitsandbytes",
        ("torch", "bitsandbytes"),
        "bitsandbytes",
        ("torch", "bitsandbytes"),
        "bitsandbytes",
        "GPUs with little memory",
    ),
}


def default_target() -> tuple[str, str]:
    """The target of a conversion that names none, and why: openvino:int8 on x86 if it converts and runs here.

    Otherwise gguf:q8_0. This is a rule, not a trial: of the two, openvino:int8 was the faster on every x86 CPU that was
    measured (docs/results.md).
    """
    openvino = FAMILIES["openvino"]
    if not cpu.is_x86():
        return "gguf:q8_0", "this CPU is not x86"
    if openvino.missing_to_run() or openvino.missing_to_convert():
        return "gguf:q8_0", f"openvino:int8 is faster, but needs c2llm-lite[{openvino.convert_extra}]"
    return "openvino:int8", "the fastest on x86"


def _missing(modules: Iterable[str]) -> list[str]:
    return [module for module in modules if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package above it is missing, or broken
        return False
