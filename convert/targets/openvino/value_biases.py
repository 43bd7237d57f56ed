"""Moves the biases of the values behind attention, out of what is rounded to int8.

A token's attention weights sum to 1, so a bias b of the values adds W_o·b to the output of every token alike. Before
o_proj it would widen the range that its inputs share a scale over (on the stand-in with Qwen2's habits, whose values
have biases of 1, the error of these products is 2.3 times as large). llama.cpp's Qwen2 has no place for such a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from c2llm_lite.pma import Array

from ...checkpoint import Weights

VALUES, OUTPUT = "self_attn.v_proj", "self_attn.o_proj"


def move_value_biases(checkpoint: Weights, products: Mapping[str, Any]) -> None:
    """Take each value bias out of a graph and add what it comes to after o_proj. products: its own, by module."""
    op = import_module("openvino.opset13")
    for number in range(checkpoint.backbone.layers):
        values, output = products[f"layers.{number}.{VALUES}"], products[f"layers.{number}.{OUTPUT}"]
        (reader,) = (target.get_node() for target in values.output(0).get_target_inputs())
        if reader.get_type_name() != "Add":
            continue  # a bias of zeros, which the exporter leaves out
        for target in reader.output(0).get_target_inputs():
            target.replace_source_output(values.output(0))
        name = f"layers.{number}.{OUTPUT}"
        constant = passed_on(checkpoint, name, checkpoint.tensor(f"{name}.weight"))
        readers = output.output(0).get_target_inputs()
        biased = op.add(output, named(constant, name))
        for target in readers:
            target.replace_source_output(biased.output(0))


def named(bias: Array, module: str) -> Any:
    """The constant that holds an output's bias, under the name by which moved() finds it."""
    import openvino

    constant = openvino.op.Constant(np.ascontiguousarray(bias, np.float32))
    constant.set_friendly_name(f"self.{module}.bias")
    return constant


def moved(graph: Any) -> dict[str, Any]:
    """The constants that move_value_biases() added, by the name of their module."""
    suffix = f"{OUTPUT}.bias"
    names = {op.get_friendly_name(): op for op in graph.get_ops() if op.get_type_name() == "Constant"}
    return {name[len("self.") : -len(".bias")]: op for name, op in names.items() if name.endswith(suffix)}


def passed_on(checkpoint: Weights, module: str, weights: Array) -> Array:
    """(hidden,): what o_proj, the module of this name, makes of the values' bias. weights: as they are multiplied."""
    bias = checkpoint.tensor(f"{module.removesuffix(OUTPUT)}{VALUES}.bias")
    shape = checkpoint.backbone
    by_head = np.repeat(bias.reshape(shape.kv_heads, -1), shape.heads // shape.kv_heads, axis=0)  # of each query head
    found: Array = weights @ by_head.reshape(-1)
    return found
