"""The table of results/libraries.json: what was installed, on which Python, and what passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "results" / "libraries.json"
TABLE = RESULTS.with_suffix(".md")
# What a row names, where it is installed.
NAMED = [
    "numpy",
    "tokenizers",
    "safetensors",
    "typer",
    "rich",
    "torch",
    "transformers",
    "huggingface_hub",
    "bitsandbytes",
    "openvino",
    "optimum-intel",
    "nncf",
    "llama_cpp_python",
    "gguf",
    "pyarrow",
    "starlette",
    "uvicorn",
    "langchain-core",
    "llama-index-core",
    "mteb",
    "sentence-transformers",
    "ray",
]


def write_table() -> None:
    """Write TABLE from RESULTS."""
    rows: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [
        "| environment | Python | outcome | tests | bundles made elsewhere | libraries | without |",
        "|---|---|---|---|---|---|---|",
        *(_row(name, row) for name, row in sorted(rows.items())),
    ]
    heading = (
        "Written by `python -m c2llm_lite.benchmarks.lab.libraries`; libraries.json beside it has every version.\n"
    )
    TABLE.write_text(f"{heading}\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _row(name: str, row: dict[str, Any]) -> str:
    versions = {_plain(library): version for library, version in row.get("versions", {}).items()}
    libraries = ", ".join(f"{library} {versions[_plain(library)]}" for library in NAMED if _plain(library) in versions)
    tests = row.get("tests")
    counts = (
        f"{tests['passed']} passed, {len(tests['failed'])} failed, {sum(tests['skipped'].values())} skipped"
        if tests
        else ""
    )
    bundles = ", ".join(f"{target} {word.splitlines()[-1]}" for target, word in row.get("bundles", {}).items())
    without = "; ".join(f"{extra}: {reason}" for extra, reason in row.get("lacking", {}).items())
    outcome = f"{row['outcome']} {row['date']}"
    return f"| {name} | {row.get('python', '')} | {outcome} | {counts} | {bundles} | {libraries} | {without} |"


def _plain(library: str) -> str:
    return library.lower().replace("_", "-")
