"""Loads the server with 32 clients on loopback with mixed texts, and compares with embed() on the same texts.

    python -m c2llm_lite.benchmarks.lab.serve_load BUNDLE [SECONDS]

Each client asks again as soon as it is answered: three times in four one query, else 1 to 8 documents, all of them
different. Rounds of the server and of embed() alternate, so that what else the machine does meets both alike, and the
share is the median round's. Then 10,000 small requests show whether memory grows, and a server with a short queue is
overloaded.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

import c2llm_lite
from c2llm_lite import child_process
from c2llm_lite.embedder import Embedder

from ..bench.hardware import Stolen, memory, stamp
from ..bench.pairs import stdlib_pairs
from ..bench.results_file import write_results

RESULTS = Path(__file__).parents[1] / "results" / "serve_load.json"
SECONDS = 60.0
CLIENTS = 32
ROUNDS, ROUND_SECONDS = 5, 20.0
QUERIES = 0.75  # of the requests
MOST_DOCUMENTS = 8
OVERLOAD_SECONDS, OVERLOAD_QUEUE = 10.0, 4096
SMALL_REQUESTS = 10_000
LIMITS = {"throughput_share": 0.9, "memory_growth": 0.05}
NAME = "bench"

Ask = tuple[str, list[str]]  # a prompt's name and the texts
Draw = Callable[[random.Random], Ask]


@dataclass
class Answer:
    """What came back for a request; seconds: from its sending."""

    ask: Ask
    status: int
    seconds: float
    tokens: int


def main(bundle: Path, seconds: Annotated[float, typer.Argument(min=0)] = SECONDS) -> None:
    """Run the loads one after another and write the results."""
    draw = _draw()
    stolen = Stolen()
    result: dict[str, Any] = {"bundle": bundle.name, "seconds": seconds, "clients": CLIENTS, "limits": LIMITS}
    with c2llm_lite.load(bundle) as model:
        result["target"] = model.bundle.manifest.target
        with _serving(bundle) as (address, process):
            _clients(address, draw, 2.0)  # warms up
            result["load"] = _beside_embed(address, model, draw, min(ROUND_SECONDS, seconds))
            result["memory"] = _memory(address, process, round(SMALL_REQUESTS * min(1, seconds / SECONDS)))
    with _serving(bundle, "--queue", str(OVERLOAD_QUEUE)) as (address, process):
        answers, _ = _clients(address, draw, min(OVERLOAD_SECONDS, seconds))
        result["overload"] = {"queue": OVERLOAD_QUEUE, "answers": _statuses(answers)}
    result |= {"machine_load": os.getloadavg()[0], "stolen": stolen.share(), "on": stamp()}
    print(json.dumps(result, indent=1))
    if seconds >= SECONDS:
        write_results(RESULTS, result)


def _beside_embed(address: str, model: Embedder, draw: Draw, seconds: float) -> dict[str, Any]:
    """Rounds of the server and of embed() on what the server was asked."""
    everything: list[Answer] = []
    rates, ours, shares = [], [], []
    for _ in range(ROUNDS):
        stolen = Stolen()
        answers, taken = _clients(address, draw, seconds)
        everything += answers
        rates.append(sum(answer.tokens for answer in answers) / taken)
        print(f"{len(answers)} answers in {taken:.0f} s, {rates[-1]:.0f} tokens a second", file=sys.stderr)
        texts: dict[str, list[str]] = {}
        for answer in answers:
            if answer.status == 200:
                texts.setdefault(answer.ask[0], []).extend(answer.ask[1])
        started = time.perf_counter()
        for prompt_name, those in texts.items():
            model.embed(those, prompt_name=prompt_name)
        ours.append(sum(answer.tokens for answer in answers) / (time.perf_counter() - started))
        shares.append(stolen.share())
    return {
        "answers": _statuses(everything),
        "tokens_per_second": [round(rate) for rate in rates],
        "tokens_per_second_of_embed": [round(rate) for rate in ours],
        "stolen": shares,
        "throughput_share": round(float(np.median(np.divide(rates, ours))), 3),
        "queries": _waits([a for a in everything if a.ask[0] == "query"]),
        "documents": _waits([a for a in everything if a.ask[0] == "document"]),
    }


def _memory(address: str, process: int, requests: int) -> dict[str, Any]:
    """Resident bytes of the server after each tenth of so many small requests."""
    held = [memory("VmRSS", process)]
    numbers = itertools.count()

    def small(_: random.Random) -> Ask:
        return "query", [f"read file {next(numbers)}"]

    statuses: Counter[str] = Counter()
    for _ in range(10):
        answers, _ = _clients(address, small, None, requests // 10)
        statuses.update(_statuses(answers))
        held.append(memory("VmRSS", process))
    return {"requests": requests, "answers": statuses, "resident": held, "growth": round(held[-1] / held[1] - 1, 4)}


def _clients(address: str, draw: Draw, seconds: float | None, requests: int = 0) -> tuple[list[Answer], float]:
    """What 32 clients are answered in so many seconds, or requests; and the seconds until the last was."""
    answers: list[Answer] = []
    started = time.perf_counter()
    left = itertools.count(requests, -1)

    def client(number: int) -> None:
        chosen = random.Random(number)
        connection = http.client.HTTPConnection(address, timeout=600)
        while next(left) > 0 if seconds is None else time.perf_counter() - started < seconds:
            answers.append(_ask(connection, draw(chosen)))
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, time.perf_counter() - started


def _ask(connection: http.client.HTTPConnection, ask: Ask) -> Answer:
    prompt_name, texts = ask
    body = {"model": f"{NAME}:{prompt_name}", "input": texts, "encoding_format": "base64"}
    started = time.perf_counter()
    connection.request("POST", "/v1/embeddings", json.dumps(body))
    answer = connection.getresponse()
    data = json.load(answer)
    taken = time.perf_counter() - started
    if answer.status == 429:
        time.sleep(min(1, int(answer.headers["Retry-After"])))
    if answer.status != 200:
        return Answer(ask, answer.status, taken, 0)
    rows = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in data["data"]]
    if len(rows) != len(texts) or not np.isfinite(rows).all():
        raise ValueError(f"{len(texts)} texts were answered with {len(rows)} vectors")
    return Answer(ask, answer.status, taken, data["usage"]["prompt_tokens"])


def _draw() -> Draw:
    """One query, or some documents; a number in each makes them differ."""
    pairs = stdlib_pairs()
    numbers = itertools.count()

    def draw(chosen: random.Random) -> Ask:
        if chosen.random() < QUERIES:
            return "query", [f"{chosen.choice(pairs).query} {next(numbers)}"]
        documents = [
            f"# {next(numbers)}\n{chosen.choice(pairs).code}" for _ in range(chosen.randint(1, MOST_DOCUMENTS))
        ]
        return "document", documents

    return draw


@contextmanager
def _serving(bundle: Path, *options: str) -> Iterator[tuple[str, int]]:
    """The command in a process of its own: its address and process id."""
    command = child_process.command("c2llm_lite", "serve", str(bundle), "--port", "0", "--name", NAME)
    command += ["--cut-long-texts", *options]
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        with subprocess.Popen(command, stderr=log) as server:
            try:
                while " at http://" not in (told := Path(log.name).read_text()):
                    if server.poll() is not None:
                        raise RuntimeError(f"the server did not start: {told}")
                    time.sleep(0.1)
                yield told.split(" at http://")[1].split("/v1")[0], server.pid
            finally:
                server.send_signal(signal.SIGTERM)
        print(Path(log.name).read_text(), file=sys.stderr)


def _statuses(answers: list[Answer]) -> dict[str, int]:
    return {str(status): count for status, count in sorted(Counter(answer.status for answer in answers).items())}


def _waits(answers: list[Answer]) -> dict[str, float]:
    waits = [answer.seconds for answer in answers if answer.status == 200]
    p50, p99 = np.percentile(waits, [50, 99]) if waits else (0, 0)
    return {"requests": len(waits), "p50_seconds": round(float(p50), 3), "p99_seconds": round(float(p99), 3)}


if __name__ == "__main__":
    typer.run(main)
