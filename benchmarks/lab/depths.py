"""What each depth of each target loses: a table of layers kept, with heads refitted in several ways side by side.

    python -m c2llm_lite.benchmarks.lab.depths CHECKPOINT --targets openvino:int8,gguf:int4 --depths 30,24,20,15

Scored on development pairs, or on tasks in BEIR's format with --data. Layers are rounded once a target for all depths.
Vectors stay in the work folder, so an interrupted run resumes, and more depths, targets or seeds join the table. With
--heads, each of these depths' heads is refitted by the ridge map alone, by distillation once for each seed, and by
distillation without variants of the texts; with --tokens, by distillation on that many tokens. Full depth is always in
the table, with the head that `convert` chose.
Losses are in points of NDCG@10 with paired 95% intervals: to full precision, and to the target's own full depth.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from c2llm_lite import machine, pma
from c2llm_lite.bundle import BACKBONE_FILES, Bundle, open_bundle
from c2llm_lite.convert import calibration_ids, calibration_note, convert
from c2llm_lite.convert.calibrate.given import given
from c2llm_lite.convert.calibrate.recovery import engine_states, full_states
from c2llm_lite.convert.calibrate.refit import distilled, mapped
from c2llm_lite.convert.calibrate.texts import Texts
from c2llm_lite.convert.calibrate.variants import TOKENS as HEAD_TOKENS
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.convert.depth import depths as tried
from c2llm_lite.convert.head import fitting_texts
from c2llm_lite.convert.targets.registry import parse
from c2llm_lite.durable import durable
from c2llm_lite.engines import open_engine
from c2llm_lite.head_file import read_head, states_map
from c2llm_lite.pma import Array, Head
from c2llm_lite.progress import bar
from c2llm_lite.text import TextTokenizer, choose_prompt, prompts
from c2llm_lite.vectors import normalize

from ..bench.data import Task, task
from ..bench.hardware import stamp
from ..bench.pairs import development_pairs
from ..bench.results_file import write_results
from ..bench.scoring import Measured, scored

RESULTS = Path(__file__).parents[1] / "results" / "depths.json"
FULL_PRECISION = "torch:fp32"
DEVELOPMENT = "development"
TOKENS = 512  # of one text
MEASURE = "ndcg@10"
ROUNDED = "rounded"  # the folder of rounded layers
STORED = "stored"  # the head that convert chose
RIDGE = "ridge"  # the ridge map alone
PLAIN = "without variants"  # distilled on the calibration texts alone


def main(
    source: str,
    *,
    targets: Annotated[str, typer.Option(metavar="A,B,…")] = "openvino:int8,gguf:int4",
    depths: Annotated[str, typer.Option(metavar="N,N,…", help="Numbers of layers; by default those of auto.")] = "",
    texts: Annotated[str, typer.Option(metavar="default|FILE|FOLDER", help="Calibration texts.")] = "default",
    data: Annotated[
        list[str] | None, typer.Option(help="development, the default, or a task of bench's; repeatable.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first queries of each task.")] = None,
    heads: Annotated[bool, typer.Option("--heads", help="Refit in several ways, side by side.")] = False,
    seeds: Annotated[int, typer.Option(help="Distillations of each depth, with --heads.")] = 1,
    tokens: Annotated[int, typer.Option(min=0, help="Also distill each depth on about so many tokens of TEXTS.")] = 0,
    work: Annotated[Path, typer.Option(help="Bundles, rounded layers and vectors.")] = Path("build/depths"),
    results: Annotated[Path, typer.Option(help="The table.")] = RESULTS,
) -> None:
    """Measure DEPTHS of TARGETS of the checkpoint SOURCE and write the table."""
    checkpoint = open_checkpoint(source)
    layers = checkpoint.backbone.layers
    calibrate = given(texts)
    ids = calibration_ids(checkpoint, calibrate)
    note = calibration_note(calibrate, ids)
    tasks = [_task(name, limit) for name in data or [DEVELOPMENT]]
    try:
        chosen = {int(count) for count in depths.split(",") if count} or {layers, *tried(layers)}
    except ValueError:
        raise typer.BadParameter(f"--depths is {depths!r}; pass numbers of layers, such as 20,15") from None
    for count in chosen:  # before any text is embedded
        checkpoint.first_layers(count)
    for target in targets.split(","):
        parse(target)
    in_turn = sorted({layers, *chosen}, reverse=True)
    asked = [(FULL_PRECISION, layers), *((target, count) for target in targets.split(",") for count in in_turn)]
    results.parent.mkdir(parents=True, exist_ok=True)
    place = work / hashlib.sha256(json.dumps([checkpoint.sha256, note]).encode()).hexdigest()[:16]
    names = [STORED, *((RIDGE, *(f"distilled {seed}" for seed in range(seeds)), PLAIN) if heads else ())]
    names += [f"distilled on {tokens} tokens"] if tokens else []
    rows: list[tuple[str, int, str]] = []
    for target, count in asked:
        bundle = _bundle(source, place, target, count, calibrate, whole=count == layers)
        wanted = names if target != FULL_PRECISION and count in chosen else names[:1]
        rows += [(target, count, name) for name in wanted]
        missing = [name for name in wanted if not all(_vectors_file(bundle, t, name).exists() for t in tasks)]
        if missing:
            _embed(bundle, _heads(checkpoint, bundle, missing, calibrate, place), tasks)
    table = {"calibration": note, "on": stamp(), "rows": _table(place, rows, tasks)}
    write_results(results, table)


def _task(name: str, limit: int | None) -> Task:
    if name != DEVELOPMENT:
        return task(name, limit)
    pairs = {str(row): pair for row, pair in enumerate(development_pairs()[:limit])}
    queries, documents = ({key: getattr(pair, part) for key, pair in pairs.items()} for part in ("query", "code"))
    return Task(DEVELOPMENT, queries, documents, {key: {key: 1} for key in pairs})


def _folder(place: Path, target: str, layers: int) -> Path:
    return place / f"{target.replace(':', '-')}-{layers}"


def _bundle(source: str, place: Path, target: str, layers: int, calibrate: Texts, *, whole: bool) -> Bundle:
    """The bundle of that target and depth, converted unless it is there."""
    folder = _folder(place, target, layers)
    if folder.exists():
        return open_bundle(folder)
    place.mkdir(parents=True, exist_ok=True)
    texts = None if whole and not parse(target).quantized else calibrate
    rounded = None if texts is None else place / ROUNDED
    return convert(
        source, folder, target, target_probes=False, calibrate=texts, layers=layers, rounded=rounded, progress=True
    )


def _heads(
    checkpoint: Checkpoint, bundle: Bundle, names: Sequence[str], calibrate: Texts, place: Path
) -> Iterator[tuple[str, Head]]:
    """The heads of these names for this bundle's states."""
    if STORED in names:
        yield STORED, read_head(bundle)
    fitted = [name for name in names if name != STORED]
    fitted_on = {name: int(name.split()[-2]) if name.endswith(" tokens") else HEAD_TOKENS for name in fitted}
    for tokens in dict.fromkeys(fitted_on.values()):
        calibration = fitting_texts(checkpoint, calibrate, place / ROUNDED, tokens=tokens, progress=True)
        full = full_states(checkpoint, calibration)
        with engine_states(bundle.folder, calibration) as states:
            for name in (name for name, count in fitted_on.items() if count == tokens):
                yield name, _refitted(checkpoint, name, states, full, calibration.origins or range(len(states)))


