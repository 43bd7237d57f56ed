"""Loading a bundle warns of what an engine does badly on this CPU; waiting threads."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from c2llm_lite import cpu, openmp
from c2llm_lite.convert import convert
from c2llm_lite.engines import torch as torch_engine
from c2llm_lite.engines.openvino.settings import STATIC, warn_of_saturation


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "openvino_model.xml"
    path.write_bytes(b"<layer " + STATIC + b"/>")
    return path


@pytest.fixture
def with_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_known", lambda: {"avx512_vnni"})


def test_static_int8_without_vnni_is_warned_of(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cpu, "_known", lambda: {"avx2"})
    warn_of_saturation(graph)
    assert "this CPU has no VNNI instructions" in caplog.text
    assert "convert the checkpoint to openvino:int8 for this machine" in caplog.text


@pytest.mark.parametrize(
    ("limit", "warned"), [("AVX2", True), ("avx512_core", True), ("AVX2_VNNI", False), ("", False)]
)
def test_a_limit_that_the_user_sets_counts(
    graph: Path,
    with_vnni: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: str,
    warned: bool,
) -> None:
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    warn_of_saturation(graph)
    assert ("no VNNI" in caplog.text) == warned


def test_other_graphs_are_not_warned_of(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cpu, "_known", set)
    graph.write_bytes(b"<layer type='MatMul'/>")
    warn_of_saturation(graph)
    assert not caplog.records


def test_only_static_graphs_have_the_mark(checkpoint_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("optimum.exporters.openvino")
    texts = {"document": [f"def read_{i}(path): return open(path).read({i})" for i in range(50)]}
    for kind in ("int8", "int4", "int8-static"):
        given = texts if kind == "int8-static" else None
        made = convert(checkpoint_folder, tmp_path / kind, f"openvino:{kind}", target_probes=False, calibrate=given)
        assert (STATIC in made.path("openvino_model.xml").read_bytes()) == (kind == "int8-static")


@pytest.mark.parametrize(
    ("states", "device", "known", "warned"),
    [
        (torch.bfloat16, "cpu", {"avx2"}, True),
        (torch.bfloat16, "cpu", {"avx512_bf16"}, False),
        (torch.bfloat16, "cuda", {"avx2"}, False),
        (torch.float32, "cpu", {"avx2"}, False),
    ],
)
def test_bf16_without_its_instructions_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    states: torch.dtype,
    device: str,
    known: set[str],
    warned: bool,
) -> None:
    torch_engine._warn_of_slow_bf16.cache_clear()
    monkeypatch.setattr(cpu, "_known", lambda: known)
    for _ in range(2):
        torch_engine._warn_of_slow_bf16(states, torch.device(device))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * warned
    torch_engine._warn_of_slow_bf16.cache_clear()


@pytest.mark.parametrize(("given", "policy"), [(None, "PASSIVE"), ("active", "ACTIVE")])
@pytest.mark.parametrize("target", ["gguf:f32", "torch:fp32"])
def test_waiting_threads_do_not_spin_unless_the_user_says_otherwise(
    checkpoint_folder: Path, tmp_path: Path, target: str, given: str | None, policy: str
) -> None:
    folder = convert(checkpoint_folder, tmp_path / "bundle", target, target_probes=False).folder
    code = f"import c2llm_lite, os; c2llm_lite.load({str(folder)!r}); print(os.environ.get('OMP_WAIT_POLICY'))"
    environment = {name: value for name, value in os.environ.items() if name != openmp.WAIT_POLICY}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({} if given is None else {openmp.WAIT_POLICY: given})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this library does not use libgomp")
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
    assert done.stdout.strip() == str(given)  # other libraries are left as they are
