"""The backbone that this engine runs, filled from the bundle's safetensors file.

No code of a checkpoint is run. The model is built without memory and each tensor goes from the file to the device, so
that loading takes what the stored weights take: quantized matrices were stored quantized and are never widened here.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ...bundle import BF16, FP32, INT8, NF4, SAFETENSORS, Bundle
from ...errors import ArgumentError, BundleError, MissingDependencyError
from .attention import attention_for
from .qwen2 import Qwen2

# The type of the states between layers, by that of the matrices.
DTYPES = {FP32: torch.float32, BF16: torch.bfloat16, INT8: torch.bfloat16, NF4: torch.bfloat16}


def load_backbone(bundle: Bundle, device: torch.device) -> Qwen2:
    """The backbone on `device`, without token embeddings.

    Raises BundleError if the file does not hold this backbone, MissingDependencyError without bitsandbytes,
    torch.OutOfMemoryError if it does not fit.
    """
    types, states = bundle.manifest.tensors, DTYPES[bundle.manifest.matrix_type()]
    with torch.device("meta"):  # parameters without memory
        shape = bundle.manifest.backbone
        model = Qwen2(shape, attention_for(device, states, shape.head_dim))
    bitsandbytes = (
        import_bitsandbytes(f"a bundle of {bundle.manifest.target}") if QUANTIZED.keys() & types.values() else None
    )
    path = bundle.path(SAFETENSORS)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            for name, parameter in list(model.named_parameters()):
                owner, _, leaf = name.rpartition(".")
                module = model.get_submodule(owner)
                if read := QUANTIZED.get(types[name]):
                    model.set_submodule(owner, read(bitsandbytes, file, name, module, device))
                    continue
                tensor = file.get_tensor(name)
                _check(name, tensor.shape, parameter.shape, tensor.dtype, states)
                setattr(module, leaf, torch.nn.Parameter(tensor, requires_grad=False))
    except (AssertionError, KeyError, OSError, SafetensorError, ValueError) as error:
        raise BundleError(
            f"{path} does not contain the backbone: {error}; copy the bundle again, or convert again"
        ) from error
    model.eval()
    return model


def _read_int8(bnb: Any, file: Any, name: str, linear: torch.nn.Linear, device: torch.device) -> torch.nn.Module:
    """bitsandbytes' int8 layer in place of `linear`, its bias still to be read."""
    weight, scales = file.get_tensor(name), file.get_tensor(name.removesuffix("weight") + "SCB")
    _check(name, weight.shape, linear.weight.shape, weight.dtype, torch.int8)
    # Threshold 0: no columns are kept in 16 bits, so that one text's outliers do not change another's vector.
    module: torch.nn.Module = bnb.nn.Linear8bitLt(
        linear.in_features, linear.out_features, linear.bias is not None, False, threshold=0.0, device="meta"
    )
    module.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False, CB=weight, SCB=scales)
    return module


def _read_nf4(bnb: Any, file: Any, name: str, linear: torch.nn.Linear, device: torch.device) -> torch.nn.Module:
    """bitsandbytes' 4-bit layer in place of `linear`, its bias still to be read."""
    module: Any = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        linear.bias is not None,
        compute_dtype=torch.bfloat16,
        quant_type="nf4",
        device="meta",
    )
    parts = [part for part in file.keys() if part.startswith(f"{name}.")]  # noqa: SIM118 - it cannot be iterated
    state = {part.removeprefix(f"{name}."): file.get_tensor(part) for part in parts}
    module.weight = bnb.nn.Params4bit.from_prequantized(file.get_tensor(name), state, device=device, module=module)
    quantized = module.weight.quant_state
    _check(name, quantized.shape, linear.weight.shape, module.weight.dtype, torch.uint8)
    if module.weight.numel() * 2 != linear.weight.numel():
        raise ArgumentError(f"{name} has {module.weight.numel()} bytes for {linear.weight.numel()} weights of 4 bits")
    return module


# How a matrix of each of bitsandbytes' types is read.
QUANTIZED = {INT8: _read_int8, NF4: _read_nf4}


def import_bitsandbytes(what: str) -> Any:
    """The library, its notices silenced. Raises MissingDependencyError, which says that `what` needs it."""
    # bitsandbytes warns while it is imported that an optional CPU kernel is missing, and with every call of an int8
    # layer that states are cast to fp16: neither is for the user to act on.
    for name in ("bitsandbytes.backends.cpu.ops", "bitsandbytes.autograd._functions"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        import bitsandbytes
    except ModuleNotFoundError as error:
        if error.name != "bitsandbytes":
            raise
        raise MissingDependencyError("bitsandbytes", "bitsandbytes", what) from error
    return bitsandbytes


def _check(name: str, shape: torch.Size, wanted: torch.Size, dtype: torch.dtype, wanted_dtype: torch.dtype) -> None:
    if shape != wanted or dtype != wanted_dtype:
        raise ArgumentError(f"{name} is {dtype} {tuple(shape)}, not {wanted_dtype} {tuple(wanted)}")
