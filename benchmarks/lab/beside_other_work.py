"""Measures whether each engine gets its fair share: alone, beside one and three busy processes, and two at once.

    python -m c2llm_lite.benchmarks.lab.beside_other_work CHECKPOINT [TARGET...] [--seconds S] [--rounds N]

Linux only; on a quiet machine. A fair scheduler gives T threads (one a core) beside B others T/(T+B) of the cores, so
the fair rate is that share of the solo rate with the settings as they are. An engine is to reach LEAST of it. Engines
lose by threads that spin while another has their core, so other ways to wait, pinning and thread counts are tried
beside the engine's own. At full length a target's figures are kept: three minutes for each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import c2llm_lite
from c2llm_lite import machine
from c2llm_lite.bundle import Manifest
from c2llm_lite.convert import convert
from c2llm_lite.engines import openvino as openvino_engine

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results

TARGETS = ("gguf:q8_0", "gguf:int4", "openvino:int8", "openvino:int4", "torch:fp32", "torch:bf16")
LEAST = 0.7  # of the fair share, with the settings as they are
SECONDS, ROUNDS = 2.5, 3
TEXTS, TOKENS = 4, 128  # of one call
BUSY = (1, 3)  # other processes
AS_IT_IS = "as it is"
RESULTS = Path(__file__).parents[1] / "results" / "beside_other_work.json"
BUILD = Path("build/bench")


@dataclass(frozen=True)
class Setting:
    """wait: OMP_WAIT_POLICY, or "" for none. pinning: OpenVINO's ENABLE_CPU_PINNING, or None for its own choice."""

    wait: str = ""
    pinning: bool | None = None
    threads: int = field(default_factory=machine.cores)


def settings(target: str) -> dict[str, Setting]:
    """What is tried for a target."""
    fewer = {"one thread fewer": Setting(threads=machine.cores() - 1)} if machine.cores() > 1 else {}
    if target.startswith("openvino"):
        pinning = {"pinned": Setting(pinning=True), "not pinned": Setting(pinning=False)}
        return {AS_IT_IS: Setting()} | pinning | fewer
    return {AS_IT_IS: Setting()} | {wait: Setting(wait=wait) for wait in ("passive", "active")} | fewer


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="beside_other_work")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    whole = arguments.seconds >= SECONDS and arguments.rounds >= ROUNDS
    for target in arguments.targets:
        stolen, load = Stolen(), os.getloadavg()[0]
        bundle = _bundle(arguments.checkpoint, target)
        found = _shares(_rates(bundle, target, arguments.seconds, arguments.rounds))
        for name, shares in found.items():
            print(f"{target}, {name}: {json.dumps(shares)}", flush=True)
        unfair = {case: share for case, share in found[AS_IT_IS]["share_of_fair"].items() if share < LEAST}
        print(f"{target}, below {LEAST:.0%} of the fair share: {unfair or 'none'}", flush=True)
        if whole:
            _keep(target, {"settings": found, "on": stamp() | {"load": load, "stolen": stolen.share()}})


def _keep(target: str, found: dict[str, Any]) -> None:
    """Put one target's figures into the results, beside the others'."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["targets"] if RESULTS.exists() else {}
    measure = {"seconds": SECONDS, "rounds": ROUNDS, "texts": TEXTS, "tokens": TOKENS}
    result = {"least": LEAST, "measured": measure, "targets": kept | {target: found}}
    write_results(RESULTS, result)


def _bundle(checkpoint: Path, target: str) -> Path:
    folder = BUILD / target.replace(":", "-")
    if not folder.exists():
        convert(checkpoint, folder, target, target_probes=False)
    return folder


Rates = dict[str, list[float]]  # by situation: tokens a second, in each round


def _rates(bundle: Path, target: str, seconds: float, rounds: int) -> dict[str, Rates]:
    """Rounds over all settings and situations, so that what else the machine does meets them alike."""
    rates: dict[str, Rates] = {name: {} for name in settings(target)}
    for _ in range(rounds):
        for name, setting in settings(target).items():
            with _worker(bundle, setting) as first:
                found = {"alone": _run([first], seconds)}
                for count in BUSY:
                    with _busy(count):
                        found[f"beside {count}"] = _run([first], seconds)
                with _worker(bundle, setting) as second:  # not before: threads set to spin do so when idle
                    found["two at once"] = _run([first, second], seconds)
            for situation, rate in found.items():
                rates[name].setdefault(situation, []).append(round(rate, 1))
    return rates


def _shares(rates: dict[str, Rates]) -> dict[str, dict[str, Any]]:
    """Each setting's median rates, and the share that it has of what would be fair."""
    solo = statistics.median(rates[AS_IT_IS]["alone"])
    cores = machine.cores()
    others = {"alone": 0} | {f"beside {count}": count for count in BUSY} | {"two at once": cores}
    found: dict[str, dict[str, Any]] = {}
    for name, by_situation in rates.items():
        medians = {situation: statistics.median(those) for situation, those in by_situation.items()}
        fair = {situation: solo * cores / (cores + others[situation]) for situation in medians}
        shares = {situation: round(rate / fair[situation], 2) for situation, rate in medians.items()}
        found[name] = {"tokens_per_second": medians, "share_of_fair": shares, "rounds": by_situation}
    return found


def _run(workers: list[subprocess.Popen[str]], seconds: float) -> float:
    """Tokens a second of the slowest of the workers, which run at once."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{seconds}\n")
        worker.stdin.flush()
    return min(_line(worker) for worker in workers)


def _line(worker: subprocess.Popen[str]) -> float:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"a worker ended with {worker.wait()}")
    return float(line)


@contextmanager
def _worker(bundle: Path, setting: Setting) -> Iterator[subprocess.Popen[str]]:
    """A process that has embedded once, and waits for a line that says for how long it is to continue."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    if setting.wait:
        environment["OMP_WAIT_POLICY"] = setting.wait
    command = [sys.executable, "-m", "c2llm_lite.benchmarks.lab.beside_other_work", "--worker"]
    command += [str(bundle), str(setting.threads), json.dumps(setting.pinning)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            _line(process)
            yield process
        finally:
            process.kill()


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that never wait."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def work(bundle: str, threads: int, pinning: bool | None) -> None:
    """What a worker runs: a rate for each line of standard input."""
    if pinning is not None:
        names = vars(openvino_engine)
        ours = names["settings"]

        def pinned(manifest: Manifest, device: str, threads: int) -> dict[str, Any]:
            return {**ours(manifest, device, threads), "ENABLE_CPU_PINNING": pinning}

        names["settings"] = pinned
    with c2llm_lite.load(bundle, threads=threads, cache=False) as model:
        vocab = model.bundle.manifest.backbone.vocab
        draw = np.random.default_rng(0)  # speed does not depend on which tokens they are
        model.embed_tokens(draw.integers(0, vocab, (TEXTS, TOKENS)).tolist())
        print(0.0, flush=True)
        for line in sys.stdin:
            started = time.perf_counter()
            tokens = 0
            while (taken := time.perf_counter() - started) < float(line):
                model.embed_tokens(draw.integers(0, vocab, (TEXTS, TOKENS)).tolist())
                tokens += TEXTS * TOKENS
            print(tokens / taken, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        main()
