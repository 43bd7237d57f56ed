"""Whether this machine can run a target's bundle, asked before the long work of a calibration that will have to.

python -m c2llm_lite.convert.targets.runs_here MODULE…    imports an engine's libraries
"""

from __future__ import annotations

import sys
from importlib import import_module

from c2llm_lite import machine
from c2llm_lite.errors import BundleError, DeviceError, MissingDependencyError, OutOfMemoryError

from ..proof import child
from .families import FAMILIES
from .registry import Target

REMEDY = "leave out --calibrate, or convert where the bundle can run"


def check_runs_here(target: Target, memory: int) -> None:
    """Raise unless a bundle of `target` that takes `memory` bytes would run here.

    MissingDependencyError, OutOfMemoryError, or DeviceError: the libraries are imported in a child process, so that one
    that crashes is an error as well.
    """
    family = FAMILIES[target.family]
    if missing := family.missing_to_run():
        need = f"calibrating {target}, which runs the new bundle on the texts,"
        raise MissingDependencyError(", ".join(missing), family.run_extra, need)
    free = machine.free_memory()
    if free is not None and free < memory:
        raise OutOfMemoryError(
            f"calibrating runs the new bundle, which needs about {memory >> 20} MiB; only {free >> 20} MiB are free: "
            f"free some memory, or {REMEDY}"
        )
    try:
        child.run(__name__, *family.runs_with, what="", remedy=REMEDY)
    except (child.CannotRunHereError, BundleError) as error:
        raise DeviceError(f"{family.engine}, which runs {target}, does not start here: {error}; {REMEDY}") from error


if __name__ == "__main__":
    with child.reported():
        for module in sys.argv[1:]:
            import_module(module)
