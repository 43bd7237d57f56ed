"""Measures the cost of int8 activations with one scale per token, and the fixes: why bnb:int8 has smoothing.

    python -m c2llm_lite.benchmarks.lab.int8_outliers CHECKPOINT

Rounding is played in the fp32 model, weights by rows and inputs by tokens, as bitsandbytes does it, on queries and
functions of the development pairs; cosines are to the fp32 vectors. `threshold` leaves a column of a batch's inputs
unrounded where one is above 6.0 (LLM.int8(), arXiv 2208.07339); `smoothed` is convert/smoothing.py's rescaling.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

import c2llm_lite
from c2llm_lite import verify
from c2llm_lite.convert import convert
from c2llm_lite.convert.calibrate.documented_code import Pair
from c2llm_lite.convert.calibrate.smoothing import Smoothing
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.proof import probes
from c2llm_lite.embedder import Embedder
from c2llm_lite.engines.torch import TorchEngine
from c2llm_lite.pma import Array
from c2llm_lite.progress import bar

from ..bench.hardware import stamp
from ..bench.pairs import DEVELOPMENT, development_pairs, list_sha256
from ..bench.results_file import write_results

RESULTS = Path(__file__).parents[1] / "results" / "int8_outliers.json"
PAIRS = 50
THRESHOLD = 6.0
LEVELS = 127
# What is rounded: (after smoothing, the inputs too, with a threshold).
WAYS: dict[str, tuple[bool, bool, float | None]] = {
    "weights alone": (False, False, None),
    "weights and inputs": (False, True, None),
    "weights and inputs, threshold": (False, True, THRESHOLD),
    "weights and inputs, smoothed": (True, True, None),
}


def main(source: str) -> None:
    """Embed the development pairs with each treatment of outliers and write the results."""
    checkpoint = open_checkpoint(source)
    pairs = development_pairs()
    chosen = pairs[:: len(pairs) // PAIRS][:PAIRS]
    smoothing = Smoothing(checkpoint, probes.token_ids(checkpoint), None)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        bundle = convert(source, Path(folder) / "fp32", "torch:fp32", target_probes=False)
        with c2llm_lite.load(bundle.folder, device="cpu") as model, bar("ways", len(WAYS), "ways") as advance:
            engine = model._engine
            assert isinstance(engine, TorchEngine)
            assert engine._model is not None
            backbone = engine._model
            full = _vectors(model, chosen)
            weights = {name: value.clone() for name, value in backbone.state_dict().items()}
            for name, (smoothed, inputs, threshold) in WAYS.items():
                for parameter, value in backbone.state_dict().items():
                    whole = weights[parameter]
                    value.copy_(torch.from_numpy(smoothing(parameter, whole.numpy())) if smoothed else whole)
                with _rounded(backbone, inputs, threshold):
                    found = verify.fidelity(_vectors(model, chosen), full)
                rows[name] = {"mean": found.mean, "percentile_1": found.percentile_1, "worst": found.worst}
                advance(1)
    result = {
        "checkpoint": {"name": checkpoint.name, "sha256": checkpoint.sha256},
        "pairs": {"list": DEVELOPMENT.name, "sha256": list_sha256(DEVELOPMENT), "used": len(chosen)},
        "cosine_to_fp32": rows,
        "on": stamp(),
    }
    write_results(RESULTS, result)
    print(json.dumps(rows, indent=1))


def _vectors(model: Embedder, pairs: Sequence[Pair]) -> Array:
    documents = model.embed([pair.code for pair in pairs], prompt_name="document")
    queries = model.embed([pair.query for pair in pairs], prompt_name="query")
    return np.concatenate([documents, queries])


@contextmanager
def _rounded(backbone: torch.nn.Module, inputs: bool, threshold: float | None) -> Iterator[None]:
    """Every matrix of the backbone rounded, and its inputs where asked, until the block ends."""

    def round_inputs(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        (states,) = given
        if threshold is None:
            return (_round(states),)
        outliers = (states.abs() > threshold).flatten(0, -2).any(dim=0)
        return (torch.where(outliers, states, _round(torch.where(outliers, 0, states))),)

    hooks = []
    for module in backbone.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = _round(module.weight.data)
            if inputs:
                hooks.append(module.register_forward_pre_hook(round_inputs))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _round(values: torch.Tensor) -> torch.Tensor:
    """To 127 levels to each side, by rows."""
    step = values.abs().amax(dim=-1, keepdim=True).clamp(min=float(np.finfo(np.float32).tiny)) / LEVELS
    return (values / step).round() * step


if __name__ == "__main__":
    typer.run(main)
