"""Which variant of the head a checkpoint uses, found by running the checkpoint's own modeling code in fp32.

This is the one place that runs foreign code, and only where the user asks by name. The model is made by the code in the
checkpoint's folder, from its config, filled with its tensors and called on a few texts; the variant whose vectors agree
to 1e-4 is the checkpoint's. Two things that public users of C2LLM report are met here: imports of deepspeed and peft,
which inference never uses, and a missing `all_tied_weights_keys` (recent transformers set it in post_init(), which the
code never calls).
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np

from c2llm_lite import pma
from c2llm_lite.errors import CheckpointError, MissingDependencyError
from c2llm_lite.pma import Array
from c2llm_lite.text import TextTokenizer
from c2llm_lite.vectors import normalize

from .. import reference
from ..checkpoint import Checkpoint
from . import probes

# The caller prints this before it calls find_variant.
NOTICE = (
    "running the checkpoint's own Python code, which can do anything that you can: stop here if you do not trust it"
)
TOLERANCE = 1e-4  # the largest difference of a component of two vectors of unit length
STAND_INS = ("deepspeed", "peft")
PACKAGE = "c2llm_lite_checkpoint_code"
# Where forward() of C2LLM, and of models made like it, leaves the embedding.
OUTPUT_KEYS = ("sentence_embedding", "embeddings", "text_embeds", "pooler_output")


def find_variant(checkpoint: Checkpoint) -> pma.Variant:
    """The variant that reproduces the checkpoint's own code to TOLERANCE, its number of heads as the config gives it.

    The modeling file is in the checkpoint's folder; config.json's auto_map names it, or it is the only
    modeling_*.py and config.json's architectures names the class. forward() is called with `input_ids` and
    `attention_mask` (as keywords, or as one dictionary where it takes no such keyword) and gives a tensor, a tuple that
    starts with it, or a mapping with one of OUTPUT_KEYS: (1, d) or (d,), normalized or not. All of it is in memory in
    fp32. Raises CheckpointError if the code cannot be run or no variant fits, MissingDependencyError without torch.
    """
    ids = TextTokenizer(checkpoint.tokenizer_file, checkpoint.max_tokens).encode(probes.TEXTS)
    theirs = normalize(_run_code(checkpoint, ids))
    if not np.isfinite(theirs).all():
        raise CheckpointError(f"{checkpoint.name}: its own code returns NaN or infinity")
    states = reference.states(checkpoint, ids)
    found: dict[pma.Variant, float] = {}
    for residual, scale in itertools.product(get_args(pma.Residual), get_args(pma.Scale)):
        variant = replace(checkpoint.variant, residual=residual, scale=scale)
        head = pma.Head(checkpoint.head(), variant)
        ours = normalize(head.embed(np.stack([pma.pool(text, head.queries) for text in states])))
        if ours.shape != theirs.shape:
            raise CheckpointError(
                f"{checkpoint.name}: its own code returns vectors of {theirs.shape[1]} components, unlike the head"
            )
        found[variant] = float(np.abs(ours - theirs).max())
    best = min(found, key=lambda variant: found[variant])
    if found[best] > TOLERANCE:
        raise CheckpointError(
            f"{checkpoint.name}: no known variant of the head reproduces its own code to {TOLERANCE}; the nearest "
            f"(residual {best.residual}, scale {best.scale}, {best.heads} heads) differs by {found[best]:.2g}; this "
            "package cannot reproduce this checkpoint"
        )
    return best


def _run_code(checkpoint: Checkpoint, texts: Sequence[Sequence[int]]) -> Array:
    """(texts, d) as the checkpoint's own code gives them, each text alone and unpadded."""
    try:
        import torch
        import transformers
    except ImportError as error:
        library = error.name or "torch"
        raise MissingDependencyError(library, "checkpoint-code", "running the checkpoint's own code") from error
    # transformers remembers the answer: it must not be a stand-in's.
    transformers.utils.is_peft_available()
    try:
        with _imported(checkpoint.folder):
            model = _build(checkpoint)
            with torch.inference_mode():
                return np.stack([_embed(model, torch.tensor([text])) for text in texts])
    except CheckpointError:
        raise
    except Exception as error:  # foreign code may raise anything
        raise CheckpointError(f"{checkpoint.name}: its own code failed: {type(error).__name__}: {error}") from error


