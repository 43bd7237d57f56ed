"""Measures how speed falls with the length of texts, and prints what attention's arithmetic allows beside it.

    python -m c2llm_lite.benchmarks.lab.long_texts BUNDLE...

Random token ids, as many texts of each length as fill the longest. Of OpenVINO bundles also attention's share, by its
own profile, and the limit: products of int8 at their peak, attention in fp32 at its own, a quarter of that on a CPU
with VNNI; each token looks at half of its text on average. An engine whose products stay below their peak can exceed
it.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import typer

import c2llm_lite
from c2llm_lite.bundle import Backbone, Bundle, open_bundle

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results
from .interleaved import seconds_in_turns
from .profiled_graph import open_profiled, seconds_by_operation

LENGTHS = (128, 512, 2048, 8192)
ROUNDS = 3
FP32_COST = 4  # of one operation, in int8 operations of VNNI
ATTENTION = "PagedAttentionExtension"  # the operation's name in OpenVINO's profile
RESULTS = Path(__file__).parents[1] / "results" / "long_texts.json"


def main(folders: list[Path]) -> None:
    """Measure each bundle and write the results."""
    rows, stolen = {}, Stolen()
    for folder in folders:
        bundle = open_bundle(folder)
        shape = bundle.manifest.backbone
        rates = _tokens_per_second(folder)
        found: dict[int, dict[str, float]] = {
            length: {"tokens_per_second": round(rate), "of_shortest": round(rate / rates[LENGTHS[0]], 3)}
            for length, rate in rates.items()
        }
        if bundle.manifest.engine == "openvino":
            for length, share in _attention(bundle).items():
                found[length] |= {"limit": round(limit(shape, length), 3), "attention": share}
        rows[f"{bundle.manifest.target}, {shape.hidden} wide"] = found
    result = {"bundles": rows, "rounds": ROUNDS, "stolen": stolen.share(), "on": stamp()}
    write_results(RESULTS, result)
    print(json.dumps(rows, indent=1))


def limit(shape: Backbone, length: int) -> float:
    """The speed at `length` tokens, divided by that at the shortest length, if all arithmetic ran at its peak."""
    return _operations(shape, LENGTHS[0]) / _operations(shape, length)


def _operations(shape: Backbone, length: int) -> float:
    """Of one token of a text of `length`, in int8 operations' time."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    weights = shape.hidden * (2 * queries + 2 * keys + 3 * shape.intermediate)
    attention = 2 * queries * length / 2  # with keys, and with values, half of the text each
    return 2 * shape.layers * (weights + FP32_COST * attention)


def _tokens_per_second(folder: Path) -> dict[int, float]:
    with c2llm_lite.load(folder, max_tokens=LENGTHS[-1]) as model:
        vocab = model.bundle.manifest.backbone.vocab
        ways = {}
        for length in LENGTHS:
            ids = np.random.default_rng(0).integers(0, vocab, (LENGTHS[-1] // length, length)).tolist()
            ways[str(length)] = lambda ids=ids: model.embed_tokens(ids)
        seconds = seconds_in_turns(ways, ROUNDS)
    return {int(length): LENGTHS[-1] / statistics.median(taken) for length, taken in seconds.items()}


def _attention(bundle: Bundle) -> dict[int, float]:
    """The share of a text's time that attention takes, by the text's length."""
    backbone, found = open_profiled(bundle), {}
    for length in LENGTHS:
        ids = np.random.default_rng(0).integers(0, bundle.manifest.backbone.vocab, length).tolist()
        attention = whole = 0.0
        for _ in backbone.states(ids):  # pass by pass
            seconds = seconds_by_operation(backbone)
            whole += sum(seconds.values())
            attention += seconds[ATTENTION]
        found[length] = round(attention / whole, 3)
    return found


if __name__ == "__main__":
    typer.run(main)
