"""The OpenVINO engine: its states match the NumPy reference, independent of the text's length and batch."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint

from c2llm_lite import cpu, load, pma
from c2llm_lite.bundle import OPENVINO_GRAPH, Bundle, open_bundle
from c2llm_lite.convert import convert, reference
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.engines import openvino as engines
from c2llm_lite.engines.openvino.settings import activation_bits, settings
from c2llm_lite.errors import BundleError, DeviceError, MissingDependencyError

pytest.importorskip("optimum.exporters.openvino")

MAX_TOKENS = 2048
Open = Callable[[str], engines.OpenVino]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.fixture(scope="module")
def bundles(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    made = {
        kind: convert(checkpoint.folder, folder / kind, f"openvino:{kind}", target_probes=False)
        for kind in ("fp32", "int8", "int4")
    }
    calibrate = {"document": [f"def f{i}(x, y):\n    return x + {i} * y" for i in range(30)]}
    static = "openvino:int8-static"
    made["int8-static"] = convert(
        checkpoint.folder, folder / "static", static, target_probes=False, calibrate=calibrate
    )
    return made


@pytest.fixture
def open_kind(bundles: dict[str, Bundle]) -> Iterator[Open]:
    opened: list[engines.OpenVino] = []

    def open_one(kind: str) -> engines.OpenVino:
        opened.append(engines.open_engine(bundles[kind], device="auto", threads=1, max_tokens=MAX_TOKENS))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.close()


def texts(*lengths: int) -> list[list[int]]:
    random = np.random.default_rng(7)
    return [random.integers(0, 400, length).tolist() for length in lengths]


def relative(found: pma.Array, wanted: pma.Array) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def test_states_are_the_reference_s(checkpoint: Checkpoint, open_kind: Open) -> None:
    several = texts(1, 33, 300, 700)  # one block, two, several, and more than a pass
    engine = open_kind("fp32")
    for ids, wanted in zip(several, reference.states(checkpoint, several), strict=True):
        assert relative(np.concatenate(list(engine.states(ids))), wanted) < 1e-3


def test_pooling_is_that_of_the_reference_s_states(checkpoint: Checkpoint, open_kind: Open) -> None:
    several = texts(5, 64, 530)
    queries = pma.Head(checkpoint.head(), checkpoint.variant).queries
    found = open_kind("fp32").pool(several, queries)
    wanted = np.stack([pma.pool(states, queries) for states in reference.states(checkpoint, several)])
    assert found.dtype == np.float32
    assert relative(found, wanted) < 1e-3


def test_a_text_does_not_depend_on_its_company(checkpoint: Checkpoint, open_kind: Open) -> None:
    several = texts(3, 40, 600, 17, 256)
    queries = pma.Head(checkpoint.head(), checkpoint.variant).queries
    for kind, tolerance in (("fp32", 1e-5), ("int8", 1e-2), ("int8-static", 1e-2), ("int4", 1e-2)):
        engine = open_kind(kind)
        together = engine.pool(several, queries)
        alone = np.concatenate([engine.pool([ids], queries) for ids in several])
        assert relative(together, alone) < tolerance


def test_quantized_states_are_near_full_precision(checkpoint: Checkpoint, open_kind: Open) -> None:
    (ids,) = texts(64)
    (wanted,) = reference.states(checkpoint, [ids])
    for kind, least in (("int8", 0.995), ("int8-static", 0.99), ("int4", 0.95)):
        found = np.concatenate(list(open_kind(kind).states(ids)))
        cosines = np.sum(found * wanted, axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
        assert cosines.mean() > least


def test_no_length_gives_nan(open_kind: Open) -> None:
    engine = open_kind("int8")
    queries = np.random.default_rng(0).standard_normal((4, 64), dtype=np.float32)
    for length in (*range(1, 70), 127, 128, 129, 511, 512, 513, 1024, MAX_TOKENS):
        assert np.isfinite(engine.pool(texts(length, 1), queries)).all(), length


def test_a_long_text_leaves_the_next_one_unchanged(open_kind: Open) -> None:
    engine = open_kind("fp32")
    short, long = texts(20, MAX_TOKENS)
    before = np.concatenate(list(engine.states(short)))
    list(engine.states(long))
    assert np.array_equal(np.concatenate(list(engine.states(short))), before)


def test_how_activations_are_rounded_follows_from_the_matrices_type(bundles: dict[str, Bundle]) -> None:
    groups = {}
    for kind, bundle in bundles.items():
        named = replace(bundle.manifest, target="a name that says nothing")
        groups[kind] = settings(named, "CPU", 1)["DYNAMIC_QUANTIZATION_GROUP_SIZE"]
        assert ("INFERENCE_PRECISION_HINT" in settings(named, "GPU", 1)) == (kind == "fp32")
    assert groups == {"fp32": 0, "int8": 64, "int8-static": 64, "int4": 32}


@pytest.mark.parametrize(
    ("kind", "known", "machine", "told"),
    [
        ("int8", {"avx512_vnni"}, "x86_64", "int8 in groups of 64"),
        ("int8", {"avx2"}, "x86_64", "fp32"),  # its kernels leave them
        ("int8", {"asimddp"}, "aarch64", "fp32"),
        ("int4", {"avx_vnni"}, "AMD64", "int8 in groups of 32"),
        ("int8-static", {"avx2"}, "x86_64", "int8 at fixed scales"),
        ("fp32", {"avx512_vnni"}, "x86_64", "fp32"),
    ],
)
def test_the_account_says_how_activations_are_rounded_on_this_cpu(
    bundles: dict[str, Bundle],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    known: set[str],
    machine: str,
    told: str,
) -> None:
    monkeypatch.setattr(cpu, "_known", lambda: known)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    manifest = bundles[kind].manifest
    assert activation_bits(manifest, "CPU") == told
    assert activation_bits(manifest, "GPU") == "as OpenVINO's GPU device takes them"


def test_embedder_runs_it(bundles: dict[str, Bundle]) -> None:
    with load(bundles["int8"].folder) as model:
        vectors = model.embed(["def read(path):", "class Stack:"], prompt_name="document")
        assert vectors.shape == (2, model.dim)
        assert model.info()["engine"]["device"] == "CPU"


def test_a_device_that_is_not_there_is_refused_with_those_that_are(bundles: dict[str, Bundle]) -> None:
    with pytest.raises(DeviceError, match="OpenVINO finds 'cpu'"):
        engines.open_engine(bundles["int8"], device="gpu.7", threads=1, max_tokens=MAX_TOKENS)


def test_a_cpu_that_paged_attention_has_no_kernel_for_is_refused_with_what_to_do(
    bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ARM without SVE, as OpenVINO 2026.4 says it."""

    class Core:
        read_model = staticmethod(engines.process_core().read_model)
        available_devices = ("CPU",)

        def compile_model(self, *_: object) -> None:
            raise RuntimeError("PagedAttentionExtension_16123 AttentionExecutor creation fails with precision f32")

    monkeypatch.setattr(engines, "process_core", Core)
    with pytest.raises(DeviceError, match=r"needs SVE, which .* lack; convert the checkpoint to gguf:q8_0"):
        engines.open_engine(bundles["int8"], device="auto", threads=1, max_tokens=MAX_TOKENS)


