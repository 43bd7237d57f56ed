"""Full-precision vectors of any texts, from the checkpoint itself: what `verify --against` compares a bundle with."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from c2llm_lite import bundle as bundles
from c2llm_lite.errors import ArgumentError
from c2llm_lite.head_file import read_head
from c2llm_lite.pma import Array
from c2llm_lite.text import DOCUMENT_PROMPT, TextTokenizer

from .. import reference
from ..checkpoint import open_checkpoint

DEFAULT_MODULES = ("textwrap", "shutil", "statistics", "heapq", "bisect", "fnmatch", "csv", "calendar")
DEFAULT_TEXTS = 64


def default_texts() -> list[str]:
    """Functions of the running Python's standard library, as documents: at hand on every machine."""
    folder = Path(sysconfig.get_path("stdlib"))
    found = [text for module in DEFAULT_MODULES for text in _functions(folder / f"{module}.py")]
    return found[:DEFAULT_TEXTS]


def reference_vectors(source: str, bundle: bundles.Bundle, texts: Sequence[str]) -> Array:
    """(n, d) normalized fp32 vectors of `texts` by the checkpoint, tokenized and cut as the bundle does.

    For a bundle of the backbone's first layers: by these layers and the bundle's own head. Its vectors are not those of
    the whole model.

    Raises CheckpointError if the source cannot be run, ValueError if the bundle is of another checkpoint's shape.
    """
    checkpoint = open_checkpoint(source)
    layers = min(bundle.manifest.backbone.layers, checkpoint.backbone.layers)
    kept = checkpoint.first_layers(layers)
    if kept.backbone != bundle.manifest.backbone:
        raise ArgumentError(f"{bundle.folder} was made from {bundle.manifest.source.name}, not from {checkpoint.name}")
    ids = TextTokenizer(bundle.path(bundles.TOKENIZER), bundle.manifest.max_tokens).encode(texts)
    cut = layers < checkpoint.backbone.layers
    return reference.vectors(kept, ids, head=read_head(bundle) if cut else None)


def _functions(path: Path) -> Iterator[str]:
    source = path.read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            yield f"{DOCUMENT_PROMPT}{ast.get_source_segment(source, node)}"
