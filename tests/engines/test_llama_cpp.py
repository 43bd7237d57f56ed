"""llama.cpp's states match the reference, independent of the batch, and its errors are Python errors."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from checkpoints import VOCAB, write_checkpoint
from safetensors.numpy import load_file

from c2llm_lite import bundle as bundles
from c2llm_lite import load, pma
from c2llm_lite.convert import convert, reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.engines import llama_cpp
from c2llm_lite.engines.llama_cpp import buffers as llama_cpp_buffers
from c2llm_lite.engines.llama_cpp.tensor_names import tensor_names
from c2llm_lite.errors import BundleError, DeviceError, OutOfMemoryError
from c2llm_lite.packing import packs

SHAPES = {
    "tied, bf16, grouped heads": {"dtype": "BF16", "heads": 4, "kv_heads": 2},
    "untied, fp16, three shards": {"tied": False, "dtype": "F16", "shards": 3},
    "fp32, one head": {"dtype": "F32", "heads": 1, "kv_heads": 1},
    "full heads, two shards, three layers": {"heads": 8, "kv_heads": 8, "shards": 2, "layers": 3},
}
LENGTHS = (5, 40, 1, 130, 300, 17, 511, 600, 512, 3)  # within a pack, across packs, and longer than one


def open_engine(folder, **settings):
    opened = bundles.open_bundle(folder)
    return llama_cpp.open_engine(opened, **({"device": "auto", "threads": 1, "max_tokens": 2048} | settings))


def draw_texts(lengths=LENGTHS, seed=0) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, VOCAB, length).tolist() for length in lengths]


def token_cosines(a, b):
    return np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def packed(engine, texts):
    return packs([len(ids) for ids in texts], tokens=engine.batch_tokens, texts=engine.batch_texts)


def vectors(engine, folder, texts):
    opened = bundles.open_bundle(folder)
    head = pma.Head(load_file(opened.path(bundles.HEAD)), opened.manifest.head)
    found = np.empty((len(texts), head.width), np.float32)
    for pack in packed(engine, texts):
        found[pack] = head.embed(engine.pool([texts[i] for i in pack], head.queries))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_states_are_the_references_in_any_company(tmp_path, shape, kind):
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "source", **shape))
    folder = convert(checkpoint.folder, tmp_path / "bundle", f"gguf:{kind}", target_probes=False).folder
    texts = draw_texts()
    expected = reference.states(checkpoint, texts)
    engine = open_engine(folder)
    for ids, states in zip(texts, expected, strict=True):
        assert token_cosines(np.concatenate(list(engine.states(ids))), states).min() >= 0.9999
    for order in (range(len(texts)), np.random.default_rng(1).permutation(len(texts))):
        for pack in packed(engine, [texts[i] for i in order]):
            parts = [[] for _ in pack]
            for text, states in engine._run([texts[order[i]] for i in pack], past=0, first=1):
                parts[text].append(states.copy())
            for i, states in zip(pack, parts, strict=True):
                assert token_cosines(np.concatenate(states), expected[order[i]]).min() >= 0.9999
    engine.close()


def test_attention_is_exact_where_the_matrices_are_whatever_the_target_is_called(f32_bundle, checkpoint_folder):
    opened = bundles.open_bundle(f32_bundle)
    named = replace(opened, manifest=replace(opened.manifest, target="a name that says nothing"))
    checkpoint, (ids,) = open_checkpoint(checkpoint_folder), draw_texts([300])
    engine = llama_cpp.open_engine(named, device="auto", threads=1, max_tokens=2048)
    (expected,) = reference.states(checkpoint, [ids])
    found = np.concatenate(list(engine.states(ids)))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    engine.close()


@pytest.mark.parametrize(("kind", "tolerance"), [("f32", 1e-5), ("f16", 1e-3), ("bf16", 1e-3)])
def test_a_vector_does_not_depend_on_its_company(checkpoint_folder, tmp_path, kind, tolerance):
    folder = convert(checkpoint_folder, tmp_path / "bundle", f"gguf:{kind}", target_probes=False).folder
    engine, texts = open_engine(folder), draw_texts()
    alone = np.concatenate([vectors(engine, folder, [ids]) for ids in texts])
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(texts))
        together = vectors(engine, folder, [texts[i] for i in order])
        assert np.abs(together - alone[order]).max() <= tolerance
    engine.close()


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "iq4_nl"])
def test_quantized_vectors_hardly_depend_on_their_company(checkpoint_folder, tmp_path, kind):
    folder = convert(checkpoint_folder, tmp_path / "bundle", f"gguf:{kind}", target_probes=False).folder
    engine, texts = open_engine(folder), draw_texts()
    alone = np.concatenate([vectors(engine, folder, [ids]) for ids in texts])
    cosines = np.sum(vectors(engine, folder, texts) * alone, axis=1)
    assert cosines.min() >= 0.995
    assert cosines[[i for i, ids in enumerate(texts) if len(ids) >= 16]].min() >= 0.999
    engine.close()


def test_more_texts_than_llama_cpp_has_sequences(f32_bundle):
    engine, texts = open_engine(f32_bundle), [[i % VOCAB] for i in range(600)]
    found = vectors(engine, f32_bundle, texts)
    np.testing.assert_allclose(found[:2], vectors(engine, f32_bundle, texts[:2]), atol=1e-5)
    np.testing.assert_allclose(found[VOCAB:], found[: 600 - VOCAB], atol=1e-5)
    engine.close()


def test_the_context_grows_with_the_longest_text_alone(f32_bundle):
    engine = open_engine(f32_bundle)
    sizes = []
    for length in (10, 512, 513, 700, 1500):
        list(engine.states([1] * length))
        sizes.append(engine._cells)
    assert sizes == [512, 512, 1024, 1024, 2048]
    engine.close()


def test_log_lines_go_to_logging_and_not_to_the_terminal(f32_bundle, caplog, capfd):
    with caplog.at_level(logging.DEBUG, "c2llm_lite.llama_cpp"):
        engine = open_engine(f32_bundle)
        list(engine.states([1, 2, 3]))
        engine.close()
    lines = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert {level for level, line in lines if "n_ctx  " in line} == {logging.INFO}
    assert not any("\n" in line for _, line in lines)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_where_no_one_set_up_logging(f32_bundle):
    code = f"import c2llm_lite; c2llm_lite.load({str(f32_bundle)!r}).embed('def f(): pass')"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (child.stdout, child.stderr) == (b"", b"")


@pytest.mark.parametrize("device", ["cuda", "gpu", "cpu:0"])
def test_another_device_is_refused(f32_bundle, device):
    with pytest.raises(DeviceError, match=f"device is '{device}', but a gguf bundle runs on the CPU"):
        open_engine(f32_bundle, device=device)


def _damaged(folder, tmp_path, damage):
    """A copy whose backbone was changed, sealed again so that sizes and hashes say nothing."""
    copy = tmp_path / "damaged"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    content = (copy / bundles.GGUF).read_bytes()
    (copy / bundles.GGUF).write_bytes(damage(content))
    bundles.seal(copy, bundles.open_bundle(folder).manifest)
    return copy


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:3],
        lambda content: content[:100],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-64],
        lambda content: b"GGML" + content[4:],
        lambda content: content[:4] + b"\x63" + content[5:],
        lambda content: content.replace(b"qwen2", b"qwen9"),
        lambda content: content.replace(b"blk.1.attn_q.weight", b"blk.7.attn_q.weight"),
    ],
    ids=["empty", "3 bytes", "100 bytes", "half", "less 64", "magic", "version", "architecture", "tensor"],
)
def test_a_damaged_backbone_is_a_clear_error(f32_bundle, tmp_path, damage):
    with pytest.raises(BundleError, match=r"backbone.gguf is not the backbone that the manifest describes: "):
        open_engine(_damaged(f32_bundle, tmp_path, damage))


def test_another_bundles_backbone_is_refused(f32_bundle, tmp_path):
    source = write_checkpoint(tmp_path / "source", layers=3)
    other = convert(source, tmp_path / "other", "gguf:f32", target_probes=False).folder
    content = (other / bundles.GGUF).read_bytes()
    with pytest.raises(BundleError, match=r"block_count is 3, not 2"):
        open_engine(_damaged(f32_bundle, tmp_path, lambda _: content))


def test_a_context_that_does_not_fit_is_out_of_memory(f32_bundle):
    engine = open_engine(f32_bundle)
    engine._llama = _Failing(engine._llama, "llama_init_from_model", None)
    with pytest.raises(OutOfMemoryError, match="ran out of memory for keys and values of 512 tokens"):
        list(engine.states([1]))


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (-2, OutOfMemoryError, "ran out of memory on 3 tokens"),
        (-3, RuntimeError, r"could not run 3 tokens \(status -3\)"),
    ],
)
def test_a_failed_pass_is_an_error(f32_bundle, status, error, message):
    engine = open_engine(f32_bundle)
    engine._llama = _Failing(engine._llama, "llama_decode", status)
    with pytest.raises(error, match=message):
        engine.pool([[1, 2, 3]], np.ones((1, 64), np.float32))


def test_a_closed_engine_says_so(f32_bundle):
    engine = open_engine(f32_bundle)
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="is closed"):
        list(engine.states([1]))


class _Failing:
    """llama.cpp's functions, one of which gives `result` and does nothing."""

    def __init__(self, llama, function, result):
        self._llama, self._function, self._result = llama, function, result

    def __getattr__(self, name):
        return (lambda *_: self._result) if name == self._function else getattr(self._llama, name)