def _refitted(
    checkpoint: Checkpoint, name: str, states: Sequence[Array], full: Sequence[Array], origins: Sequence[int]
) -> Head:
    """The head of this name, from an engine's states to the full model's."""
    if name == RIDGE:
        tensors = mapped(checkpoint, states, full)
        return Head(tensors, checkpoint.variant, states_map(tensors))
    given = [text for text, of in enumerate(origins) if of == text or name != PLAIN]
    _, _, seed = name.partition("distilled ")
    found = distilled(
        checkpoint,
        [states[text] for text in given],
        [full[text] for text in given],
        origins=[origins[text] for text in given] if name != PLAIN else None,
        seed=int(seed) if seed.isdigit() else 0,
        progress=True,
    )
    print(f"{name}: {json.dumps(found.note)}")
    return Head(found.tensors, checkpoint.variant)


def _embed(bundle: Bundle, heads: Iterator[tuple[str, Head]], tasks: Sequence[Task]) -> None:
    """Run the tasks' texts once, pool them by every head, and write each head's vectors."""
    given = dict(heads)
    queries = np.concatenate([head.queries for head in given.values()])  # (all their heads, hidden)
    tokenizer = TextTokenizer(bundle.path("tokenizer.json"), TOKENS)
    engine = open_engine(bundle, device="auto", threads=machine.cores(), max_tokens=TOKENS)
    for t in tasks:
        ids = [
            text
            for prompt, texts in ((t.query_prompt, t.queries), (t.document_prompt, t.documents))
            for text in tokenizer.encode(list(texts.values()), choose_prompt(prompts(), prompt, None))
        ]
        means = []
        with bar(f"{bundle.folder.name}, {t.name}", len(ids), "texts") as advance:
            for text in ids:
                means.append(pma.pool(np.concatenate(list(engine.states(text))), queries))
                advance(1)
        for number, (name, head) in enumerate(given.items()):
            per_head = len(head.queries)
            own = np.stack([mean[number * per_head : (number + 1) * per_head] for mean in means])
            with durable(_vectors_file(bundle, t, name)) as file:
                np.save(file, normalize(head.embed(own)))
    engine.close()


