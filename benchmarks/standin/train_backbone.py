"""Train the stand-in, backbone and head together: `python -m c2llm_lite.benchmarks.standin.train_backbone`.

Trains a head on the frozen backbone (train_head.py), then low-rank updates of the backbone together with that head, on
documented functions in eight languages. Writes convert/standin/demo_updates.safetensors and demo_head.safetensors,
scores the stand-in before and after, and writes benchmarks/results/demo_training.json. Everything is kept in
build/head: an interrupted run resumes. On two cores without AMX, about 2 hours: 40 minutes for the head, an hour of CPU
time for the updates, half an hour for the scores.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from c2llm_lite.convert.checkpoint.safetensors_file import bf16_bits
from c2llm_lite.convert.checkpoint.safetensors_writer import Tensor, write_safetensors
from c2llm_lite.convert.standin.demo import HEAD, UPDATES, read_smollm2, values, write_demo
from c2llm_lite.durable import durable
from c2llm_lite.pma import Array
from c2llm_lite.text import prompts

from ..bench.hardware import stamp
from ..bench.pairs import DEVELOPMENT, HELDOUT, development_pairs, list_sha256
from ..bench.results_file import write_results
from ..bench.retrieval import per_query, ranked
from .adapters import RANK, TRAINED_LAYERS, AdaptedBackbone
from .other_languages import ARCHIVES
from .pair_groups import GROUP, answer, kept_groups, question
from .scores import scores, tasks
from .train_head import BUILD, PACKAGES, first_head, installed_packages
from .update_training import Ids, Model, Training
from .whitened_head import states_and_noise, whitened

STEPS = 110
GROUPS_A_BATCH = 3
QUERY_TOKENS, CODE_TOKENS = 32, 64  # prefix included
SAMPLED_STEPS = 1000, 1001  # whose texts' states give the whitening and the noise
DEVELOPMENT_EVERY, DEVELOPMENT_SHARE, DEVELOPMENT_TOKENS = 55, 3, 128
RESULTS = Path(__file__).parents[1] / "results" / "demo_training.json"


def main() -> None:
    """Train, write updates and head, score, and write the results."""
    parser = argparse.ArgumentParser(description="Train the stand-in.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--data", type=Path, help="a folder with CosQA/ and languages/, to be scored as well")
    given = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    frozen = BUILD / "checkpoint"
    if not frozen.exists():
        write_demo(frozen, trained=False)
    head = first_head(frozen)
    training = _train(head, given.steps)
    trained = BUILD / "trained"
    write_demo(trained, force=trained.exists())
    result = {
        "command": f"python -m c2llm_lite.benchmarks.standin.train_backbone --steps {given.steps}",
        "scores": {
            task.name: {"frozen": scores(frozen, head, task, cut), "trained": scores(trained, values(HEAD), task, cut)}
            for task, cut in tasks(given.data)
        },
        "lists": {path.name: list_sha256(path) for path in (HELDOUT, DEVELOPMENT, PACKAGES, ARCHIVES)},
        "training": training,
        "on": stamp(),
    }
    write_results(RESULTS, result)
    print(json.dumps(result["scores"], indent=1))


def _train(first: Mapping[str, Array], steps: int) -> dict[str, Any]:
    """Train from where an earlier run stopped, and write updates and head. What is told of it in the results."""
    config, weights, tokenizer = read_smollm2()
    found = kept_groups(installed_packages(), BUILD / "archives", BUILD / "groups.json")

    def texts(step: int) -> tuple[list[Ids], list[Ids]]:
        draw = random.Random(step)
        start = step * GROUPS_A_BATCH
        pairs = [pair for k in range(start, start + GROUPS_A_BATCH) for pair in found[k % len(found)]]
        queries = _ids(tokenizer, [question(pair, draw) for pair in pairs], QUERY_TOKENS)
        return queries, _ids(tokenizer, [answer(pair) for pair in pairs], CODE_TOKENS)

    torch.manual_seed(0)
    backbone = AdaptedBackbone(weights, config)
    states, noise = states_and_noise(
        backbone, weights, [text for s in SAMPLED_STEPS for side in texts(s) for text in side]
    )
    model = Model(backbone, whitened(states, noise, first).train())
    training = Training(model, noise, steps, BUILD / "training.pt")
    development = _development(tokenizer)
    log = BUILD / "training.jsonl"

    def after(step: int, loss: float | None) -> None:
        row = {"step": step, "loss": loss, "cpu_seconds": round(training.cpu_seconds)}
        if step % DEVELOPMENT_EVERY == 0 or step == steps:
            row["development"] = _ndcg(model, development)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    if training.step == 0:
        after(0, None)
    training.run(texts, after)
    for path, tensors in zip((UPDATES, HEAD), model.tensors(), strict=True):
        _save(tensors, path)
    return {
        "steps": steps,
        "batch": GROUP * GROUPS_A_BATCH,
        "rank": RANK,
        "trained_layers": TRAINED_LAYERS,
        "tokens": {"query": QUERY_TOKENS, "code": CODE_TOKENS},
        "cpu_seconds": round(training.cpu_seconds),
        "progress": [
            json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if "development" in line
        ],
    }


def _ids(tokenizer: Tokenizer, texts: list[str], most: int) -> list[Ids]:
    return [encoding.ids[:most] for encoding in tokenizer.encode_batch_fast(texts)]


def _development(tokenizer: Tokenizer) -> tuple[list[Ids], list[Ids]]:
    """A part of the development pairs, short: enough to see a training's course."""
    pairs = development_pairs()[::DEVELOPMENT_SHARE]
    queries = _ids(tokenizer, [prompts()["query"] + pair.query for pair in pairs], DEVELOPMENT_TOKENS)
    return queries, _ids(tokenizer, [prompts()["document"] + pair.code for pair in pairs], DEVELOPMENT_TOKENS)


def _ndcg(model: Model, sides: tuple[list[Ids], list[Ids]]) -> float:
    queries, codes = (model.vectors(side) for side in sides)
    found = per_query(ranked(queries @ codes.T), [{i: 1} for i in range(len(queries))])
    return round(float(found["ndcg@10"].mean()), 4)


def _save(tensors: Mapping[str, Array], path: Path) -> None:
    rounded = (Tensor(name, "BF16", bf16_bits(np.ascontiguousarray(a))) for name, a in sorted(tensors.items()))
    with durable(path) as file:
        write_safetensors(Path(file.name), rounded, len(tensors))


if __name__ == "__main__":
    main()
