"""Train the stand-in checkpoint's pooling head: `python -m c2llm_lite.benchmarks.standin.train_head`.

Takes the source of the packages named in training_packages.txt (brought by pip to build/head, pinned and without
dependencies), computes the stand-in backbone's states of their functions once, trains, scores, and writes
convert/demo_head.safetensors and benchmarks/results/demo_head.json. States are kept in build/head, part by part: a run
that was stopped continues where it was. On two cores with AMX, 1,100 tokens a second: 25 minutes for the states, then 5
to train; 2 GB of disk.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from c2llm_lite.convert.calibrate.documented_code import Pair
from c2llm_lite.convert.standin.demo import HEAD, write_demo
from c2llm_lite.durable import durable, staged
from c2llm_lite.pma import Array, Head, Variant, pool
from c2llm_lite.progress import bar
from c2llm_lite.text import TextTokenizer, prompts
from c2llm_lite.vectors import normalize

from ..bench.hardware import stamp
from ..bench.pairs import DEVELOPMENT, HELDOUT, development_pairs, list_sha256, stdlib_pairs, training_pairs
from ..bench.retrieval import per_query, ranked
from . import head_training
from .head_training import Texts, train
from .states import Half, write_states

BUILD = Path("build/head")
PACKAGES = Path(__file__).with_name("training_packages.txt")
RESULTS = Path(__file__).parents[1] / "results" / "demo_head.json"
PAIRS = 11_000
PAIRS_A_PACKAGE = 300  # so that no package's style rules
PAIRS_A_PART = 1000
QUERY_TOKENS, CODE_TOKENS = 48, 96  # in training, prefix included; scores are taken on texts of up to 2,048 tokens
SCORED_TOKENS = 2048
NOISE_PAIRS = 400  # whose states show what rounding does


def main() -> None:
    """Gather pairs, compute states, train, score, and write the head and the results."""
    BUILD.mkdir(parents=True, exist_ok=True)
    checkpoint = BUILD / "checkpoint"  # its backbone: the head in it is not used
    if not checkpoint.exists():
        write_demo(checkpoint)
    pairs = _chosen_pairs(_install())
    parts = [pairs[start : start + PAIRS_A_PART] for start in range(0, len(pairs), PAIRS_A_PART)]
    started = time.perf_counter()
    with bar("states", len(pairs), "pairs") as advance:
        computed = []
        for part in parts:
            computed.append(_states(checkpoint, part, QUERY_TOKENS, CODE_TOKENS))
            advance(len(part))
    queries, codes = (_joined([texts[side] for texts in computed]) for side in (0, 1))
    noise = _rounding_noise(checkpoint, pairs[:NOISE_PAIRS])
    states_seconds = time.perf_counter() - started

    started = time.perf_counter()
    with bar("training", head_training.STEPS, "steps") as advance:
        tensors = train(queries, codes, noise, lambda step, loss: advance(1))
    training_seconds = time.perf_counter() - started
    head = Head(tensors, Variant(heads=head_training.HEADS))
    scores = {
        name: _scores(head, *_states(checkpoint, scored, SCORED_TOKENS, SCORED_TOKENS))
        for name, scored in (("development", development_pairs()), ("heldout", stdlib_pairs()))
    }
    _save(tensors, HEAD)
    result = {
        "command": "python -m c2llm_lite.benchmarks.standin.train_head",
        "scores": scores,
        "lists": {path.name: list_sha256(path) for path in (HELDOUT, DEVELOPMENT)},
        "training": {
            "packages": PACKAGES.read_text(encoding="utf-8").split(),
            "pairs": len(pairs),
            "tokens": len(queries.states) + len(codes.states),
            "steps": head_training.STEPS,
            "batch": head_training.BATCH,
            "states_seconds": round(states_seconds),  # near 0 where they were kept from an earlier run
            "training_seconds": round(training_seconds),
        },
        "on": stamp(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(scores, indent=1))


def _install() -> Path:
    """The folder that holds the training packages' source."""
    folder = BUILD / f"packages-{list_sha256(PACKAGES)[:12]}"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:"]
        with staged(folder) as made:
            subprocess.run([*pip, "--target", str(made), "--requirement", str(PACKAGES)], check=True)
    return folder


def _chosen_pairs(folder: Path) -> list[Pair]:
    """At most PAIRS_A_PACKAGE of each package, PAIRS in all, in the arbitrary order of their hashes."""
    by_package = defaultdict(list)
    for pair in sorted(training_pairs([folder]), key=lambda pair: pair.sha256):
        by_package[pair.module.partition(".")[0]].append(pair)
    capped = [pair for pairs in by_package.values() for pair in pairs[:PAIRS_A_PACKAGE]]
    return sorted(capped, key=lambda pair: pair.sha256)[:PAIRS]


def _states(
    checkpoint: Path, pairs: list[Pair], query_tokens: int, code_tokens: int, *, rounded: bool = False
) -> tuple[Texts, Texts]:
    """Final states of the pairs' queries and of their code, from disk where they were computed before."""
    tokenizer = TextTokenizer(checkpoint / "tokenizer.json", SCORED_TOKENS)
    ids = [text[:query_tokens] for text in tokenizer.encode([pair.query for pair in pairs], prompts()["query"])]
    ids += [text[:code_tokens] for text in tokenizer.encode([pair.code for pair in pairs], prompts()["document"])]
    name = hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
    kept = BUILD / f"{'rounded' if rounded else 'states'}-{name}.npy"
    if not kept.exists():
        write_states(checkpoint, ids, kept, rounded=rounded)
    states = np.load(kept, mmap_mode="r")
    starts = np.cumsum([0, *map(len, ids)])
    middle = starts[len(pairs)]
    return Texts(states[:middle], starts[: len(pairs) + 1]), Texts(states[middle:], starts[len(pairs) :] - middle)


def _rounding_noise(checkpoint: Path, pairs: list[Pair]) -> Half:
    """What rounding the backbone to 4 bits does to the states of these pairs' texts: (tokens, hidden)."""
    whole, rounded = (_states(checkpoint, pairs, QUERY_TOKENS, CODE_TOKENS, rounded=r) for r in (False, True))
    found = [theirs.states - ours.states for theirs, ours in zip(rounded, whole, strict=True)]
    return np.concatenate(found)


def _joined(parts: list[Texts]) -> Texts:
    lengths = np.concatenate([np.diff(part.starts) for part in parts])
    return Texts(np.concatenate([part.states for part in parts]), np.cumsum([0, *lengths]))


def _scores(head: Head, queries: Texts, codes: Texts) -> dict[str, float]:
    vectors = []
    for texts in (queries, codes):
        ends = zip(texts.starts[:-1], texts.starts[1:], strict=True)
        pooled = [pool(texts.states[start:end].astype(np.float32), head.queries) for start, end in ends]
        vectors.append(normalize(head.embed(np.stack(pooled))))
    found = per_query(ranked(vectors[0] @ vectors[1].T), [{i: 1} for i in range(len(queries))])
    return {"pairs": len(queries)} | {measure: round(float(values.mean()), 4) for measure, values in found.items()}


def _save(tensors: dict[str, Array], path: Path) -> None:
    with durable(path) as file:
        file.write(save({name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}))


if __name__ == "__main__":
    main()
