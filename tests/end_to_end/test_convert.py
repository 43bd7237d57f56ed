"""A conversion ends with a complete bundle, or with a clear error and no output."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from needed import skip_without

from c2llm_lite import bundle as bundles
from c2llm_lite.convert import convert, list_targets
from c2llm_lite.errors import BundleError, CheckpointError, OutputError

CONVERT = "import sys; from c2llm_lite.convert import convert; convert(sys.argv[1], sys.argv[2], 'gguf:q8_0')"


def test_the_manifest_reports_what_was_made(checkpoint_folder, tmp_path):
    made = convert(checkpoint_folder, tmp_path / "bundle", "gguf:q8_0").manifest
    assert (made.target, made.engine, made.width) == ("gguf:q8_0", "llama_cpp", 64)
    assert made.tensors["layers.0.mlp.up_proj.weight"] == "q8_0"
    assert made.tensors["embed_tokens.weight"] == "bf16"
    assert made.source.name == "small"
    assert all(probe.tokens >= 32 and probe.cosine > 0.99 for probe in made.probes)


def test_the_same_checkpoint_gives_the_same_bundle(checkpoint_folder, tmp_path):
    first, second = (convert(checkpoint_folder, tmp_path / name, "gguf:q4_0") for name in ("a", "b"))
    assert first.sha256 == second.sha256


def test_without_target_probes_nothing_is_run(checkpoint_folder, tmp_path):
    made = convert(checkpoint_folder, tmp_path / "bundle", "gguf:f16", target_probes=False).manifest
    assert [probe.cosine for probe in made.probes] == [None] * len(made.probes)


def test_a_file_is_hashed_once(checkpoint_folder, tmp_path, monkeypatch):
    hashed = Counter()

    def counted(path, sha256=bundles.file_sha256):
        hashed[path.name] += 1
        return sha256(path)

    monkeypatch.setattr(bundles, "file_sha256", counted)
    texts = {"document": [f"def f{i}(x): return x * {i}" for i in range(10)]}
    made = convert(checkpoint_folder, tmp_path / "bundle", "gguf:q4_0", calibrate=texts)
    rewritten = {bundles.HEAD: 2, bundles.PROBES: 2}
    assert hashed == dict.fromkeys(made.manifest.files, 1) | rewritten
    bundles.open_bundle(made.folder, check=True)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("q8_0", ValueError, "'q8_0' is not a target; pass FAMILY:KIND"),
        ("tensorrt:int8", ValueError, "is not a target"),
        ("gguf:q9_9", CheckpointError, "q9_9 is not a target of this package"),
        ("gguf:q6_k", CheckpointError, "rows of 64"),
    ],
)
def test_a_target_that_cannot_be_is_refused_and_leaves_nothing(checkpoint_folder, tmp_path, target, error, message):
    with pytest.raises(error, match=message):
        convert(checkpoint_folder, tmp_path / "bundle", target)
    assert list(tmp_path.iterdir()) == []


def test_targets_come_with_their_bits(checkpoint_folder):
    bits = {str(target): bits for target, bits, _ in list_targets(checkpoint_folder)}
    assert bits["gguf:f16"] == pytest.approx(16, abs=0.3)
    assert bits["gguf:q8_0"] == pytest.approx(8.5, abs=0.3)
    assert "gguf:q6_k" not in bits  # rows of 64 cannot hold blocks of 256


def test_an_existing_output_is_kept(checkpoint_folder, f32_bundle):
    before = bundles.open_bundle(f32_bundle).sha256
    with pytest.raises(OutputError, match="--force"):
        convert(checkpoint_folder, f32_bundle, "gguf:q8_0")
    assert bundles.open_bundle(f32_bundle, check=True).sha256 == before


def test_a_killed_conversion_leaves_nothing_that_loads(checkpoint_folder, tmp_path):
    draw = random.Random(0)
    output = tmp_path / "bundle"
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", CONVERT, checkpoint_folder, output], stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.2, 2))
        child.send_signal(signal.SIGKILL)
        child.wait()
        if output.exists():  # it had finished
            bundles.open_bundle(output, check=True)
            break
        with pytest.raises(BundleError):
            bundles.open_bundle(output)
        for left in tmp_path.iterdir():
            assert left.name.startswith(".bundle.partial-")


@pytest.mark.parametrize(
    ("target", "most"),
    # The first write, the backbone, and of openvino's two graphs the exported and the compressed one.
    [("gguf:q8_0", 300), ("gguf:q8_0", 50_000), ("openvino:int8", 5_000), ("openvino:int8", 200_000), ("auto", 300)],
)
def test_a_full_disk_is_reported_and_nothing_is_left(checkpoint_folder, tmp_path, target, most):
    skip_without(target)

    def limit():
        # Beyond this size a write fails as on a full disk: EFBIG in place of ENOSPC.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    child = subprocess.run(
        [sys.executable, "-m", "c2llm_lite", "convert", checkpoint_folder, "-o", tmp_path / "bundle", "--to", target],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert child.returncode == 1
    assert "could not write" in child.stderr
    assert "Traceback" not in child.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_is_refused_before_the_source_is_read(tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(OutputError, match="exists"):
        convert(tmp_path / "no such checkpoint", tmp_path / "bundle", "gguf:q8_0")
