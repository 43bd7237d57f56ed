"""After a fork an engine's threads are gone: a process that would hang gets an error, and others work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from c2llm_lite.convert import convert

PROGRAM = """
import os, signal, sys, threading
import c2llm_lite
from c2llm_lite.errors import ForkError
bundle, threads, before, after = sys.argv[1:]
model = c2llm_lite.load(bundle, threads=int(threads), cache=False)
if before == "embeds":
    model.embed(["def f(x): return x " * 20])
if before == "is embedding":
    entered = threading.Event()
    pool, model._engine.pool = model._engine.pool, lambda *given: (entered.set(), threading.Event().wait(30))
    threading.Thread(target=model.embed, args=("x",), daemon=True).start()
    entered.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        model = c2llm_lite.load(bundle, threads=int(threads), cache=False) if after == "loads" else model
        print(model.embed("x").shape, flush=True)
    except ForkError as error:
        print(error, flush=True)
    os._exit(0)
print("exit", os.waitpid(child, 0)[1], flush=True)
os._exit(0)
"""
TARGETS = ("gguf:f32", "torch:fp32", "openvino:int8")


@pytest.fixture(scope="module")
def bundles(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("optimum.exporters.openvino")
    folder = tmp_path_factory.mktemp("fork")
    return {
        target: convert(checkpoint_folder, folder / target.replace(":", "-"), target, target_probes=False).folder
        for target in TARGETS
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("threads", "before", "after", "told"),
    [
        ("2", "embeds", "goes on", "this process was forked from one that had embedded"),
        ("2", "embeds", "loads", "this process was forked from one that had embedded"),
        ("1", "is embedding", "goes on", "this process was forked from one that had embedded"),
        ("2", "only loads", "goes on", "(64,)"),
        ("1", "embeds", "goes on", "(64,)"),
    ],
)
def test_a_child_embeds_or_says_why_not(
    bundles: dict[str, Path], target: str, threads: str, before: str, after: str, told: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(bundles[target]), threads, before, after]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(told), done.stderr
    assert done.stdout.endswith("exit 0\n")
