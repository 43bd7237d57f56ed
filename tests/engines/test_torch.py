"""The PyTorch engine on a CPU: against the plain transcription of the formulas, against itself in other company, and
where something is missing."""

from __future__ import annotations

import builtins
import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transcription
from checkpoints import write_checkpoint

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite import machine, pma
from c2llm_lite.convert import convert
from c2llm_lite.engines import torch as torch_engine
from c2llm_lite.engines.torch import backbone as torch_backbone
from c2llm_lite.errors import BundleError, DeviceError, MissingDependencyError, OutOfMemoryError

SHAPES = {
    "tied": {},
    "untied, fp16": {"tied": False, "dtype": "F16"},
    "one kv head, narrow head": {"heads": 8, "kv_heads": 1, "width": 32, "pma_heads": 8, "dtype": "F32"},
    "no shared kv heads, wide head": {"kv_heads": 4, "width": 128, "pma_heads": 2, "rope_theta": 10000.0},
}
TEXTS = [
    "x",
    "def f(x):\n    return x",
    "import os\n" * 40,
    "for name in names: print(name)",
    "y",
    "class Stack: pass\n" * 9,
]
TARGETS = ["torch:fp32", "torch:bf16", "bnb:int8", "bnb:nf4"]
# The largest difference that a text's company may make to a component of its vector of unit length.
COMPANY = {"torch:fp32": 1e-5, "torch:bf16": 1e-3}


@pytest.fixture(scope="module")
def small_bundles(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("bitsandbytes")
    folder = tmp_path_factory.mktemp("torch")
    return {target: make(checkpoint_folder, folder / target.replace(":", "_"), target) for target in TARGETS}


@pytest.fixture
def engine(small_bundles: dict[str, Path]) -> Iterator[torch_engine.TorchEngine]:
    opened = open_cpu(small_bundles["torch:fp32"])
    yield opened
    opened.close()


def make(checkpoint: Path, folder: Path, target: str) -> Path:
    return convert(checkpoint, folder, target, target_probes=False).folder


def open_cpu(folder: Path, device: str = "cpu") -> torch_engine.TorchEngine:
    return torch_engine.open_engine(bundles.open_bundle(folder), device=device, threads=1, max_tokens=2048)


def random_ids(lengths: list[int], vocab: int = 400) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [random.integers(0, vocab, length).tolist() for length in lengths]


def random_queries(heads: int = 4, hidden: int = 64) -> pma.Array:
    return np.random.default_rng(1).standard_normal((heads, hidden), dtype=np.float32)


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES.keys())
def test_fp32_is_the_formulas(tmp_path: Path, options: dict[str, object]) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **options)
    ids = random_ids([1, 2, 17, 17, 150])
    with c2llm_lite.load(make(checkpoint, tmp_path / "bundle", "torch:fp32"), device="cpu", threads=1) as model:
        pooled = model._engine.pool(ids, model._head.queries)
        ours = model._head.embed(pooled)
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    theirs = np.stack([transcription.embed(checkpoint, text).numpy() for text in ids])
    assert np.abs(ours - theirs).max() < 1e-4