@pytest.mark.parametrize(
    ("kind", "repacked"), [("int4", {"q", "k", "v", "o", "gate", "up", "down"}), ("int5", {"q", "gate", "up", "down"})]
)
def test_a_recipe_has_its_types_kernels(tmp_path, monkeypatch, kind, repacked):
    """iq4_nl has repacked kernels and q8_0 has none: each matrix goes where its own type says."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", layers=2)
    bundle = convert(checkpoint, tmp_path / "bundle", f"gguf:{kind}", target_probes=False)
    buffers, params = llama_cpp_buffers, SimpleNamespace()
    monkeypatch.setattr(buffers, "_special_buffers", lambda: {buffers.AMX: 1, buffers.REPACKED: 2})
    choose = buffers.choose_buffers
    monkeypatch.setattr(llama_cpp, "choose_buffers", lambda _, *given: kept.append(choose(params, *given)))
    kept = []
    load(bundle.folder).close()
    pattern = re.compile(kept[0][0].pattern.decode())
    names = {gguf_name: name for name, gguf_name in tensor_names(2) if pattern.search(gguf_name)}
    first = {name.split(".")[-2].removesuffix("_proj") for name in names.values() if name.startswith("layers.0.")}
    assert first == repacked
    last = {name for name in names.values() if name.startswith("layers.1.mlp.")}
    assert bool(last) == (kind == "int4")
    assert not params.use_extra_bufts
    assert kept[0][0].buffer_type == 2


@pytest.mark.parametrize(
    ("kind", "x86", "arm"),
    [("q4_0", True, True), ("iq4_nl", True, True), ("q4_k", False, True), ("q8_0", False, True), ("f16", False, False)],
)
def test_a_matrix_is_repacked_where_that_is_faster(monkeypatch, kind, x86, arm):
    buffers = llama_cpp_buffers
    monkeypatch.setattr(buffers, "_special_buffers", lambda: {buffers.REPACKED: 2})
    for on_arm, wanted in ((False, x86), (True, arm)):
        params = SimpleNamespace(use_extra_bufts=True)
        monkeypatch.setattr(buffers.cpu, "is_x86", lambda on_arm=on_arm: not on_arm)
        monkeypatch.setattr(buffers.cpu, "has", lambda name, on_arm=on_arm: on_arm and name == "asimddp")
        assert buffers.choose_buffers(params, {"blk.0.attn_q.weight": kind}, (256,)) is None
        assert (kind in buffers.repacked_types()) == wanted
        assert params.use_extra_bufts == (wanted or on_arm)
