"""A backbone.gguf that differs from the converter's output never reaches llama.cpp, which could crash on it."""

from __future__ import annotations

import math
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from c2llm_lite import bundle as bundles
from c2llm_lite import load
from c2llm_lite.convert import convert
from c2llm_lite.convert.targets.gguf import KINDS
from c2llm_lite.engines.llama_cpp.block_types import TYPES
from c2llm_lite.engines.llama_cpp.check import check_file
from c2llm_lite.engines.llama_cpp.gguf_header import ALIGNMENT, LIMIT, Header, read_header
from c2llm_lite.errors import BundleError

FILE = "backbone.gguf"
F32, F64, I8, I32 = 0, 28, 24, 26
UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def packed(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return struct.pack("<I", STRING) + text(value)
    return struct.pack("<If", FLOAT32, value) if isinstance(value, float) else struct.pack("<II", UINT32, value)


def header_bytes(values: dict[str, Any], tensors: dict[str, Any]) -> bytes:
    made = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    for name, value in values.items():
        made += text(name) + packed(value)
    for name, info in tensors.items():
        made += text(name) + struct.pack(f"<I{len(info.shape)}Q", len(info.shape), *info.shape)
        made += struct.pack("<IQ", info.kind, info.offset)
    return made + bytes(-len(made) % ALIGNMENT)


@pytest.fixture
def craft(f32_bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """The bundle with another header on its backbone, resealed: its hashes are right."""
    folder = shutil.copytree(f32_bundle, tmp_path / "bundle")
    path = folder / FILE
    header, content = read_header(path), path.read_bytes()

    def write(values: dict[str, Any], tensors: dict[str, Any]) -> Path:
        path.write_bytes(header_bytes(header.values | values, header.tensors | tensors) + content[header.data :])
        bundles.seal(folder, bundles.open_bundle(f32_bundle).manifest)
        return folder

    return write


@pytest.fixture
def header(f32_bundle: Path) -> Header:
    return read_header(f32_bundle / FILE)


def test_the_same_header_loads(craft: Callable[..., Path]) -> None:
    load(craft({}, {}), check=True).close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("qwen2.rope.dimension_count", 3),
        ("qwen2.expert_count", 3),
        ("qwen2.expert_used_count", 3),
        ("qwen2.attention.key_length", 3),
        ("qwen2.nextn_predict_layers", 3),
        ("qwen2.embedding_length_out", 3),
        ("qwen2.rope.scaling.type", "unheard of"),
        ("general.alignment", 1),
        ("general.architecture", "llama"),
        ("general.quantization_version", 3),
        ("tokenizer.ggml.model", "gpt2"),
        ("qwen2.attention.layer_norm_rms_epsilon", -1.0),
        ("qwen2.attention.layer_norm_rms_epsilon", math.nan),
        ("qwen2.attention.layer_norm_rms_epsilon", 1),
        ("qwen2.rope.freq_base", 1e5),
        ("qwen2.context_length", 8192.0),
        ("qwen2.block_count", 2**31),
        ("qwen2.attention.head_count", struct.pack("<IIQ", ARRAY, UINT32, 1 << 60)),
        ("qwen2.vocab_size", struct.pack("<IQ", STRING, 1 << 60)),
        ("k" * 1000, 1),
    ],
)
def test_a_key_or_value_that_the_converter_does_not_write_is_refused(
    craft: Callable[..., Path], key: str, value: Any
) -> None:
    told = key if len(key) < 100 else "a string of 1000 bytes"
    if value == struct.pack("<IQ", STRING, 1 << 60):
        told = "a string of"
    with pytest.raises(BundleError, match=rf"backbone\.gguf is not the backbone .*{told}"):
        load(craft({key: value}, {}))


@pytest.mark.parametrize("kind", [F64, I8, I32, TYPES["q8_0"].number, 1000])
@pytest.mark.parametrize(
    "name", ["blk.0.attn_norm.weight", "blk.1.attn_q.bias", "blk.0.attn_q.weight", "token_embd.weight"]
)
def test_a_tensor_of_another_type_is_refused(craft: Callable[..., Path], header: Header, name: str, kind: int) -> None:
    with pytest.raises(BundleError, match=rf"the tensor {name} is .*, not "):
        load(craft({}, {name: replace(header.tensors[name], kind=kind)}))


@pytest.mark.parametrize(
    "change", [{"offset": 1 << 60}, {"offset": 4}, {"shape": (64,)}, {"shape": (1 << 40, 1 << 40)}]
)
def test_a_tensor_elsewhere_or_of_another_shape_is_refused(
    craft: Callable[..., Path], header: Header, change: dict[str, Any]
) -> None:
    name = "blk.1.ffn_down.weight"
    with pytest.raises(BundleError, match=f"the tensor {name} is"):
        load(craft({}, {name: replace(header.tensors[name], **change)}))


def test_a_tensor_too_many_or_too_few_is_refused(f32_bundle: Path, craft: Callable[..., Path], header: Header) -> None:
    extra = replace(header.tensors["output_norm.weight"])
    with pytest.raises(BundleError, match=r"the tensor 'blk\.0\.attn_q\.scale' is unknown"):
        load(craft({}, {"blk.0.attn_q.scale": extra}))
    opened = bundles.open_bundle(f32_bundle)
    one_more = replace(opened.manifest, backbone=replace(opened.manifest.backbone, layers=2), tensors={})
    with pytest.raises(BundleError, match="the manifest's type of layers"):
        check_file(f32_bundle / FILE, one_more)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(64),
        b"GGUF" + struct.pack("<IQQ", 2, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 2**64 - 1, 2**64 - 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40) + b"".join(text(f"{i:06}") + packed(0) for i in range(1 << 16)),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * (text("same") + packed(0)),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("\0") + struct.pack("<I", 99),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2) + b"\xff\xff",
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<I", 2**32 - 1),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(f32_bundle: Path, tmp_path: Path, content: bytes) -> None:
    assert len(content) < 2 * LIMIT
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(BundleError, match="is not the backbone that the manifest describes"):
        check_file(tmp_path / FILE, bundles.open_bundle(f32_bundle).manifest)


def test_a_file_that_is_too_long_or_too_short_is_refused(f32_bundle: Path, tmp_path: Path) -> None:
    content = (f32_bundle / FILE).read_bytes()
    for changed in (content[:-32], content + bytes(32)):
        (tmp_path / FILE).write_bytes(changed)
        with pytest.raises(BundleError, match="but its tensors end at"):
            check_file(tmp_path / FILE, bundles.open_bundle(f32_bundle).manifest)


def test_what_the_converter_writes_passes_in_every_type(tmp_path: Path) -> None:
    from checkpoints import write_checkpoint

    checkpoint = write_checkpoint(tmp_path / "wide", hidden=256, intermediate=512)
    for kind in (*KINDS, "int5"):
        convert(checkpoint, tmp_path / kind, f"gguf:{kind}", target_probes=False)
        load(tmp_path / kind).close()


def test_the_types_are_ggmls() -> None:
    import gguf

    assert set(TYPES) == set(KINDS)
    for kind, (number, weights, size) in TYPES.items():
        assert number == gguf.GGMLQuantizationType[kind.upper()]
        assert (weights, size) == gguf.GGML_QUANT_SIZES[number]