def test_pooling_is_pma_s(engine: torch_engine.TorchEngine) -> None:
    queries = random_queries()
    for ids in random_ids([1, 5, 300]):
        (states,) = engine.states(ids)
        assert states.shape == (len(ids), 64)
        assert states.dtype == np.float32
        np.testing.assert_allclose(engine.pool([ids], queries)[0], pma.pool(states, queries), atol=2e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_company_changes_no_vector(small_bundles: dict[str, Path], target: str) -> None:
    with c2llm_lite.load(small_bundles[target], device="cpu", threads=1) as model:
        together = model.embed(TEXTS)
        alone = np.stack([model.embed(text) for text in TEXTS])
    if target in COMPANY:
        assert np.abs(together - alone).max() < COMPANY[target]
    else:
        assert np.sum(together * alone, axis=1).min() > 0.999


@pytest.mark.parametrize(("target", "least"), [("torch:bf16", 0.9999), ("bnb:int8", 0.999), ("bnb:nf4", 0.99)])
def test_lower_precision_is_near_full(small_bundles: dict[str, Path], target: str, least: float) -> None:
    """On random weights; what a real model loses is measured in benchmarks/."""
    vectors = []
    for name in ("torch:fp32", target):
        with c2llm_lite.load(small_bundles[name], device="cpu", threads=1) as model:
            vectors.append(model.embed(TEXTS))
    assert np.sum(vectors[0] * vectors[1], axis=1).min() > least


def test_no_token_is_padded(engine: torch_engine.TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    layer = engine._model.layers[0].mlp
    monkeypatch.setattr(layer, "forward", lambda x, forward=layer.forward: seen.append(x.shape) or forward(x))
    engine.pool(random_ids([3, 50, 7]), random_queries())
    assert seen == [(60, 64)]


def test_a_long_text_makes_no_mask(engine: torch_engine.TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def spy(*tensors: torch.Tensor, **options: object) -> torch.Tensor:
        masks.append((len(tensors), options["is_causal"], options.get("attn_mask")))
        return attend(*tensors, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    engine.pool(random_ids([2000, 10, 10]), random_queries())
    assert masks == [(3, True, None)] * 4  # two lengths in each of two layers


class ShortMemory:
    """A model that runs out of memory above `tokens` tokens."""

    def __init__(self, model: torch.nn.Module, tokens: int, error: Exception) -> None:
        self.model, self.tokens, self.error = model, tokens, error
        self.seen: list[int] = []

    def __call__(self, rows: torch.Tensor, *rest: object) -> object:
        self.seen.append(len(rows))
        if len(rows) > self.tokens:
            raise self.error
        return self.model(rows, *rest)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), RuntimeError("MPS backend out of memory")])
def test_out_of_memory_halves_the_batch(
    engine: torch_engine.TorchEngine, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    ids, queries = random_ids([20] * 8), random_queries()
    whole = engine.pool(ids, queries)
    engine._model = short = ShortMemory(engine._model, 50, error)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(engine.pool(ids, queries), whole, atol=1e-5)
        np.testing.assert_allclose(engine.pool(ids, queries), whole, atol=1e-5)
    assert short.seen == [160, 80] + [40] * 8  # the second call is cut in advance
    assert [record.message for record in caplog.records] == [
        "cpu ran out of memory on 160 tokens: further batches will be smaller"
    ]


def test_a_single_text_that_does_not_fit(engine: torch_engine.TorchEngine) -> None:
    engine._model = ShortMemory(engine._model, 50, torch.OutOfMemoryError("CUDA"))
    with pytest.raises(OutOfMemoryError, match=r"a text of 60 tokens does not fit.*smaller max_tokens"):
        engine.pool(random_ids([60, 10]), random_queries())


def test_other_errors_pass(engine: torch_engine.TorchEngine) -> None:
    engine._model = ShortMemory(engine._model, 0, RuntimeError("told"))
    with pytest.raises(RuntimeError, match="told"):
        engine.pool(random_ids([6]), random_queries())


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "has no 'cuda'.*or use device='cpu'"),
        ("cuda:3", "has no 'cuda:3'"),
        ("mps", "has no 'mps'.*use device='cpu'"),
        ("gpu", "auto, cpu, cuda, cuda:N and mps"),
        ("cuda:x", "auto, cpu, cuda, cuda:N and mps"),
        ("cuda:²", "auto, cpu, cuda, cuda:N and mps"),
        ("cpu:0", "auto, cpu, cuda, cuda:N and mps"),
    ],
)
def test_a_device_that_is_not_here(
    small_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch, device: str, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=message):
        open_cpu(small_bundles["torch:fp32"], device)


def test_a_gpu_beyond_the_last(monkeypatch: pytest.MonkeyPatch, small_bundles: dict[str, Path]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="no 'cuda:2'; this machine has 2"):
        open_cpu(small_bundles["torch:fp32"], "cuda:2")


