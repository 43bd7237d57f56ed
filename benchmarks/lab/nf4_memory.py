"""Computes a bnb:nf4 bundle's size for C2LLM-7B: `python -m c2llm_lite.benchmarks.lab.nf4_memory`.

The question is whether it fits a GPU of 6 GB for texts of 512 tokens. The bytes of the weights are exact (a test holds
the same formula against written files); what a forward pass takes is counted layer by layer from the code it runs.
"""

from __future__ import annotations

import json
from pathlib import Path

from c2llm_lite.bundle import Backbone
from c2llm_lite.convert.targets.bitsandbytes import matrices, stored_bytes

from ..bench.results_file import write_results

RESULT = Path(__file__).parents[1] / "results" / "nf4_7b_memory.json"
C2LLM_7B = Backbone(
    hidden=3584,
    intermediate=18944,
    layers=28,
    heads=28,
    kv_heads=4,
    vocab=152064,
    rope_theta=1e6,
    rms_norm_eps=1e-6,
    max_positions=32768,
    tied=False,
)
TOKENS = 512
# A CUDA context with PyTorch's and bitsandbytes' kernels: from 300 to 500 MB on cards of recent years; not measured.
CUDA_CONTEXT = 500_000_000


def sizes(shape: Backbone = C2LLM_7B, tokens: int = TOKENS) -> dict[str, int]:
    """Bytes, by what they are for."""
    weights = stored_bytes(shape, "nf4")
    embeddings = 2 * shape.vocab * shape.hidden
    head = 4 * (4 * (shape.hidden**2 + shape.hidden) + 5 * shape.hidden)
    # bf16: states, their norm, q, k and v (repeated for the query heads), what attention gives; then gate, up, product.
    # fp32: the states as the head pools them, twice while they are converted.
    pass_bytes = tokens * (2 * (8 * shape.hidden + 3 * shape.intermediate) + 2 * 4 * shape.hidden)
    # bitsandbytes widens one matrix at a time to bf16 to multiply many tokens with it.
    widened = max(2 * rows * width for rows, width in matrices(shape))
    return {
        "tokens": tokens,
        "weights": weights,
        "forward_pass": pass_bytes,
        "widened_matrix": widened,
        "cuda_context": CUDA_CONTEXT,
        "on_the_gpu": weights + pass_bytes + widened + CUDA_CONTEXT,
        "token_embeddings_on_disk": embeddings,
        "bundle_on_disk": weights + embeddings + head,
    }


def main() -> None:
    """Compute the figures and write the results."""
    result = {"model": "C2LLM-7B", "target": "bnb:nf4", "computed": "from the shapes; nothing was measured", **sizes()}
    write_results(RESULT, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
