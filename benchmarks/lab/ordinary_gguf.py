"""Writes an ordinary GGUF file of a backbone with its vocabulary, as llama-cpp-python's users have it, for peers.py.

Every matrix is in one type, the token table too, as `convert_hf_to_gguf.py --outtype q8_0` has it.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np

from c2llm_lite.convert.checkpoint import Checkpoint
from c2llm_lite.convert.targets.gguf import Quantizer, add_shape, ggml_type
from c2llm_lite.durable import durable
from c2llm_lite.engines.llama_cpp.check import ARCHITECTURE, TABLE
from c2llm_lite.engines.llama_cpp.tensor_names import tensor_names


def write(checkpoint: Checkpoint, path: Path, kind: str = "q8_0") -> None:
    """Write the file, complete or not at all. The checkpoint's tokenizer is a byte-pair one."""
    with durable(path) as file:
        _write(checkpoint, file.name, kind)


def _write(checkpoint: Checkpoint, path: str, kind: str) -> None:
    backbone = checkpoint.backbone
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    add_shape(writer, backbone)
    _add_vocabulary(writer, json.loads(checkpoint.tokenizer_file.read_text(encoding="utf-8")), backbone.vocab)
    quantize = Quantizer()
    for name, gguf_name in (("embed_tokens.weight", TABLE), *tensor_names(backbone.layers)):
        values = checkpoint.tensor(name)
        if values.ndim == 1:
            writer.add_tensor(gguf_name, np.array(values))
        else:
            stored = quantize(values, kind).reshape(len(values), -1)
            writer.add_tensor(gguf_name, stored, raw_dtype=ggml_type(gguf, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: dict[str, object], rows: int) -> None:
    """The tokenizer's tokens and merges; rows of the table without a token are named as llama.cpp's converter does."""
    model = tokenizer["model"]
    assert isinstance(model, dict)
    tokens = [f"[PAD{i}]" for i in range(rows)]
    types = [gguf.TokenType.UNUSED] * rows
    for token, number in model["vocab"].items():
        tokens[number], types[number] = token, gguf.TokenType.NORMAL
    added = tokenizer["added_tokens"]
    assert isinstance(added, list)
    for token in added:
        tokens[token["id"]], types[token["id"]] = token["content"], gguf.TokenType.CONTROL
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