def test_a_model_that_does_not_fit(small_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch_engine, "load_backbone", load)
    with pytest.raises(OutOfMemoryError, match="does not fit in the free memory of cpu"):
        open_cpu(small_bundles["torch:fp32"])


def test_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("torch", "torch.backbone"):
        monkeypatch.delitem(sys.modules, f"c2llm_lite.engines.{name}")
    with pytest.raises(MissingDependencyError, match=r"torch, which is not installed: .*c2llm-lite\[torch\]"):
        builtins.__import__("c2llm_lite.engines.torch")


def test_bitsandbytes_is_missing(small_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match=r"bnb:nf4 needs bitsandbytes.*c2llm-lite\[bitsandbytes\]"):
        open_cpu(small_bundles["bnb:nf4"])


@pytest.mark.parametrize(("device", "refused"), [("cpu", True), ("mps", True), ("cuda", False)])
def test_the_host_s_memory_is_asked_for_where_the_weights_lie_in_it(
    small_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch, device: str, refused: bool
) -> None:
    bundle = bundles.open_bundle(small_bundles["torch:fp32"])
    monkeypatch.setattr(machine, "free_memory", lambda: 1000)
    monkeypatch.setattr(torch_engine, "_device", torch.device)
    monkeypatch.setattr(torch_engine, "load_backbone", lambda *_: None)
    monkeypatch.setattr(torch_engine, "lookup", lambda *_: None)
    with pytest.raises(OutOfMemoryError, match="0 MiB are free") if refused else contextlib.nullcontext():
        torch_engine.open_engine(bundle, device=device, threads=1, max_tokens=10)


def test_a_target_of_a_newer_version(small_bundles: dict[str, Path]) -> None:
    bundle = bundles.open_bundle(small_bundles["torch:fp32"])
    tensors = dict.fromkeys(bundle.manifest.tensors, "fp8")
    newer = replace(bundle, manifest=replace(bundle.manifest, target="torch:fp8", tensors=tensors))
    with pytest.raises(BundleError, match="does not run torch:fp8; upgrade"):
        torch_engine.open_engine(newer, device="cpu", threads=1, max_tokens=10)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_s_name_decides_nothing(small_bundles: dict[str, Path], target: str) -> None:
    bundle = bundles.open_bundle(small_bundles[target])
    named = replace(bundle, manifest=replace(bundle.manifest, target="a name that says nothing"))
    states = []
    for opened in (bundle, named):
        engine = torch_engine.open_engine(opened, device="cpu", threads=1, max_tokens=10)
        states += engine.states([1, 2, 3, 4])
        engine.close()
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("target", ["torch:bf16", "bnb:int8", "bnb:nf4"])
def test_a_file_of_another_shape(small_bundles: dict[str, Path], target: str) -> None:
    bundle = bundles.open_bundle(small_bundles[target])
    other = replace(bundle.manifest.backbone, intermediate=64)
    wrong = replace(bundle, manifest=replace(bundle.manifest, backbone=other))
    with pytest.raises(BundleError, match=r"does not contain the backbone: layers\.0\.mlp\.\w+\.weight"):
        torch_backbone.load_backbone(wrong, torch.device("cpu"))


def test_a_file_that_is_cut(small_bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle = bundles.open_bundle(small_bundles["bnb:int8"])
    (tmp_path / bundles.SAFETENSORS).write_bytes(bundle.path(bundles.SAFETENSORS).read_bytes()[:5000])
    with pytest.raises(BundleError, match="does not contain the backbone"):
        torch_backbone.load_backbone(replace(bundle, folder=tmp_path), torch.device("cpu"))


def test_closed(small_bundles: dict[str, Path]) -> None:
    opened = open_cpu(small_bundles["torch:fp32"])
    opened.close()
    with pytest.raises(ValueError, match="closed"):
        opened.pool([[1]], random_queries())


def test_nothing_is_printed(small_bundles: dict[str, Path]) -> None:
    """bitsandbytes warns on import and with every int8 product; transformers may."""
    code = f"import c2llm_lite; c2llm_lite.load({str(small_bundles['bnb:int8'])!r}, device='cpu', threads=1).embed('x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
