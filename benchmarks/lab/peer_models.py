"""The ways to run C2LLM on a CPU without this package, each with its best settings, for peers.py.

Each takes texts that already hold their prompt, and gives the model's embeddings: the pooling head, in fp32, as the
formulas have it, over every state (the official code's way; the absorbed form is ours).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from c2llm_lite.convert.checkpoint import Checkpoint
from c2llm_lite.convert.targets.openvino.export import qwen2_config
from c2llm_lite.pma import Array

from . import ordinary_gguf

IDS, MASK = "input_ids", "attention_mask"
ONNX_INT8 = "int8.onnx"


class Peer(Protocol):
    """batches: the sizes worth trying, in texts a pass."""

    batches: tuple[int, ...]

    def embed(self, texts: Sequence[str], batch: int) -> Array:
        """(n, d) float32, of unit length, in the texts' order."""


class Head:
    """PMA in torch over padded batches: C2LLM.md's formulas, keys and values of every state."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._w = {name: torch.from_numpy(np.array(value)) for name, value in checkpoint.head().items()}
        self._heads = checkpoint.variant.heads
        self.width = len(self._w["mab.fc_o.bias"])

    def __call__(self, states: Tensor, mask: Tensor) -> Tensor:
        """states (n, tokens, hidden) of any float type, mask (n, tokens) -> (n, d) of unit length."""
        w, heads = self._w, self._heads
        states = states.float()
        query = w["S"].reshape(1, -1) @ w["mab.fc_q.weight"].T + w["mab.fc_q.bias"]  # (1, d)
        keys, values = (states @ w[f"mab.fc_{x}.weight"].T + w[f"mab.fc_{x}.bias"] for x in "kv")
        n, tokens, width = keys.shape
        split = (n, tokens, heads, width // heads)
        scores = torch.einsum("hj,nthj->nht", query.reshape(heads, -1), keys.reshape(split)) / width**0.5
        weights = scores.masked_fill(mask[:, None] == 0, -torch.inf).softmax(-1)
        mixed = torch.einsum("nht,nthj->nhj", weights, values.reshape(split)).reshape(n, width)
        normed = torch.nn.functional.layer_norm(query + mixed, (width,), w["mab.ln0.weight"], w["mab.ln0.bias"])
        fed = normed + torch.relu(normed @ w["mab.fc_o.weight"].T + w["mab.fc_o.bias"])
        out = torch.nn.functional.layer_norm(fed, (width,), w["mab.ln1.weight"], w["mab.ln1.bias"])
        return torch.nn.functional.normalize(out, dim=-1)


class Padded:
    """Batches of texts of like length, each filled up to its longest."""

    batches: tuple[int, ...] = (4, 8, 16, 32)

    def __init__(self, checkpoint: Checkpoint, states: Callable[[Tensor, Tensor], Tensor]) -> None:
        """states: token ids and mask (n, tokens) -> final hidden states (n, tokens, hidden)."""
        self._states = states
        self._head = Head(checkpoint)
        self._tokenizer = Tokenizer.from_file(str(checkpoint.tokenizer_file))
        self._tokenizer.enable_padding(direction="right")
        self._longest = checkpoint.max_tokens

    def embed(self, texts: Sequence[str], batch: int) -> Array:
        """Vectors (n, d) of the texts, in batches of `batch`."""
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        found = np.empty((len(texts), self._head.width), np.float32)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            encoded = self._tokenizer.encode_batch([texts[i] for i in chosen], add_special_tokens=False)
            ids, mask = (torch.tensor([getattr(e, part) for e in encoded]) for part in ("ids", "attention_mask"))
            ids, mask = ids[:, : self._longest], mask[:, : self._longest]
            with torch.inference_mode():
                found[chosen] = self._head(self._states(ids, mask), mask).numpy()
        return found


def transformers(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> Padded:
    """transformers' Qwen2Model with sdpa, in fp32 or bf16."""
    from transformers import Qwen2Model

    model = Qwen2Model.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()

    def states(ids: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return found

    return Padded(checkpoint, states)


def optimum(checkpoint: Checkpoint, folder: Path, group: int | None) -> Padded:
    """optimum-intel's OVModelForFeatureExtraction, int8 weights: what sentence-transformers' OpenVINO backend runs.

    group: of activations that share a scale; None takes OpenVINO's default. Its forward (2.2) leaves out the positions
    that a Qwen2 graph asks for, so the graph is called as it would.
    """
    from optimum.intel import OVModelForFeatureExtraction

    config = {"PERFORMANCE_HINT": "LATENCY"}
    if group is not None:
        config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(group)
    model = OVModelForFeatureExtraction.from_pretrained(folder, ov_config=config)

    def states(ids: Tensor, mask: Tensor) -> Tensor:
        positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        inputs = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "position_ids": positions.copy()}
        return torch.from_numpy(model.request(inputs)["last_hidden_state"])

    return Padded(checkpoint, states)


