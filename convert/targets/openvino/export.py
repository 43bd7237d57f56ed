"""The checkpoint's backbone as an OpenVINO graph: optimum-intel's export of a Qwen2Model that holds its tensors."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite.bundle import Backbone
from c2llm_lite.errors import MissingDependencyError, OutputError

from ...checkpoint import Weights, backbone_names
from ...checkpoint.safetensors_file import Dtype, Stored, widen


class _BrokenTorchvisionError(MissingDependencyError):
    """optimum-intel asks for torchvision, which it does not use here; the one on PyPI does not fit a CPU-only torch."""

    def __init__(self, reason: str) -> None:
        ImportError.__init__(
            self,
            f"the installed torchvision does not fit the installed torch ({reason}), and transformers cannot be "
            "imported beside it: pip uninstall torchvision (converting does not need it)",
            name="torchvision",
        )


def check_libraries() -> None:
    """Raise MissingDependencyError unless what export and compress need is installed."""
    if importlib.util.find_spec("torchvision") is not None:
        try:
            import_module("torchvision")
        except Exception as error:  # a missing operator is a RuntimeError, a missing library an OSError
            raise _BrokenTorchvisionError(str(error)) from error
    try:
        for name in ("openvino", "torch", "nncf", "optimum.exporters.openvino"):
            import_module(name)
    except ImportError as error:
        raise MissingDependencyError("optimum-intel and nncf", "convert-openvino", "an openvino target") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' accounts of their own work off the terminal: none says anything about the result.

    transformers names a loss that is not used and an argument that optimum-intel still gives; OpenVINO's front end
    calls an attempt that it makes again another way an error; nncf prints a table, and bars on standard output.
    """
    loggers = {
        logging.getLogger("transformers"): logging.ERROR,
        logging.getLogger("nncf"): logging.WARNING,
        logging.getLogger("openvino.frontend.pytorch.utils"): logging.CRITICAL,
    }
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Raise OutputError if OpenVINO cannot write: its own error is a RuntimeError of C++'s streams."""
    try:
        yield
    except RuntimeError as error:
        if "ios" not in str(error):
            raise
        reason = "the disk is full, over a quota, or failing"
        raise OutputError(f"OpenVINO could not write {path} ({error}): {reason}; no partial output was left") from error


def export(checkpoint: Weights, path: Path) -> None:
    """optimum-intel's export of a stateful Qwen2 decoder that takes rows of embeddings."""
    convert = import_module("optimum.exporters.openvino.convert")
    configs = import_module("optimum.exporters.openvino.model_configs")
    model = _model(checkpoint)
    task = "feature-extraction"
    base = configs.Qwen2OpenVINOConfig(model.config, task=task, use_past=True, use_past_in_inputs=True)
    half = next(model.parameters()).element_size() == 2
    with written(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about branches that this graph does not take
        convert.export_pytorch(
            model,
            configs.LMInputEmbedsConfigHelper(base, task=task),
            path,
            stateful=True,
            patch_16bit_model=half,
            library_name="transformers",
        )


def save(graph: Any, path: Path) -> None:
    """Write the graph to `path`, an .xml with its .bin beside it: the same conversion gives the same bytes."""
    _name_by_place(graph)
    with written(path):
        import_module("openvino").save_model(graph, path, compress_to_fp16=False)


def qwen2_config(shape: Backbone, **settings: Any) -> Any:
    """transformers' configuration of a backbone of this shape; settings: its other fields."""
    configure: Any = import_module("transformers").Qwen2Config
    return configure(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.max_positions,
        rms_norm_eps=shape.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        **settings,
    )


def _model(checkpoint: Weights) -> Any:
    """transformers' Qwen2Model over the checkpoint's tensors: bf16 without a copy, anything else in fp32."""
    import torch
    from transformers import Qwen2Model

    backbone = checkpoint.backbone
    names = backbone_names(checkpoint)
    stored = {name: checkpoint.stored(name) for name in names}
    half = all(dtype == "BF16" for _, dtype in stored.values())
    config = qwen2_config(
        backbone,
        vocab_size=1,  # the graph takes rows of embeddings
        attn_implementation="sdpa",
        dtype=torch.bfloat16 if half else torch.float32,
    )

    def tensor(values: Stored, dtype: Dtype) -> torch.Tensor:
        if half:
            bits = np.array(values)  # torch takes no read-only array
            return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(np.array(widen(values, dtype)))

    with torch.device("meta"):
        model = Qwen2Model(config)
    weights = {name: tensor(*stored.pop(name)) for name in names}  # never all of them twice
    weights["embed_tokens.weight"] = torch.zeros((1, backbone.hidden), dtype=weights["norm.weight"].dtype)
    model.load_state_dict(weights, assign=True)
    # A buffer that follows from the config; on the meta device it has no values.
    model.rotary_emb = type(model.rotary_emb)(config)
    return model.eval()


def _name_by_place(graph: Any) -> None:
    """Name again what OpenVINO numbers by all that the process has made: the same conversion gives the same bytes."""
    graph.set_friendly_name("qwen2")
    for place, op in enumerate(graph.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z]+_\d+", op.get_friendly_name()):
            op.set_friendly_name(f"{op.get_type_name()}_{place}")
