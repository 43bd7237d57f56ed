"""transformers' own Qwen2 over the weights of a loaded backbone, to run beside it."""

from __future__ import annotations

from typing import Any

from c2llm_lite.bundle import Backbone
from c2llm_lite.convert.targets.openvino.export import qwen2_config
from c2llm_lite.engines.torch.qwen2 import Qwen2


def sharing(model: Qwen2, shape: Backbone) -> Any:
    """A Qwen2Model on the device of `model`, whose weights it shares; it takes rows of embeddings."""
    from transformers import Qwen2Model

    weight = model.norm.weight
    theirs: Any = Qwen2Model(qwen2_config(shape, vocab_size=1, attn_implementation="sdpa", dtype=weight.dtype))
    theirs.load_state_dict(model.state_dict(), strict=False, assign=True)
    return theirs.to(weight.device).eval()
