"""Retrieval scores of a stand-in checkpoint in bf16: the fixed pairs, CosQA and CodeXGLUE's languages.

The last two are not in the repository: `--data` of train_backbone.py names a folder with CosQA/ and languages/NAME/ in
BEIR's form. To embed all of their documents would take hours, so only some are drawn.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from c2llm_lite.convert.calibrate.documented_code import Pair
from c2llm_lite.pma import Array, Head, Variant, pool
from c2llm_lite.text import TextTokenizer, prompts
from c2llm_lite.vectors import normalize

from ..bench.data import Task, task
from ..bench.pairs import development_pairs, stdlib_pairs
from ..bench.retrieval import per_query, ranked
from .head_training import HEADS
from .states import Backbone, batches

WHOLE = 2048  # tokens of a text of the fixed pairs; other tasks' are cut
CUT = 128
DRAWN_COSQA = 300, 700  # queries, and documents, the queries' own among them
DRAWN_LANGUAGE = 150, 200


def tasks(data: Path | None) -> Iterator[tuple[Task, int]]:
    """What is scored, with the tokens that texts are cut to."""
    yield _of_pairs("development", development_pairs()), WHOLE
    yield _of_pairs("heldout", stdlib_pairs()), WHOLE
    if data is not None:
        yield _drawn(task(str(data / "CosQA")), *DRAWN_COSQA), CUT
        for folder in sorted((data / "languages").iterdir()):
            yield _drawn(task(str(folder)), *DRAWN_LANGUAGE), CUT


def scores(checkpoint: Path, head: dict[str, Array], given: Task, tokens: int) -> dict[str, float]:
    """Each measure's mean, with the counts. head: by the names of pma.TENSORS."""
    tokenizer = TextTokenizer(checkpoint / "tokenizer.json", tokens)
    ready = Head(head, Variant(heads=HEADS))
    sides = ((given.query_prompt, given.queries), (given.document_prompt, given.documents))
    backbone = Backbone(checkpoint)
    queries, documents = (
        _vectors(backbone, ready, tokenizer.encode(list(texts.values()), prompts()[prompt])) for prompt, texts in sides
    )
    place = {key: i for i, key in enumerate(given.documents)}
    relevant = [{place[key]: grade for key, grade in given.relevant[query].items()} for query in given.queries]
    found = per_query(ranked(queries @ documents.T), relevant)
    counts = {"queries": len(queries), "documents": len(documents)}
    return counts | {measure: round(float(values.mean()), 4) for measure, values in found.items()}


def _vectors(backbone: Backbone, head: Head, ids: list[list[int]]) -> Array:
    pooled = np.zeros((len(ids), *head.queries.shape), np.float32)

    def run(batch: list[int]) -> None:
        longest = max(len(ids[i]) for i in batch)
        states = backbone.states(torch.tensor([ids[i] + [0] * (longest - len(ids[i])) for i in batch])).float()
        for row, i in enumerate(batch):
            pooled[i] = pool(states[row, : len(ids[i])].numpy(), head.queries)

    with ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as threads:
        list(threads.map(run, batches(ids)))
    return normalize(head.embed(pooled))


def _of_pairs(name: str, pairs: list[Pair]) -> Task:
    queries = {str(i): pair.query for i, pair in enumerate(pairs)}
    documents = {str(i): pair.code for i, pair in enumerate(pairs)}
    return Task(name, queries, documents, {key: {key: 1} for key in queries})


def _drawn(given: Task, queries: int, documents: int) -> Task:
    """The first so many queries, their documents, and others drawn up to `documents`."""
    kept = dict(list(given.queries.items())[:queries])
    relevant = {key: given.relevant[key] for key in kept}
    chosen = {document for grades in relevant.values() for document in grades}
    others = sorted(set(given.documents) - chosen)
    chosen.update(random.Random(0).sample(others, max(0, min(documents - len(chosen), len(others)))))
    left = {key: text for key, text in given.documents.items() if key in chosen}
    return replace(given, queries=kept, documents=left, relevant=relevant)
