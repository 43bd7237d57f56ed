"""Backbones whose random weights are drawn on the card, in the type they are run in: no file, no checkpoint.

They tell speed and memory, never accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from c2llm_lite.bundle import BF16, FP32, INT8, NF4, Backbone
from c2llm_lite.convert.targets.bitsandbytes import matrices
from c2llm_lite.engines.torch import TorchEngine
from c2llm_lite.engines.torch.attention import Attention
from c2llm_lite.engines.torch.backbone import DTYPES, import_bitsandbytes
from c2llm_lite.engines.torch.qwen2 import Qwen2

from ..nf4_memory import C2LLM_7B
from ..random_checkpoint import C2LLM_05B

KINDS = (FP32, BF16, INT8, NF4)
SHAPES = {"0.5B": C2LLM_05B, "7B": C2LLM_7B}
# What a dry run takes in their place.
TINY = Backbone(
    hidden=128,
    intermediate=256,
    layers=2,
    heads=4,
    kv_heads=2,
    vocab=400,
    rope_theta=1e6,
    rms_norm_eps=1e-6,
    max_positions=4096,
    tied=True,
)
ROWS = 4096  # of the table that rows are drawn from; the real one only takes memory


def parameters(shape: Backbone) -> int:
    """Weights of the backbone's products: what a token costs, twice in operations."""
    return sum(rows * width for rows, width in matrices(shape))


def draw(shape: Backbone, kind: str, device: torch.device, attend: Attention) -> Qwen2:
    """A backbone of this shape; raises MissingDependencyError for bitsandbytes' kinds without it."""
    states = DTYPES[kind]
    with torch.device("meta"):
        model = Qwen2(shape, attend)
    for name, parameter in list(model.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        scale = parameter.shape[-1] ** -0.5 if parameter.dim() == 2 else 0.1
        values = torch.randn(parameter.shape, device=device, dtype=states) * scale
        if parameter.dim() == 2 and kind in (INT8, NF4):
            model.set_submodule(owner, _quantized(values, kind, model.get_submodule(owner)))
            continue
        setattr(model.get_submodule(owner), leaf, nn.Parameter(values, requires_grad=False))
    model.eval()
    return model


def _quantized(values: torch.Tensor, kind: str, linear: Any) -> nn.Module:
    """bitsandbytes' layer over `values`; its bias, where there is one, is drawn after it."""
    bnb = import_bitsandbytes(f"a bundle of bnb:{kind}")
    biased = linear.bias is not None
    if kind == INT8:
        made: Any = bnb.nn.Linear8bitLt(*values.T.shape, biased, False, threshold=0.0, device="meta")
        made.weight = bnb.nn.Int8Params(values.cpu(), requires_grad=False, has_fp16_weights=False).to(values.device)
        return made
    made = bnb.nn.Linear4bit(*values.T.shape, biased, compute_dtype=torch.bfloat16, quant_type="nf4", device="meta")
    made.weight = bnb.nn.Params4bit(values.cpu(), requires_grad=False, quant_type="nf4", module=made).to(values.device)
    return made


def engine(model: Qwen2, shape: Backbone, kind: str, device: torch.device) -> TorchEngine:
    """The product's engine over a drawn backbone; its token embeddings lie on the card, as the real ones would."""
    table = torch.randn(min(ROWS, shape.vocab), shape.hidden, device=device, dtype=DTYPES[kind])

    def rows(ids: Sequence[int]) -> torch.Tensor:
        return table[torch.as_tensor(np.asarray(ids), device=device)]

    return TorchEngine(model, rows, device, kind, threads=1)
