"""Makes a plan's missing parts with Ray Data: one task of an actor reads, embeds and writes a span.

So vectors never travel. If Ray repeats a task because its actor was killed, it writes the same part under the same
name: nothing is lost or duplicated. The Ray dataset is the list of spans, one per block.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray

from ...errors import ArgumentError
from ..rows import embed_rows
from . import inputs, parts
from .inputs import Span
from .nodes import OnNode, Shipped, actor_pool, vectors_array, worker_memory
from .plan import Plan


@dataclass(frozen=True)
class Written:
    """parts, rows: made by this run. left_out: lines of the side file, for every part in the folder."""

    parts: int
    rows: int
    left_out: int


def run(
    plan: Plan,
    *,
    shipped: Shipped | None = None,
    actors: int | None = None,
    cpus_per_actor: int = 1,
    gpus_per_actor: float = 0,
) -> Written:
    """Make the missing parts on the connected cluster, then the side file output/_left_out.jsonl.

    Inputs and output are on a file system that all nodes share with this process; so is the bundle, unless it was
    shipped. actors: None means as many as the cluster's CPUs (and GPUs) allow now.

    A part has the columns id and embedding (a list of d), in the input's order. Raises BundleError if a node cannot
    read the bundle or has another, InputError if it cannot read an input, OutputError if a part cannot be written, and
    Ray's errors.
    """
    if cpus_per_actor < 1:
        raise ArgumentError(f"cpus_per_actor is {cpus_per_actor}; pass 1 or more")
    if plan.missing:
        plan.output.mkdir(parents=True, exist_ok=True)
    try:
        if ray.util.client.ray.is_connected():  # Ray Data does not support ray://…, so it runs in the cluster
            make = ray.remote(num_cpus=0)(_make)
            rows = ray.get(make.remote(plan, shipped, actors, cpus_per_actor, gpus_per_actor))
        else:
            rows = _make(plan, shipped, actors, cpus_per_actor, gpus_per_actor)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    left_out = parts.write_left_out(plan.output) if plan.output.exists() else 0
    return Written(len(plan.missing), rows, left_out)


def _make(plan: Plan, shipped: Shipped | None, actors: int | None, cpus: int, gpus: float) -> int:
    """Make the missing parts. Returns the number of vectors in them."""
    if not plan.missing:
        return 0
    spans = ray.data.from_items([asdict(span) for span in plan.missing], override_num_blocks=len(plan.missing))
    node = OnNode(shipped or plan.bundle.folder, plan.bundle.sha256, cpus, check=plan.check)
    made = spans.map(
        _MakePart,
        fn_constructor_args=(node, plan.settings, plan.output),
        # A second span assigned to an actor would wait for the first, at the end while other actors idle.
        compute=actor_pool(min(actors or _actors_that_fit(cpus, gpus), len(plan.missing)), in_flight=1),
        num_cpus=cpus,
        num_gpus=gpus,
        memory=worker_memory(plan.bundle),
    )
    made.context.raise_original_map_exception = True  # otherwise Ray keeps a worker's error only as text
    return sum(row["rows"] for row in made.take_all())


class _MakePart:
    """Ray's callable class: constructed once per actor, called with each span."""

    def __init__(self, node: OnNode, settings: dict[str, Any], output: Path) -> None:
        self._node = node
        self._settings = settings
        self._output = output

    def __call__(self, span_fields: dict[str, Any]) -> dict[str, Any]:
        span = Span(**span_fields)
        settings = self._settings
        rows = inputs.read(span, settings["field"], settings["id"], settings["id_type"])
        made = {name: settings[name] for name in ("prompt", "dim", "precision")}
        done = embed_rows(self._node.model, [row.text for row in rows], **made)
        left_out = [
            {"input": span.path, "row": span.first + i, "id": rows[i].id, "reason": reason}
            for i, reason in sorted(done.left_out.items())
        ]
        vectors = vectors_array(done.vectors, list(range(len(done.kept))), len(done.kept))
        ids = [rows[i].id for i in done.kept]
        parts.write(self._output, span, settings, ids=ids, vectors=vectors, left_out=left_out)
        return {"part": parts.name(span), "rows": len(done.kept)}


def _actors_that_fit(cpus: int, gpus: float) -> int:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    by_cpus = [node.get("CPU", 0) // cpus for node in nodes]
    by_gpus = [node.get("GPU", 0) // gpus for node in nodes] if gpus else by_cpus
    return max(1, int(sum(map(min, by_cpus, by_gpus))))
