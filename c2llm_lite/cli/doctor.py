"""`c2llm-lite doctor`: whether this machine can run a bundle, and what to do if it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, out, print_json


def doctor(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="[BUNDLE]", help="The bundle to run. [dim]\\[default: none, any engine][/]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine: CPU, C library, Python, memory, disk, and the engines that are installed.

    With a bundle, also compare what it needs with this machine, and run its engine on the bundle's probes. The exit
    code is 1 if something must be fixed.

    Example: c2llm-lite doctor c2llm-int8
    """
    from ..doctor.engines import check_engines
    from ..doctor.host import check_host

    findings = check_host(bundle) + check_engines(bundle)
    passed = all(finding.ok for finding in findings)
    if as_json:
        print_json({"passed": passed, "findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            out.print(finding.line())
    if not passed:
        raise typer.Exit(1)
