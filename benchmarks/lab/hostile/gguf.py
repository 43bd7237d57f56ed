"""backbone.gguf with a correct hash and wrong keys, values, tensors or headers; load(check=True) must refuse it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from .crafted import file_case, flips, to
from .fixtures import GGUF, Fixtures
from .forks import Case
from .gguf_file import ARRAY, BLOCKS, BOOL, F32, F64, I32, I64, STRING, U32, U64, GgufFile, Value, read

PRELOAD: tuple[str, ...] = ("llama_cpp.llama_cpp",)
BACKBONE = "backbone.gguf"
FLIPS = 300
# What llama.cpp reads of a model beside the keys that the converter writes (llama-arch.cpp).
INTEGERS = (
    *("rope.dimension_count", "expert_count", "expert_used_count", "attention.key_length", "attention.value_length"),
    *(
        "nextn_predict_layers",
        "embedding_length_out",
        "attention.sliding_window",
        "rope.scaling.original_context_length",
    ),
    *("leading_dense_block_count", "expert_feed_forward_length", "expert_shared_count", "attention.key_length_mla"),
    *("attention.indexer.head_count", "token_shift_count", "ssm.conv_kernel", "full_attention_interval"),
    *("attention.sliding_window_pattern", "n_deepstack_layers", "pooling_type", "decoder_start_token_id"),
)
FLOATS = (
    *("rope.scaling.factor", "rope.scaling.attn_factor", "attention.scale", "logit_scale", "attention.clamp_kqv"),
    *("attn_logit_softcapping", "final_logit_softcapping", "attention.max_alibi_bias", "embedding_scale"),
    *("residual_scale", "attention.layer_norm_epsilon", "rope.freq_base_swa", "rope.scaling.yarn_beta_fast"),
)
COUNTS = (0, 1, 3, 1000, 2**31, 2**32 - 1)
REALS = (-1.0, 0.0, 3.0, 1e30, math.nan, math.inf)
ARCHITECTURES = (
    *("llama", "qwen", "qwen2moe", "qwen3", "gemma", "gemma3", "gpt2", "bert", "modern-bert", "mamba", "rwkv7", "t5"),
    *("phi3", "falcon", "clip", "", "x", "qwen2\0", "QWEN2", "deepseek2", "bloom", "mpt", "starcoder2", "qwen2vl"),
)
TENSORS: tuple[str, ...] = ("token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.1.attn_k.bias")
TENSORS += ("blk.0.attn_output.weight", "blk.1.ffn_down.weight", "blk.0.ffn_gate.weight", "output_norm.weight")


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    case = partial(file_case, fixtures=fixtures, target=GGUF, noticed="load", file=BACKBONE)
    file = read((fixtures.bundle(GGUF) / BACKBONE).read_bytes())
    header = len(file.header())
    for name, wrong in (*_values(file), *_odd_values(file), *_tensors(file), *_headers(file)):
        content = wrong.content() if isinstance(wrong, GgufFile) else wrong
        yield case(name, to(content))
    for name, flip in flips(FLIPS, 4, header, seed=2):
        yield case(name, flip)


def _values(file: GgufFile) -> Iterator[tuple[str, GgufFile]]:
    """The converter's own keys with other values, and keys that it does not write."""
    for value in file.values:
        key = value.key.decode()
        yield f"{key} is missing", replace(file, values=tuple(v for v in file.values if v is not value))
        yield f"{key} twice", replace(file, values=(*file.values, value))
        if value.type == U32:
            for count in COUNTS:
                yield f"{key} = {count}", file.with_value(key, U32, count)
        if value.type == F32:
            for real in REALS:
                yield f"{key} = {real}", file.with_value(key, F32, real)
    for architecture in ARCHITECTURES:
        yield f"general.architecture = {architecture!r}", file.with_value("general.architecture", STRING, architecture)
    # Other architectures look for their own keys.
    for architecture in ("llama", "qwen3", "gemma3", "qwen2moe", "phi3", "deepseek2"):
        values = tuple(replace(v, key=v.key.replace(b"qwen2.", f"{architecture}.".encode())) for v in file.values)
        renamed = replace(file, values=values).with_value("general.architecture", STRING, architecture)
        yield f"all keys of {architecture}", renamed
    for key in INTEGERS:
        for count in COUNTS:
            yield f"{key} = {count}", file.with_value(f"qwen2.{key}", U32, count)
    for key in FLOATS:
        for real in REALS:
            yield f"{key} = {real}", file.with_value(f"qwen2.{key}", F32, real)
    for count in (*COUNTS, 2, 8, 31, 33, 64, 1 << 20):
        yield f"general.alignment = {count}", file.with_value("general.alignment", U32, count)


