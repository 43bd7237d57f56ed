"""The engines' part of `doctor`: whether each can be imported, and whether a bundle's gives the bundle's vectors.

Each runs in a process of its own: a library that was built for another CPU does not raise, it kills its process.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from .. import child_process, verify
from ..bundle import open_bundle
from ..errors import BundleError
from . import Finding

MODULE = "c2llm_lite.doctor.engines"  # this one
# Engine -> the library that it imports, and the extra that installs it.
LIBRARIES = {
    "llama_cpp": ("llama_cpp", "llama-cpp"),
    "openvino": ("openvino", "openvino"),
    "torch": ("torch", "torch"),
}


def check_engines(bundle: Path | None) -> list[Finding]:
    """Run the engine of `bundle` on the bundle's probes; without a bundle, import every engine that is installed."""
    if bundle is not None:
        try:
            engine = open_bundle(bundle).manifest.engine
        except BundleError as error:
            return [Finding("engine", False, str(error))]
        return [_run(engine, str(bundle))]
    found = [name for name, (library, _) in LIBRARIES.items() if find_spec(library) is not None]
    if not found:
        return [
            Finding("engine", False, "none is installed; pip install 'c2llm-lite[llama-cpp]', or openvino, or torch")
        ]
    absent = [
        Finding(name, True, f"not installed; bundles for it need pip install 'c2llm-lite[{extra}]'")
        for name, (_, extra) in LIBRARIES.items()
        if name not in found
    ]
    return [*map(_run, found), *absent]


def _run(engine: str, bundle: str = "") -> Finding:
    done = subprocess.run(child_process.command(MODULE, engine, bundle), capture_output=True, text=True)
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    text = said[-1] if said else f"exit code {done.returncode}"
    if name := child_process.crash(done.returncode):
        text = f"it crashed with {name}; reinstall it: the library may have been built for another CPU"
    return Finding(engine, done.returncode == 0, text)


def _import(engine: str) -> str:
    """What was imported, after one operation of it."""
    if engine == "llama_cpp":
        from ..engines.llama_cpp.native import library

        library("llama_cpp", "doctor").llama_backend_init()
        return "imported"
    if engine == "openvino":
        from ..engines.openvino import process_core

        return f"imported; devices: {', '.join(process_core().available_devices)}"
    import torch

    (torch.ones(8, 8) @ torch.ones(8, 8)).sum().item()
    return "imported; devices: " + ("cpu, cuda" if torch.cuda.is_available() else "cpu")


def main(engine: str, bundle: str) -> int:
    """In the child: print what was found. Returns 1 if something must be fixed."""
    try:
        if not bundle:
            print(_import(engine))
            return 0
        results = verify.verify(bundle)
    except Exception as error:
        print(error or type(error).__name__, file=sys.stderr)
        return 1
    failed = sum(not result.passed for result in results)
    if failed:
        print(f"{failed} of {len(results)} probes outside their limits; reinstall the engine", file=sys.stderr)
        return 1
    print(f"{len(results)} probes embedded, within their limits")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