def _vectors_file(bundle: Bundle, t: Task, name: str) -> Path:
    """Beside the bundle; by its hash, so that no other bundle's vectors are taken for its own."""
    key = f"{bundle.sha256[:12]}-{t.sha256[:12]}-{name.replace(' ', '-')}"
    return bundle.folder.with_name(f"{bundle.folder.name}.{key}.npy")


def _table(place: Path, rows: Sequence[tuple[str, int, str]], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """A row for each of `rows`, the first of which is full precision: see this file's head."""
    measured = [_measured(place, row, tasks) for row in rows]
    to_full = scored(measured, tasks)[1:]
    found = []
    for (target, layers, name), row in zip(rows[1:], to_full, strict=True):
        deepest = max(row for row in rows if row[0] == target and row[2] == STORED)
        to_own = scored([_measured(place, deepest, tasks), _measured(place, (target, layers, name), tasks)], tasks)[1]
        bundle = open_bundle(_folder(place, target, layers))
        found.append(
            {
                "target": target,
                "layers": layers,
                "head": name,
                "backbone_bytes": row["backbone_bytes"],
                "refit": bundle.manifest.notes.get("depth", {}),
                "lost": _lost(row),
                "lost_to_own_full_depth": _lost(to_own),
                "cosine_mean": {task: of["fidelity"]["cosine_mean"] for task, of in row["tasks"].items()},
            }
        )
        print(f"{target} {layers:3} {name:12} lost {found[-1]['lost']}")
    return found


def _measured(place: Path, row: tuple[str, int, str], tasks: Sequence[Task]) -> Measured:
    target, layers, name = row
    bundle = open_bundle(_folder(place, target, layers))
    vectors: dict[str, tuple[Array, Array]] = {}
    for t in tasks:
        queries, documents = np.split(np.load(_vectors_file(bundle, t, name)), [len(t.queries)])
        vectors[t.name] = queries, documents
    size = sum(record.size for file, record in bundle.manifest.files.items() if file in BACKBONE_FILES)
    return Measured(f"{target}@{layers}, {name}", vectors, {"backbone_bytes": size})


def _lost(row: dict[str, Any]) -> dict[str, list[float]]:
    """NDCG@10 lost by task, and over all of them."""
    lost = {name: found["lost"][MEASURE] for name, found in row["tasks"].items()}
    return lost | ({"pooled": row["pooled"][MEASURE]} if "pooled" in row else {})


if __name__ == "__main__":
    typer.run(main)
