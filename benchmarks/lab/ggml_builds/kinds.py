"""Times gguf targets in rotation with the llama.cpp that is installed, or first on PYTHONPATH; prints JSON.

python -m c2llm_lite.benchmarks.lab.ggml_builds.kinds FOLDER ROUNDS KIND…

FOLDER: where builds.py keeps its bundles. KIND: a target's, such as q8_0; with "/repacked" after it, with the buffers
that llama.cpp would choose by itself.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from unittest import mock

import numpy as np

from c2llm_lite import machine
from c2llm_lite.bundle import open_bundle
from c2llm_lite.engines import Engine, llama_cpp

from ..interleaved import seconds_in_turns
from ..random_checkpoint import C2LLM_05B

TEXTS, TOKENS = 4, 128
REPACKED = "/repacked"


def main(folder: Path, rounds: int, kinds: list[str]) -> None:
    """Print each kind's tokens a second in each round, and what llama.cpp says of its build."""
    texts: list[list[int]] = np.random.default_rng(0).integers(0, 1000, (TEXTS, TOKENS)).tolist()
    with ExitStack() as opened:
        engines = {kind: _open(folder, kind) for kind in kinds}
        for engine in engines.values():
            opened.callback(engine.close)
        first = next(iter(engines.values()))
        queries = np.random.default_rng(0).standard_normal((1, C2LLM_05B.hidden), np.float32)
        ways = {kind: lambda engine=engine: engine.pool(texts, queries) for kind, engine in engines.items()}
        seconds = seconds_in_turns(ways, rounds)
        instructions = first.describe()["instructions"]
    rates = {kind: [round(TEXTS * TOKENS / taken, 1) for taken in found] for kind, found in seconds.items()}
    print(json.dumps({"instructions": instructions, "tokens_per_second": rates}))


def _open(folder: Path, kind: str) -> Engine:
    name, repacked, _ = kind.partition(REPACKED)
    left_alone = mock.patch.object(llama_cpp, "choose_buffers", return_value=None)
    with left_alone if repacked else nullcontext():
        bundle = open_bundle(folder / name)
        return llama_cpp.open_engine(bundle, device="cpu", threads=machine.cores(), max_tokens=TOKENS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
