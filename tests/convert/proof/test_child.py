"""A new bundle runs in a child: a missing device is a warning, a crash is an error."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest

from c2llm_lite import bundle as bundles
from c2llm_lite import machine
from c2llm_lite.convert import convert
from c2llm_lite.convert.proof.child import CannotRunHereError
from c2llm_lite.convert.targets import families
from c2llm_lite.errors import BundleError, DeviceError, MissingDependencyError, OutOfMemoryError

TEXTS = {"document": [f"def f{i}(x): return x * {i}" for i in range(10)]}
NO_TORCH = "import sys; sys.modules['torch'] = None"
NO_MEMORY = "from c2llm_lite import machine; machine.free_memory = lambda: 0"
NAN = (
    "import numpy; from c2llm_lite.engines import llama_cpp; "
    "llama_cpp.LlamaCpp.pool = lambda self, batch, queries, shared=0: "
    "numpy.full((len(batch), *queries.shape), numpy.nan, numpy.float32)"
)


@pytest.fixture
def in_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Has every child process run some code before anything else."""

    def give(code: str) -> None:
        folder = tmp_path / "site"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))

    return give


@pytest.mark.parametrize(
    ("code", "target", "reason"),
    [
        (NO_TORCH, "torch:fp32", r"needs torch.*pip install 'c2llm-lite\[torch\]'"),
        (NO_MEMORY, "gguf:q8_0", "0 MiB are free"),
        ("import os; os.kill(os.getpid(), 9)", "gguf:q8_0", "probably because memory ran out"),
    ],
)
def test_what_cannot_run_here_is_kept_with_a_warning(
    code, target, reason, in_child, checkpoint_folder, tmp_path, caplog
):
    in_child(code)
    with caplog.at_level(logging.WARNING):
        made = convert(checkpoint_folder, tmp_path / "bundle", target)
    assert [probe.cosine for probe in bundles.open_bundle(made.folder, check=True).manifest.probes] == [None] * 6
    (record,) = caplog.records
    assert "was written but not run" in record.getMessage()
    assert re.search(reason, record.getMessage())


@pytest.mark.parametrize(
    ("code", "reason"), [("import os; os.abort()", "crashed with SIGABRT"), (NAN, "returned NaN or infinity")]
)
def test_a_bundle_that_crashes_or_gives_nan_is_an_error_and_not_kept(
    code, reason, in_child, checkpoint_folder, tmp_path
):
    in_child(code)
    with pytest.raises(BundleError, match=reason):
        convert(checkpoint_folder, tmp_path / "bundle", "gguf:q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_calibrating_asks_first_whether_the_engine_is_there_and_fits(
    checkpoint_folder, tmp_path, monkeypatch, in_child
):
    def attempt(target: str) -> None:
        convert(checkpoint_folder, tmp_path / "bundle", target, calibrate=TEXTS)

    with monkeypatch.context() as patch:
        patch.setattr(families, "_is_installed", lambda module: module != "openvino")
        with pytest.raises(MissingDependencyError, match=r"openvino.*c2llm-lite\[openvino\]"):
            attempt("openvino:int8")
    with monkeypatch.context() as patch:
        patch.setattr(machine, "free_memory", lambda: 1 << 10)
        with pytest.raises(OutOfMemoryError, match="0 MiB are free"):
            attempt("gguf:q8_0")
    in_child("import os; os.abort()")
    with pytest.raises(DeviceError, match=r"llama\.cpp, which runs gguf:q8_0, does not start here: .*SIGABRT"):
        attempt("gguf:q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_calibrated_bundle_that_cannot_run_in_the_end_is_kept_and_can_continue(
    checkpoint_folder, tmp_path, monkeypatch, caplog
):
    def cannot(*_: object) -> None:
        raise CannotRunHereError("its process was killed")

    monkeypatch.setattr("c2llm_lite.convert.head.recover", cannot)
    with caplog.at_level(logging.WARNING):
        made = convert(checkpoint_folder, tmp_path / "bundle", "gguf:q4_0", calibrate=TEXTS, target_probes=False)
    bundles.open_bundle(made.folder, check=True)
    assert "its head was not fitted" in caplog.text
    assert len(list(tmp_path.glob(".bundle.unfinished-*"))) == 1
