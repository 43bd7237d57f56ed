"""Runs one bundle in its own process: seconds to load it, and peak memory for one long text.

python -m c2llm_lite.benchmarks.lab.isolated_run BUNDLE TOKENS [CACHE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite import child_process, machine
from c2llm_lite.bundle import open_bundle
from c2llm_lite.engines import open_engine

from ..bench.hardware import peak_memory


def measure(bundle: Path, tokens: int, cache: Path | None = None) -> dict[str, Any]:
    """What `main` prints, from a fresh process. cache: where a compiled graph is kept; None keeps none."""
    command = child_process.command("c2llm_lite.benchmarks.lab.isolated_run", str(bundle), str(tokens))
    command += [] if cache is None else [str(cache)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main(folder: str, tokens: int, cache: Path | None = None) -> None:
    """Open the bundle, pool one text, and print what it took as JSON."""
    bundle = open_bundle(folder)
    backbone, heads = bundle.manifest.backbone, bundle.manifest.head.heads
    text = np.random.default_rng(0).integers(0, backbone.vocab, tokens).tolist()
    queries = np.random.default_rng(0).standard_normal((heads, backbone.hidden), dtype=np.float32)
    started = time.perf_counter()
    engine = open_engine(bundle, device="cpu", threads=machine.cores(), max_tokens=tokens, cache=cache)
    opened = time.perf_counter()
    pooled = engine.pool([text], queries)
    ended = time.perf_counter()
    if not np.isfinite(pooled).all():
        raise ValueError(f"{folder} returned NaN or infinity for a text of {tokens} tokens")
    result = {
        "seconds_to_open": round(opened - started, 2),
        "tokens": tokens,
        "seconds_for_one_text": round(ended - opened, 2),
        "engine": engine.describe(),
        "peak_memory": peak_memory(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *map(Path, sys.argv[3:]))