def _build(checkpoint: Checkpoint) -> Any:
    """The model of the checkpoint's own class, in fp32, filled with the checkpoint's tensors."""
    import torch
    import transformers

    auto_map = checkpoint.config.get("auto_map") or {}
    with _stand_ins():
        model_class = _class(checkpoint.folder, auto_map.get("AutoModel") or _sole_model(checkpoint))
        config_class = model_class.config_class or transformers.Qwen2Config
        if "AutoConfig" in auto_map:
            config_class = _class(checkpoint.folder, auto_map["AutoConfig"])
    config = config_class.from_dict(dict(checkpoint.config))
    config.dtype = torch.float32
    config._attn_implementation = "eager"
    config.tokenizer_name_or_path = str(checkpoint.folder)  # some releases open their tokenizer when they are built
    if not hasattr(model_class, "all_tied_weights_keys"):
        model_class.all_tied_weights_keys = {}
    model = model_class(config).float().eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            _fill(checkpoint, name, value)
    return model


def _fill(checkpoint: Checkpoint, name: str, value: Any) -> None:
    import torch

    tail = max((tail for tail in checkpoint.names() if f".{name}".endswith(f".{tail}")), key=len, default=None)
    if tail is None:
        if name.endswith("lm_head.weight"):  # tied, or unused
            return
        raise CheckpointError(f"{checkpoint.name}: its own code needs {name}, which the checkpoint lacks")
    tensor = torch.from_numpy(np.array(checkpoint.tensor(tail)))
    if tensor.shape != value.shape:
        raise CheckpointError(f"{checkpoint.name}: {tail} is {tuple(tensor.shape)}, but its code needs {value.shape}")
    value.copy_(tensor)


def _embed(model: Any, ids: Any) -> Array:
    """One text's ids (1, tokens) -> its vector (d,)."""
    inputs = {"input_ids": ids, "attention_mask": ids.new_ones(ids.shape)}
    parameters = inspect.signature(model.forward).parameters.values()
    by_name = any(p.name == "input_ids" or p.kind is p.VAR_KEYWORD for p in parameters)
    output = model(**inputs) if by_name else model(inputs)
    if isinstance(output, Mapping):
        output = next((output[key] for key in OUTPUT_KEYS if key in output), output)
    elif isinstance(output, tuple):
        output = output[0]
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] != 1):
        raise CheckpointError(f"the checkpoint's forward() returns {type(output).__name__} {shape}, not an embedding")
    vector: Array = output.float().reshape(-1).numpy()
    return vector


def _sole_model(checkpoint: Checkpoint) -> str:
    files = sorted(checkpoint.folder.glob("modeling_*.py"))
    names = checkpoint.config.get("architectures")
    if len(files) != 1 or not names:
        raise CheckpointError(
            f"{checkpoint.folder} does not say where its code is; copy the checkpoint's *.py files into it, or convert "
            "without --check-with-checkpoint-code"
        )
    return f"{files[0].stem}.{names[0]}"


def _class(folder: Path, reference: str | Sequence[str]) -> Any:
    """The class that auto_map names: "module.Class", perhaps after "owner/name--"."""
    text = reference if isinstance(reference, str) else reference[0]
    match = re.fullmatch(r"(?:.*--)?(\w+)\.(\w+)", text)
    if match is None or not (folder / f"{match[1]}.py").is_file():
        raise CheckpointError(
            f"{folder} has no code file for {text!r}, which config.json names; copy the checkpoint's *.py files into it"
        )
    try:
        return getattr(import_module(f"{PACKAGE}.{match[1]}"), match[2])
    except ModuleNotFoundError as error:
        raise CheckpointError(f"the checkpoint's own code imports {error.name}; install it and try again") from error


@contextlib.contextmanager
def _imported(folder: Path) -> Iterator[None]:
    """The folder as a package, whose files import each other relatively; nothing of it stays, no bytecode either."""
    package = ModuleType(PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[PACKAGE] = package
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        for name in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
            del sys.modules[name]


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Modules in place of STAND_INS where they are not installed: last in line, so that installed ones come first."""
    finder = _StandInFinder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]:
            del sys.modules[name]


class _StandInFinder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top not in STAND_INS or (top != name and not isinstance(sys.modules.get(top), _StandIn)):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _StandIn(ModuleType):
    """Whatever is imported from it is a class that cannot be made."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: object, **__: object) -> None:
            raise CheckpointError(f"the checkpoint's own code calls {self.__name__}.{name}; install {self.__name__}")

        return type(name, (), {"__init__": refuse})
