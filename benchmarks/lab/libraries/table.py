"""The table of results/libraries.json: what was installed, on which Python, and what passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "results" / "libraries.json"
TABLE = RESULTS.with_suffix(".md")
# What a row names, where it is installed.
NAMED = [
    *("numpy", "tokenizers", "safetensors", "typer", "rich", "torch", "transformers", "huggingface-hub"),
    *("bitsandbytes", "openvino", "optimum-intel", "nncf", "llama-cpp-python", "gguf", "pyarrow"),
    *("starlette", "uvicorn", "langchain-core", "llama-index-core", "mteb", "sentence-transformers", "ray"),
]


def write_table() -> None:
    """Write TABLE from RESULTS."""
    rows: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [
        "| environment | Python | outcome | tests | bundles made elsewhere | libraries | without |",
        "|---|---|---|---|---|---|---|",
        *(_row(name, row) for name, row in sorted(rows.items())),
    ]
    heading = "Written by `python -m c2llm_lite.benchmarks.lab.libraries`; libraries.json has every version.\n"
    TABLE.write_text(f"{heading}\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _row(name: str, row: dict[str, Any]) -> str:
    versions = {library.lower().replace("_", "-"): version for library, version in row.get("versions", {}).items()}
    libraries = ", ".join(f"{library} {versions[library]}" for library in NAMED if library in versions)
    tests = row.get("tests")
    counts = ""
    if tests:
        counts = f"{tests['passed']} passed, {len(tests['failed'])} failed, {sum(tests['skipped'].values())} skipped"
    bundles = ", ".join(f"{target} {word.splitlines()[-1]}" for target, word in row.get("bundles", {}).items())
    without = "; ".join(f"{extra}: {reason}" for extra, reason in row.get("lacking", {}).items())
    if left_out := row.get("left out"):
        without = "; ".join(filter(None, [f"left out: {', '.join(left_out)}", without]))
    outcome = f"{row['outcome']} {row['date']}"
    if reason := row.get("reason"):
        outcome += f": {reason.splitlines()[-1]}"
    return f"| {name} | {row.get('python', '')} | {outcome} | {counts} | {bundles} | {libraries} | {without} |"
