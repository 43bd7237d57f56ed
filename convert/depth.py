"""`convert --layers auto`: the fewest layers whose loss on the user's own texts stays within a bound.

Part of the texts is held back: neither the rounding nor the head sees it. Depths are tried from the shallowest, each as
a bundle on its engine, and the first within the bound is taken. All of them share one calibration, so another depth
costs the export of its backbone and the refit.

With pairs, each query's own text is what it should find. Otherwise it is the text that the full model finds first, so
that the full model scores 100.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from c2llm_lite import bundle as bundles
from c2llm_lite import pma
from c2llm_lite.arguments import as_path
from c2llm_lite.durable import make_way, staged
from c2llm_lite.errors import ArgumentError
from c2llm_lite.head_file import read_head
from c2llm_lite.pma import Array
from c2llm_lite.text import TextTokenizer, choose_prompt, prompts
from c2llm_lite.vectors import normalize

from . import convert, reference
from .calibrate.layers import Calibration
from .calibrate.recovery import engine_states
from .calibrate.texts import Pairs, Texts
from .checkpoint import Checkpoint, open_checkpoint
from .targets.registry import Target, parse

log = logging.getLogger(__name__)

SHARES = (1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.8, 14 / 15, 1.0)  # of the layers
LEAST_QUERIES = 100  # held back: with fewer, a point is less than a query
HELD_BACK = 5  # one query and one document in so many, where that leaves enough
RANKS = 10  # of NDCG@10


class Judging(NamedTuple):
    """Held-back texts. queries: each with its prompt's name. relevant: the row of each one's document, if known."""

    queries: Sequence[tuple[str, str]]
    documents: Sequence[str]
    relevant: Sequence[int] | None


def depths(layers: int) -> list[int]:
    """The numbers of layers that are tried, shallowest first."""
    return sorted({max(1, round(layers * share)) for share in SHARES})


def shallowest(
    source: str | Path,
    output: str | Path,
    target: str,
    *,
    max_loss: float,
    calibrate: Texts,
    pairs: Pairs = (),
    force: bool = False,
    target_probes: bool = True,
    rounded: str | Path | None = None,
    progress: bool = False,
) -> bundles.Bundle:
    """Convert with the fewest layers that lose at most `max_loss` points of NDCG@10 on held-back texts.

    Args:
        source: As in convert().
        output: As in convert().
        target: A target's name; not "auto".
        max_loss: Points of 100.
        calibrate: As in convert(); part of them is held back.
        pairs: (query, document) among `calibrate`; used if there are enough of them.
        force: As in convert().
        target_probes: As in convert().
        rounded: As in convert(), by default a hidden folder beside `output` until the bundle is complete.
        progress: As in convert().

    Returns:
        The bundle. Its notes have the table that the depth was chosen from, `depth_trial`.

    Raises:
        ArgumentError: Too few queries, or no depth stays within the bound. And what convert() raises.
    """
    output, replaces = as_path(output, "output"), bundles.MANIFEST if force else None
    make_way(output, replaces=replaces)
    wanted = parse(target)
    fitted, judging = held_back(calibrate, pairs)
    checkpoint = open_checkpoint(source)
    scores = _Scores(checkpoint, judging, progress)
    work = output.parent / f".{output.name}.depths"
    rows: list[dict[str, Any]] = []
    for layers in depths(checkpoint.backbone.layers):
        whole = layers == checkpoint.backbone.layers
        made = convert(
            source,
            work / "trial",
            target,
            force=True,
            target_probes=target_probes,
            calibrate=None if whole and not wanted.quantized else fitted,
            layers=layers,
            rounded=rounded or work / "rounded",
            progress=progress,
        )
        rows.append({"layers": layers, "loss": round(scores.loss(made), 2)})
        log.info("%s with %d layers loses %.2f points", target, layers, rows[-1]["loss"])
        if rows[-1]["loss"] <= max_loss:
            break
    else:
        raise ArgumentError(_none(wanted, max_loss, rows, work))
    trial = {
        "max_loss": max_loss,
        "queries": len(judging.queries),
        "pairs": judging.relevant is not None,
        "table": rows,
    }
    with staged(output, replaces=replaces) as folder:
        for path in made.folder.iterdir():
            shutil.move(path, folder / path.name)
        manifest = replace(made.manifest, notes=made.manifest.notes | {"depth_trial": trial})
        bundles.seal(folder, manifest, changed=[])
    shutil.rmtree(work, ignore_errors=True)
    return bundles.open_bundle(output)


def held_back(texts: Texts, pairs: Pairs) -> tuple[Texts, Judging]:
    """The texts to calibrate on, and those that judge. Raises ArgumentError if there are too few queries."""
    paired = len(pairs) >= 2 * LEAST_QUERIES
    queries = [("query", query) for query, _ in pairs] if paired else _queries(texts)
    if len(queries) < 2 * LEAST_QUERIES:
        raise ArgumentError(
            f"--layers auto holds back {LEAST_QUERIES} queries and calibrates on as many others, but there are "
            f"{len(queries)}; pass more lines with a `query` or the prompt_name query, or name a number of layers"
        )
    count = max(LEAST_QUERIES, len(queries) // HELD_BACK)
    chosen = [len(queries) * i // count for i in range(count)]
    asked = [queries[i] for i in chosen]
    answers = [pairs[i][1] for i in chosen] if paired else []
    of_pairs = {text for _, text in pairs} if paired else set()
    others = [text for text in dict.fromkeys(texts.get("document", ())) if text not in of_pairs]
    every = max(1, len(queries) // count)
    documents = list(dict.fromkeys([*answers, *others[::every]]))
    if len(documents) <= RANKS:
        raise ArgumentError(f"--layers auto ranks documents, and {len(documents)} are held back; pass more documents")
    kept = {(name, text) for name, text in asked} | {("document", text) for text in documents}
    fitted = {name: [text for text in given if (name, text) not in kept] for name, given in texts.items()}
    rows = {text: row for row, text in enumerate(documents)}
    return fitted, Judging(asked, documents, [rows[text] for text in answers] if paired else None)


def loss(full: Array, ours: Array, relevant: Sequence[int] | None) -> float:
    """Points of NDCG@10 that `ours` loses to `full`: scores (queries, documents). relevant: one row for each query."""
    if relevant is None:
        relevant = full.argmax(axis=1).tolist()
    return 100 * (_ndcg(full, relevant) - _ndcg(ours, relevant))


class _Scores:
    """Similarities of the held-back texts, by the full model and by bundles."""

    def __init__(self, checkpoint: Checkpoint, judging: Judging, progress: bool) -> None:
        tokenizer = TextTokenizer(checkpoint.tokenizer_file, checkpoint.max_tokens)

        def ids(name: str, text: str) -> list[int]:
            return list(tokenizer.encode([text], choose_prompt(prompts(), name, None))[0])

        self._judging = judging
        self._ids = [ids(name, text) for name, text in judging.queries]
        self._ids += [ids("document", text) for text in judging.documents]
        self._progress = progress
        self._full = self._similarities(reference.vectors(checkpoint, self._ids))

    def loss(self, bundle: bundles.Bundle) -> float:
        """What the bundle loses, in points."""
        head = read_head(bundle)
        with engine_states(bundle.folder, Calibration(self._ids, self._progress)) as states:
            means = np.stack([pma.pool(text, head.queries) for text in states])
        return loss(self._full, self._similarities(normalize(head.embed(means))), self._judging.relevant)

    def _similarities(self, vectors: Array) -> Array:
        queries, documents = np.split(vectors, [len(self._judging.queries)])
        scores: Array = queries @ documents.T
        return scores


def _queries(texts: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((name, text) for name, given in texts.items() if name != "document" for text in given))


def _ndcg(scores: Array, relevant: Sequence[int]) -> float:
    """Mean NDCG@10 with one relevant document a query: 1 / log2(1 + its rank), and 0 beyond the tenth."""
    own = scores[np.arange(len(scores)), relevant]
    before = (scores > own[:, None]).sum(axis=1)
    return float(np.mean([1 / math.log2(2 + place) if place < RANKS else 0.0 for place in before]))


def _none(target: Target, max_loss: float, rows: Sequence[Mapping[str, Any]], work: Path) -> str:
    table = ", ".join(f"{row['layers']}: {row['loss']:.2f}" for row in rows)
    return (
        f"no depth of {target} loses at most {max_loss} points (layers: points: {table}); pass a larger --max-loss or "
        f"another target. The rounded layers are kept in {work}"
    )
