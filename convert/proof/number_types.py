"""Warns where a target's number types do not hold a checkpoint's activations: no conversion is wrong in silence.

Qwen2's states have single components of thousands, on the first token and on delimiters ("massive activations", arXiv
2402.17762), and its keys have large biases. fp16 ends at 65,504; bf16 does not, and rounds to 8 bits; integers of 8
bits give all values of a group one scale, so that one large component leaves few levels to the others.
"""

from __future__ import annotations

from c2llm_lite.bundle import Probe

from ..reference import Largest

FP16_MOST = 65_504
SHARE = 0.5  # of it: other texts reach further than the probes do
# The lowest cosine of a probe to full precision, by the weights' bits: the stand-in's worst texts stay above.
LEAST_COSINES = {16: 0.999, 8: 0.95}
CACHED = "its keys and values reach {:,.0f}, and this engine keeps them in fp16, which ends at {:,}; {}"
PRODUCTS = "the inputs of its matrices reach {:,.0f}, and this target multiplies them in fp16, which ends at {:,}; {}"
FAR = "a probe's cosine to full precision is {:.4f}, where {} bits keep at least {}; states reach {:,.0f}. {}"
BETTER = {
    "gguf": "convert to openvino:int8, torch:bf16 or torch:fp32, and compare with `c2llm-lite bench`",
    "products": "convert to gguf:bf16 or gguf:q8_0",
    "openvino": "convert to gguf:q8_0 or torch:bf16, and compare with `c2llm-lite bench`",
    "bnb": "convert to torch:bf16, and compare with `c2llm-lite bench`",
    "torch": "convert to torch:fp32",
}


def warnings(family: str, kind: str, bits: int, largest: Largest, probes: tuple[Probe, ...]) -> list[str]:
    """What may be wrong with a bundle of this target, in words, and which target holds the values."""
    found = []
    limit = SHARE * FP16_MOST
    if family == "gguf" and largest.key_or_value > limit:
        found.append(CACHED.format(largest.key_or_value, FP16_MOST, BETTER["gguf"]))
    if (family, kind) == ("gguf", "f16") and largest.matrix_input > limit:
        found.append(PRODUCTS.format(largest.matrix_input, FP16_MOST, BETTER["products"]))
    least = LEAST_COSINES.get(bits)
    cosines = [probe.cosine for probe in probes if probe.cosine is not None]
    if least is not None and cosines and min(cosines) < least:
        found.append(FAR.format(min(cosines), bits, least, largest.state, BETTER[family]))
    return found
