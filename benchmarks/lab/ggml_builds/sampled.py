"""Samples which of llama.cpp's functions its time goes to.

    python -m c2llm_lite.benchmarks.lab.ggml_builds.sampled BUILD

BUILD: a folder that compile.sh made; the installed library has lost its functions' names. The bundles are those of
builds.py, which is run first. Needs Linux's perf. Shares are of the samples in llama.cpp's libraries.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from c2llm_lite import child_process
from c2llm_lite.progress import bar

from ...bench.hardware import stamp
from ...bench.results_file import write_results
from .builds import BUILD, RESULTS, environment

KINDS = ("bf16", "q8_0", "q6_k", "q4_k", "q4_0", "iq4_nl")
ROUNDS = 20  # of four texts of 128 tokens: seconds, beside which a start is short
A_SECOND = "499"  # samples
LEAST = 0.01  # share of a function that is named
LINE = re.compile(r"\s*([\d.]+)%\s*;(\S+)\s*;\[\.\] (.+?)\s*$")


def main(build: Path) -> None:
    """Sample each of KINDS and write the results."""
    place, found = environment(build), {}
    with bar("profiles", len(KINDS), "types") as advance:
        for kind in KINDS:
            found[kind] = _sampled(place, kind)
            advance(1)
    result = {"build": build.name, "types": found, "on": stamp()}
    write_results(RESULTS.with_name("ggml_profile.json"), result)
    print(json.dumps(found, indent=1))


def _sampled(place: dict[str, str], kind: str) -> dict[str, float]:
    """The functions in which most samples fall, with their shares."""
    command = child_process.command(f"{__package__}.kinds", str(BUILD), str(ROUNDS), kind)
    with tempfile.NamedTemporaryFile(suffix=".perf") as samples:
        record = ["perf", "record", "--quiet", "--event", "cpu-clock", "--freq", A_SECOND, "--output", samples.name]
        subprocess.run([*record, "--", *command], check=True, stdout=subprocess.DEVNULL, env=place)
        report = ["perf", "report", "--stdio", "--no-children", "--field-separator", ";", "--input", samples.name]
        told = subprocess.run(
            [*report, "--fields", "overhead,dso,sym"], check=True, capture_output=True, text=True
        ).stdout
    return shares(told)


def shares(report: str) -> dict[str, float]:
    """Of a report's lines "SHARE% ;LIBRARY ;[.] FUNCTION", those of llama.cpp's libraries, as shares of their sum."""
    rows = [found.groups() for line in report.splitlines() if (found := LINE.match(line))]
    ours = [(name, float(share)) for share, library, name in rows if "ggml" in library or "llama" in library]
    if not ours:
        sys.exit("no sample fell into llama.cpp: perf may be forbidden here (see kernel.perf_event_paranoid)")
    whole = sum(share for _, share in ours)
    return {name: round(share / whole, 3) for name, share in ours if share / whole >= LEAST}


if __name__ == "__main__":
    typer.run(main)
