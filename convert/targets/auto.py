"""Target "auto": which of the fast 8- and 16-bit targets runs this checkpoint's shape fastest on this CPU, by trial.

The trial converts the checkpoint's first two layers, so it takes seconds for a backbone of any depth. What is not
installed is skipped.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from c2llm_lite import bundle as bundles
from c2llm_lite import machine
from c2llm_lite.bundle import EMBED_TOKENS
from c2llm_lite.engines import Engine, open_engine
from c2llm_lite.errors import CheckpointError, MissingDependencyError, OutputError
from c2llm_lite.pma import Variant

from ..checkpoint import Checkpoint, Weights
from ..checkpoint.safetensors_file import Dtype, Stored, widen
from . import registry as targets
from .families import FAMILIES
from .token_embeddings import write_token_embeddings

CANDIDATES = ("openvino:int8", "gguf:q8_0", "gguf:bf16", "torch:bf16")  # those that lose next to nothing
LAYERS = 2
VOCAB = 1024  # rows of the token embeddings are read, not computed: how many there are does not matter
TEXTS, TOKENS = 4, 128
ROUNDS = 5


def choose(checkpoint: Checkpoint, *, calibrated: bool = False) -> tuple[str, dict[str, float]]:
    """The fastest target here, and the tokens a second of each that could be tried, through the first two layers.

    calibrated: try only targets that take calibration texts. Raises MissingDependencyError where no engine is
    installed.
    """
    candidates = [target for target in CANDIDATES if targets.parse(target).quantized or not calibrated]
    first = _FirstRows(checkpoint.first_layers(min(checkpoint.backbone.layers, LAYERS)))
    texts = np.random.default_rng(0).integers(0, first.backbone.vocab, (TEXTS, TOKENS)).tolist()
    queries = np.zeros((checkpoint.variant.heads, checkpoint.backbone.hidden), np.float32)
    engines: dict[str, Engine] = {}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as opened:
        for target in candidates:
            folder = Path(temporary) / target.replace(":", "-")
            folder.mkdir()
            try:
                engine = _engine(first, checkpoint.variant, folder, target)
            except (MissingDependencyError, CheckpointError):  # not installed, or a width it cannot hold
                continue
            except OutputError:
                raise
            except OSError as error:
                raise OutputError(error.errno, f"the trial could not write to {folder}: {error.strerror}") from error
            opened.callback(engine.close)
            engines[target] = engine
        if not engines:
            engine_names = " or ".join(dict.fromkeys(FAMILIES[name.partition(":")[0]].engine for name in candidates))
            raise MissingDependencyError(engine_names, "all", "converting to auto")
        seconds: dict[str, list[float]] = {target: [] for target in engines}
        for repeat in range(ROUNDS + 1):  # the first warms up
            for target, engine in engines.items():
                started = time.perf_counter()
                engine.pool(texts, queries)
                if repeat:
                    seconds[target].append(time.perf_counter() - started)
    rates = {target: round(TEXTS * TOKENS / statistics.median(taken), 1) for target, taken in seconds.items()}
    return max(rates, key=rates.__getitem__), rates


class _FirstRows:
    """Weights cut to the first rows of their token embeddings. See Weights."""

    def __init__(self, whole: Weights) -> None:
        self._whole = whole
        self.backbone = replace(whole.backbone, vocab=min(whole.backbone.vocab, VOCAB))

    def names(self) -> list[str]:
        return self._whole.names()

    def shape(self, name: str) -> tuple[int, ...]:
        shape = self._whole.shape(name)
        return (self.backbone.vocab, *shape[1:]) if name == EMBED_TOKENS else shape

    def stored(self, name: str) -> tuple[Stored, Dtype]:
        values, dtype = self._whole.stored(name)
        return (values[: self.backbone.vocab], dtype) if name == EMBED_TOKENS else (values, dtype)

    def tensor(self, name: str) -> NDArray[np.float32]:
        return widen(*self.stored(name))


def _engine(weights: Weights, head: Variant, folder: Path, target: str) -> Engine:
    """Convert to `target` and open it. No head and no tokenizer: an engine needs neither."""
    wanted = targets.parse(target)
    tensors = wanted.converter.write_backbone(weights, folder, wanted.kind)
    tensors |= write_token_embeddings(weights, folder / bundles.TOKEN_EMBEDDINGS)
    manifest = bundles.Manifest(
        source=bundles.Source("trial", None, ""),
        target=target,
        engine=wanted.engine,
        backbone=weights.backbone,
        head=head,
        width=weights.backbone.hidden,
        max_tokens=TOKENS,
        prompts={},
        tensors=tensors,
        memory=wanted.converter.memory(weights, wanted.kind),
        versions={},
    )
    return open_engine(bundles.seal(folder, manifest), device="cpu", threads=machine.cores(), max_tokens=TOKENS)