def onnx(checkpoint: Checkpoint, folder: Path, threads: int) -> Padded:
    """ONNX Runtime on what export_for_onnx wrote: int8 weights, each pass's activations rounded to uint8."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(str(folder / ONNX_INT8), options, providers=["CPUExecutionProvider"])

    def states(ids: Tensor, mask: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {IDS: ids.numpy(), MASK: mask.numpy()})[0])

    return Padded(checkpoint, states)


class Llama:
    """llama-cpp-python's Llama.embed on an ordinary Q8_0 file, every state out, since the head wants them all.

    With more than one text in a call, 0.3.36 takes the states of all but the first from the wrong place (it moves on by
    tokens, not by tokens × width). The work is the same, so larger batches are timed; only single texts' vectors hold.
    """

    batches: tuple[int, ...] = (1, 4, 8)

    def __init__(self, checkpoint: Checkpoint, path: Path, threads: int) -> None:
        from llama_cpp import LLAMA_POOLING_TYPE_NONE
        from llama_cpp import Llama as Model

        if not path.exists():
            ordinary_gguf.write(checkpoint, path)
        self._head = Head(checkpoint)
        with _without_special_buffers():
            self._model = Model(
                str(path),
                embedding=True,
                pooling_type=LLAMA_POOLING_TYPE_NONE,
                n_ctx=checkpoint.max_tokens,
                n_batch=checkpoint.max_tokens,
                n_ubatch=512,
                n_threads=threads,
                n_threads_batch=threads,
                flash_attn=True,
                verbose=False,
            )

    def embed(self, texts: Sequence[str], batch: int) -> Array:
        """As Padded's."""
        found = []
        for start in range(0, len(texts), batch):
            for states in self._model.embed(list(texts[start : start + batch]), truncate=True):
                rows = torch.tensor(states)[None]
                found.append(self._head(rows, torch.ones(rows.shape[:2])).numpy()[0])
        return np.stack(found)


@contextmanager
def _without_special_buffers() -> Iterator[None]:
    """Llama takes no such setting; on a CPU with AMX it would end the process (engines/llama_cpp/buffers.py).

    Q8_0 has no repacked kernels on x86, so that nothing else is lost.
    """
    from llama_cpp import llama_cpp

    defaults = llama_cpp.llama_model_default_params

    def without() -> Any:
        params = defaults()
        params.use_extra_bufts = False
        return params

    llama_cpp.llama_model_default_params = without
    try:
        yield
    finally:
        llama_cpp.llama_model_default_params = defaults


def write_for_transformers(checkpoint: Checkpoint, folder: Path) -> None:
    """The backbone as transformers' own Qwen2Model saves it, in bf16."""
    from transformers import Qwen2Model

    backbone = checkpoint.backbone
    config = qwen2_config(backbone, vocab_size=backbone.vocab, dtype=torch.bfloat16)
    with torch.device("meta"):
        model = Qwen2Model(config)
    names: list[str] = list(model.state_dict())
    weights: dict[str, Any] = {name: torch.from_numpy(np.array(checkpoint.tensor(name))).bfloat16() for name in names}
    model.load_state_dict(weights, assign=True)
    model.save_pretrained(folder)


def export_for_optimum(source: Path, folder: Path) -> None:
    """optimum-intel's own export, in int8, of what write_for_transformers wrote."""
    from optimum.intel import OVModelForFeatureExtraction, OVWeightQuantizationConfig

    quantized = OVWeightQuantizationConfig(bits=8, sym=True)
    model = OVModelForFeatureExtraction.from_pretrained(
        source, export=True, quantization_config=quantized, compile=False
    )
    model.save_pretrained(folder)


class _States(torch.nn.Module):
    """A Qwen2Model's final states alone, for an export."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found: Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        return found


def export_for_onnx(source: Path, folder: Path) -> None:
    """PyTorch's export of what write_for_transformers wrote, and ONNX Runtime's dynamic quantization of it to int8."""
    from transformers import Qwen2Model

    quantization = import_module("onnxruntime.quantization")
    model = Qwen2Model.from_pretrained(source, dtype=torch.float32, attn_implementation="sdpa").eval()
    ids = torch.zeros((2, 16), dtype=torch.int64)
    free = {0: torch.export.Dim("texts", min=1, max=64), 1: torch.export.Dim("tokens", min=2, max=4096)}
    program = torch.onnx.export(
        _States(model),
        (ids, torch.ones_like(ids)),
        dynamo=True,
        dynamic_shapes={IDS: free, MASK: free},
        input_names=[IDS, MASK],
    )
    assert program is not None
    full = folder / "fp32.onnx"
    program.save(str(full), external_data=True)
    quantization.quantize_dynamic(
        full, folder / ONNX_INT8, weight_type=quantization.QuantType.QInt8, use_external_data_format=True
    )
    for path in folder.glob("fp32.*"):
        path.unlink()