def _odd_values(file: GgufFile) -> Iterator[tuple[str, GgufFile]]:
    """Keys of other types, arrays, and long strings."""
    for kind in ("none", "linear", "yarn", "longrope", "x", ""):
        yield f"rope.scaling.type = {kind!r}", file.with_value("qwen2.rope.scaling.type", STRING, kind)
        scaled = file.with_value("qwen2.rope.scaling.type", STRING, kind)
        yield f"rope.scaling {kind!r} by 8", scaled.with_value("qwen2.rope.scaling.factor", F32, 8.0)
    for model in ("gpt2", "llama", "bert", "t5", "rwkv", "plamo2", "x", ""):
        yield f"tokenizer.ggml.model = {model!r}", file.with_value("tokenizer.ggml.model", STRING, model)
    for causal in (0, 1, 2):
        yield f"attention.causal = {causal}", file.with_value("qwen2.attention.causal", BOOL, causal)
    for key in ("split.count", "split.no", "split.tensors.count"):
        for count in (0, 2, 65535):
            yield f"{key} = {count}", file.with_value(key, 2, count)
    for name in ("general.type", "general.name", "tokenizer.chat_template", "adapter.type", "tokenizer.ggml.pre"):
        yield f"{name} is a word", file.with_value(name, STRING, "adapter")
        yield f"{name} of 10 MB", file.with_value(name, STRING, "x" * 10_000_000)
    for key in ("qwen2.block_count", "qwen2.attention.head_count", "qwen2.rope.freq_base", "general.architecture"):
        for type_, value in ((I32, -1), (U64, 2**63), (I64, -1), (F64, 2.0), (F32, 2.0), (STRING, "2"), (BOOL, 1)):
            yield f"{key} of type {type_}", file.with_value(key, type_, value)
        for array in ((U32, [2]), (U32, [2, 2]), (U32, []), (STRING, ["x"] * 9), (F32, [1.0] * 99)):
            yield f"{key} is an array {array[0]} of {len(array[1])}", file.with_value(key, ARRAY, array)
    for type_ in (13, 255, 2**32 - 1):
        yield f"a value of type {type_}", replace(file, values=(*file.values, Value(b"x", type_, bytes(8))))
    for inner, length in ((U32, 2**62), (U32, 2**31), (STRING, 2**40), (ARRAY, 1), (99, 1), (0, 2**63)):
        raw = struct.pack("<IQ", inner, length)
        yield f"an array of {length} of type {inner}", replace(file, values=(*file.values, Value(b"x", ARRAY, raw)))
    for length in (2**63, 2**40, 2**31, 10**9):
        raw = struct.pack("<Q", length) + b"x"
        yield f"a string of {length} bytes", replace(file, values=(*file.values, Value(b"x", STRING, raw)))
    yield "a key of 70,000 letters", file.with_value("x" * 70_000, U32, 1)
    yield "an empty key", file.with_value("", U32, 1)
    yield (
        "100,000 keys",
        replace(file, values=(*file.values, *(Value(b"k%d" % i, U32, bytes(4)) for i in range(100_000)))),
    )


def _tensors(file: GgufFile) -> Iterator[tuple[str, GgufFile]]:
    """Entries of the wrong type, shape, place or name."""
    places = {tensor.name.decode(): i for i, tensor in enumerate(file.tensors)}
    for name in TENSORS:
        index = places[name]
        dims = file.tensors[index].dims
        for type_ in (*BLOCKS, 4, 31, 36, 39, 99, 2**31):
            if type_ != file.tensors[index].type:
                yield f"{name} has type {type_}", file.with_tensor(index, type=type_).laid_out()
        shapes = ((), (0,), (1,), dims[::-1], (*dims, 2), (*dims, 1, 1, 1), (2**63, *dims[1:]), (2**32, 2**32))
        for shape in (*shapes, (dims[0] * 2, *dims[1:]), (dims[0] // 2, *dims[1:]), (2**64 - 1,)):
            if shape != dims:
                yield f"{name} has shape {shape}", file.with_tensor(index, dims=shape)
        for offset in (1, 16, 32, 2**31, len(file.data), len(file.data) - 32, 2**63, 2**64 - 32):
            yield f"{name} at {offset}", file.with_tensor(index, offset=offset)
        for other in (b"", b"x", b"output.weight", b"x" * 64, b"blk.7.attn_q.weight", name.encode() + b"\0"):
            yield f"{name} is called {other!r}", file.with_tensor(index, name=other)
        yield f"{name} twice", replace(file, tensors=(*file.tensors, file.tensors[index]))
        yield f"{name} is missing", replace(file, tensors=(*file.tensors[:index], *file.tensors[index + 1 :]))
    for more in ("output.weight", "blk.0.attn_qkv.weight", "rope_freqs.weight", "blk.0.attn_q.scale", "cls.weight"):
        extra = replace(file.tensors[places["token_embd.weight"]], name=more.encode())
        yield f"also {more}", replace(file, tensors=(*file.tensors, extra))
    freqs = replace(file.tensors[places["output_norm.weight"]], name=b"rope_freqs.weight", dims=(8,))
    yield "also rope_freqs.weight of 8", replace(file, tensors=(*file.tensors, freqs))


def _headers(file: GgufFile) -> Iterator[tuple[str, GgufFile | bytes]]:
    """Counts, versions, and files cut short."""
    for version in (0, 1, 2, 4, 1 << 24, 2**32 - 1):
        yield f"version {version}", replace(file, version=version)
    for count in (0, 1, len(file.tensors) + 1, 2**31, 2**32, 2**60, 2**63, 2**64 - 1):
        yield f"{count} tensors", replace(file, counts=(count, None))
        yield f"{count} keys", replace(file, counts=(None, count))
    for magic in (b"GGML", b"\0\0\0\0", b"FUGG"):
        yield f"magic {magic!r}", replace(file, magic=magic)
    content = file.content()
    for part in range(1, 40):
        yield f"cut after {part}/40 of the header", content[: len(file.header()) * part // 40]
    yield "cut within the data", content[:-1000]
    yield "bytes after the data", content + bytes(1000)
    yield "empty", b""
