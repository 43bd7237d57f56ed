"""Engines are imported in processes of their own, so that one that crashes is a line of the report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from safetensors.numpy import load_file, save_file

from c2llm_lite import bundle as bundles


def doctor(*arguments, **environment):
    command = [sys.executable, "-m", "c2llm_lite", "doctor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def test_a_bundle_s_probes_are_embedded(f32_bundle):
    done = doctor(f32_bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "ok   llama_cpp: 6 probes embedded, within their limits"


def test_probes_outside_their_limits(f32_bundle, tmp_path):
    folder = shutil.copytree(f32_bundle, tmp_path / "bundle")
    vectors = load_file(folder / bundles.PROBES)
    vectors[bundles.TARGET_VECTORS][1] *= -1
    save_file(vectors, folder / bundles.PROBES)
    bundles.seal(folder, bundles.open_bundle(f32_bundle).manifest)
    done = doctor(folder)
    assert done.returncode == 1
    assert "FIX  llama_cpp: 1 of 6 probes outside their limits" in done.stdout


def test_a_damaged_bundle(f32_bundle, tmp_path):
    folder = shutil.copytree(f32_bundle, tmp_path / "bundle")
    (folder / bundles.GGUF).unlink()
    done = doctor(folder)
    assert done.returncode == 1
    assert f"FIX  engine: {folder}: backbone.gguf is missing" in done.stdout


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "it crashed with SIGILL; reinstall it"),
        ("raise ImportError('libgomp.so.1: cannot open shared object file')", "libgomp.so.1: cannot open"),
    ],
)
def test_an_engine_that_cannot_be_imported(tmp_path, source, text):
    (tmp_path / "openvino.py").write_text(source)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = doctor("--json", PYTHONPATH=path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    by_name = {finding["name"]: finding for finding in report["findings"]}
    assert (report["passed"], by_name["openvino"]["ok"], by_name["llama_cpp"]["ok"]) == (False, False, True)
    assert text in by_name["openvino"]["text"]
