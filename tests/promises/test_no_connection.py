"""No command opens a connection: every Python process of each is watched by an audit hook, and by strace if present."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

# Each process writes the socket events of its own that leave the machine's file system.
WATCH = """
import os, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1] if len(arguments) > 1 else None
        if not isinstance(address, (str, bytes, type(None))):  # a path is a Unix socket's
            note(event, address)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        note(event, arguments[0])

def note(event, what):
    with open(os.environ["WATCHED"], "a") as log:
        log.write(f"{event} {what!r} by {sys.argv}\\n")

with open(os.environ["WATCHED"], "a") as log:
    log.write(f"started {os.getpid()}\\n")
sys.addaudithook(watch)
"""
AWAY = re.compile(r"(connect|sendto)\(\d+, .*AF_INET6?.*")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small")


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A function that runs a command line and gives the lines that its processes wrote."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "home").mkdir()  # openvino_telemetry does nothing without one
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    log = tmp_path / "watched.txt"
    path = os.pathsep.join([str(tmp_path / "watch"), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("WATCHED", str(log))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CI", "HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> list[str]:
        log.write_text("")
        command = [sys.executable, "-m", "c2llm_lite", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        lines = log.read_text().splitlines()
        assert any(line.startswith("started") for line in lines), "the watch did not run"
        return [line for line in lines if not line.startswith("started")]

    return run


@pytest.mark.parametrize("target", ["gguf:q8_0", "openvino:int8", "torch:fp32", "bnb:int8"])
def test_no_command_opens_a_connection(watched, checkpoint, tmp_path, target):
    bundle, tree = tmp_path / "bundle", tmp_path / "tree"
    tree.mkdir()
    (tree / "a.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "texts.txt").write_text("def f(x): return x\n" * 3)
    assert watched("convert", checkpoint, "-o", bundle, "--to", target) == []
    assert watched("verify", bundle, "--against", checkpoint) == []
    assert watched("embed", bundle, tmp_path / "texts.txt", "-o", tmp_path / "out.npy") == []
    assert watched("search", bundle, tree, "add numbers") == []
    assert watched("info", bundle) == []
    assert watched("duplicates", bundle, tree) == []
    assert watched("index", bundle, tree) == []
    assert not (tmp_path / "home" / "intel").exists()


def test_bench_and_demo_open_no_connection(watched, checkpoint, tmp_path):
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    rows = [json.dumps({"_id": str(i), "text": f"def f{i}(x): return x + {i}"}) for i in range(4)]
    (data / "corpus.jsonl").write_text("\n".join(rows))
    (data / "queries.jsonl").write_text("\n".join(rows))
    (data / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"{i}\t{i}\t1\n" for i in range(4))
    )
    arguments = ("--targets", "gguf:q8_0,openvino:int8", "--data", data, "-o", tmp_path / "report")
    assert watched("bench", checkpoint, *arguments) == []
    assert watched("demo", tmp_path / "standin") == []


def test_a_server_only_listens(watched, checkpoint, tmp_path):
    """`serve --help` and the libraries it loads; the listener itself is what the command is for."""
    assert watched("serve", "--help") == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_process_of_a_command_connects(checkpoint, tmp_path):
    """Native code too: no process connects or sends to an internet address."""
    trace = tmp_path / "trace.txt"
    bundle = tmp_path / "bundle"
    command = [
        sys.executable,
        "-m",
        "c2llm_lite",
        "convert",
        str(checkpoint),
        "-o",
        str(bundle),
        "--to",
        "openvino:int8",
    ]
    strace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    subprocess.run([*strace, *command], check=True, capture_output=True)
    assert [line for line in trace.read_text().splitlines() if AWAY.search(line)] == []


def test_the_users_own_settings_are_left_alone():
    code = (
        "import os, sys, types\n"
        "os.environ['RAY_USAGE_STATS_ENABLED'] = '1'\n"
        "own = sys.modules['openvino_telemetry'] = types.ModuleType('openvino_telemetry')\n"
        "import c2llm_lite\n"
        "assert sys.modules['openvino_telemetry'] is own\n"
        "print(os.environ['RAY_USAGE_STATS_ENABLED'])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
