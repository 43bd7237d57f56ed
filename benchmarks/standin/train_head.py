"""The pooling head that training of the stand-in begins with, trained on the frozen language model's states.

Takes the source of the packages named in training_packages.txt (brought by pip to build/head, pinned and without
dependencies), computes the backbone's states of their functions once, and trains. States are kept in build/head, part
by part: a run that was stopped continues where it was. On two cores with AMX, 1,100 tokens a second: 25 minutes for the
states, then 5 to train; 2 GB of disk.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from c2llm_lite.convert.calibrate.documented_code import Pair
from c2llm_lite.durable import durable, staged
from c2llm_lite.pma import Array
from c2llm_lite.progress import bar
from c2llm_lite.text import TextTokenizer, prompts

from ..bench.pairs import list_sha256, training_pairs
from . import head_training
from .head_training import Texts, train
from .states import Half, write_states

BUILD = Path("build/head")
PACKAGES = Path(__file__).with_name("training_packages.txt")
PAIRS = 11_000
PAIRS_A_PACKAGE = 300  # so that no package's style rules
PAIRS_A_PART = 1000
QUERY_TOKENS, CODE_TOKENS = 48, 96  # prefix included
LONGEST = 2048
NOISE_PAIRS = 400  # whose states show what rounding does


def first_head(checkpoint: Path) -> dict[str, Array]:
    """The head by the names of pma.TENSORS, float32; from disk if it was trained before.

    checkpoint: the stand-in before its backbone was trained. The head in it is not used.
    """
    kept = BUILD / "head.safetensors"
    if not kept.exists():
        _train(checkpoint, kept)
    tensors: dict[str, Array] = load_file(kept)
    return tensors


def _train(checkpoint: Path, kept: Path) -> None:
    pairs = _chosen_pairs(installed_packages())
    parts = [pairs[start : start + PAIRS_A_PART] for start in range(0, len(pairs), PAIRS_A_PART)]
    with bar("states", len(pairs), "pairs") as advance:
        computed = []
        for part in parts:
            computed.append(_states(checkpoint, part))
            advance(len(part))
    queries, codes = (_joined([texts[side] for texts in computed]) for side in (0, 1))
    noise = _rounding_noise(checkpoint, pairs[:NOISE_PAIRS])
    with bar("training", head_training.STEPS, "steps") as advance:
        tensors = train(queries, codes, noise, lambda step, loss: advance(1))
    with durable(kept) as file:
        file.write(save({name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}))


def installed_packages() -> Path:
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


def _states(checkpoint: Path, pairs: list[Pair], *, rounded: bool = False) -> tuple[Texts, Texts]:
    """Final states of the pairs' queries and of their code, from disk where they were computed before."""
    tokenizer = TextTokenizer(checkpoint / "tokenizer.json", LONGEST)
    ids = [text[:QUERY_TOKENS] for text in tokenizer.encode([pair.query for pair in pairs], prompts()["query"])]
    ids += [text[:CODE_TOKENS] for text in tokenizer.encode([pair.code for pair in pairs], prompts()["document"])]
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
    whole, rounded = (_states(checkpoint, pairs, rounded=r) for r in (False, True))
    found = [theirs.states - ours.states for theirs, ours in zip(rounded, whole, strict=True)]
    return np.concatenate(found)


def _joined(parts: list[Texts]) -> Texts:
    lengths = np.concatenate([np.diff(part.starts) for part in parts])
    return Texts(np.concatenate([part.states for part in parts]), np.cumsum([0, *lengths]))