def test_openvino_missing_names_the_extra(bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"c2llm-lite\[openvino\]"):
        engines.open_engine(bundles["int8"], device="auto", threads=1, max_tokens=MAX_TOKENS)


def test_a_graph_that_cannot_be_read_is_a_bundle_error(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    source = bundles["int8"]
    whole = source.path(OPENVINO_GRAPH).read_text()
    (tmp_path / OPENVINO_GRAPH).write_text(whole.replace('version="opset', 'version="opset9'))
    broken = Bundle(tmp_path, source.manifest, source.sha256)
    with pytest.raises(BundleError, match="OpenVINO cannot read"):
        engines.open_engine(broken, device="auto", threads=1, max_tokens=MAX_TOKENS)


def test_another_backbone_s_graph_is_refused(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    other = convert(write_checkpoint(tmp_path / "c", layers=1), tmp_path / "b", "openvino:fp32", target_probes=False)
    mixed = Bundle(other.folder, open_bundle(bundles["fp32"].folder).manifest, other.sha256)
    with pytest.raises(BundleError, match="not the manifest's backbone"):
        engines.open_engine(mixed, device="auto", threads=1, max_tokens=MAX_TOKENS)


def test_a_pass_that_openvino_fails_in_is_a_device_error(open_kind: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, request: object) -> None:
            self._request = request

        def __getattr__(self, name: str) -> object:
            return getattr(self._request, name)

        def infer(self) -> None:
            raise RuntimeError("could not create a primitive")

    engine = open_kind("int8")
    monkeypatch.setattr(engine, "_request", Failing(engine._request))
    with pytest.raises(DeviceError, match="could not create a primitive; unset ONEDNN_MAX_CPU_ISA if it is set"):
        list(engine.states([1, 2, 3]))


def test_a_closed_engine_says_so(bundles: dict[str, Bundle]) -> None:
    engine = engines.open_engine(bundles["fp32"], device="cpu", threads=1, max_tokens=MAX_TOKENS)
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        list(engine.states([1]))


TWO = """
import signal, sys
import c2llm_lite
first, second = (c2llm_lite.load(sys.argv[1], cache=False) for _ in range(2))
for model in (first, second):
    model.embed("x")
    model.close()
del first, second, model
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_two_models_were_closed(bundles: dict[str, Bundle]) -> None:
    command = [sys.executable, "-c", TWO, str(bundles["int8"].folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
