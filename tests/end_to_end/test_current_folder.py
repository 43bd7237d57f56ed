"""No process that a command starts imports from the current folder, which may be a checkpoint's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from c2llm_lite import bundle as bundles
from c2llm_lite import child_process

SCRIPT = "from c2llm_lite.cli import main; main()"
OURS = {"numpy", "tokenizers", "safetensors", "typer", "rich", "llama_cpp", "gguf", "threadpoolctl", "torch"}
OURS |= {"transformers", "openvino", "c2llm_lite", "ir_measures", "matplotlib"}
# What `python -m` itself imports before any line of ours runs.
BEFORE_US = {"runpy", "c2llm_lite"}


@pytest.fixture
def hostile(checkpoint_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint with a file for every module that could be imported: each leaves a trace, and ends the process."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint_folder, folder)
    for name in sys.stdlib_module_names | OURS:
        code = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + chr(10)); raise SystemExit(9)"
        (folder / f"{name}.py").write_text(code)
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def traces(tmp_path: Path) -> str:
    path = tmp_path / "ran"
    return path.read_text() if path.exists() else ""


def test_no_command_runs_what_lies_in_the_current_folder(hostile: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)  # like pip's own: its folder is first on the path
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": f"x = {i}"}) + "\n" for i in range(60)))
    script = [sys.executable, str(tmp_path / "script.py")]
    calibrated = ["--to", "gguf:q4_0", "--calibrate", "../texts.jsonl"]
    done = run([*script, "convert", ".", "-o", "../bundle", *calibrated], hostile)
    assert (done.returncode, traces(tmp_path)) == (0, ""), done.stderr
    done = run([*script, "verify", "../bundle"], hostile)
    assert (done.returncode, traces(tmp_path)) == (0, ""), done.stderr


def test_no_python_file_of_a_bundle_is_imported(f32_bundle: Path, hostile: Path, tmp_path: Path) -> None:
    """Not even where the manifest lists it and the bundle is the current folder."""
    bundle = Path(shutil.copytree(f32_bundle, tmp_path / "bundle"))
    for path in hostile.glob("*.py"):
        shutil.copy(path, bundle)
    bundles.seal(bundle, bundles.open_bundle(bundle).manifest)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run([sys.executable, str(tmp_path / "script.py"), "verify", "."], bundle)
    assert (done.returncode, traces(tmp_path)) == (0, ""), done.stderr
    assert "numpy.py" in bundles.open_bundle(bundle).manifest.files


def test_a_benchmark_s_processes_do_not_either(hostile: Path, tmp_path: Path) -> None:
    done = run(child_process.command("c2llm_lite.benchmarks.bench.latency"), hostile)
    assert "not enough values to unpack" in done.stderr  # it came as far as its arguments
    assert traces(tmp_path) == ""


def test_neither_does_python_m(hostile: Path, tmp_path: Path) -> None:
    for name in BEFORE_US:
        (hostile / f"{name}.py").unlink()
    done = run([sys.executable, "-m", "c2llm_lite", "convert", ".", "-o", "../bundle", "--to", "gguf:q8_0"], hostile)
    assert (done.returncode, traces(tmp_path)) == (0, ""), done.stderr


def test_a_child_has_what_pythonpath_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_module_of_the_user.py").write_text("import sys; print('found', *sys.argv[1:])")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run(child_process.command("a_module_of_the_user", "1", "2"), tmp_path.parent).stdout == "found 1 2\n"
