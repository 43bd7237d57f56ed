"""A model whose vectors come from a text's hash, and runs of embed_file() with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from c2llm_lite import vectors
from c2llm_lite.bulk.file import Written, embed_file
from c2llm_lite.errors import TextError
from c2llm_lite.text import choose_prompt

WIDTH = 10
FORMATS = (".npy", ".jsonl", ".parquet")


class Model:
    """Embedder's face; a text's vector comes from its hash."""

    dim = WIDTH
    prompts = {"query": "find: "}  # noqa: RUF012

    def __init__(self, bundle: str = "b" * 64, max_tokens: int = 16, seconds: float = 0) -> None:
        source = SimpleNamespace(name="C2LLM-tiny")
        manifest = SimpleNamespace(source=source, target="gguf:f16", width=self.dim, max_tokens=max_tokens)
        self.bundle = SimpleNamespace(sha256=bundle, manifest=manifest)
        self.max_tokens = max_tokens
        self.calls: list[list[str]] = []
        self._seconds = seconds

    def tokenize(self, texts: list[str], *, prompt: str = "") -> list[list[int]]:
        if "unembeddable" in texts:
            raise TextError(f"text {texts.index('unembeddable')} is empty; remove it or pass a prompt")
        return [[1] for _ in texts]

    def embed(
        self,
        texts: list[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        dim: int | None = None,
        normalize: bool = True,
        precision: vectors.Precision = "float32",
        progress: bool | Callable[[float], None] = False,
    ) -> Any:
        if dim is not None and not 1 <= dim <= WIDTH:
            raise ValueError(f"dim is {dim}")
        if "unembeddable" in texts:
            raise TextError(f"text {texts.index('unembeddable')} is empty; remove it or pass a prompt")
        self.calls.append(list(texts))
        time.sleep(self._seconds * bool(texts))
        prefix = choose_prompt(self.prompts, prompt_name, prompt)
        found = np.array([_vector(prefix + text) for text in texts], np.float32).reshape(-1, WIDTH)[:, :dim]
        if callable(progress):
            progress(0.5)
            progress(1.0)
        return vectors.encode(vectors.normalize(found) if normalize else found, precision)


def _vector(text: str) -> Any:
    return np.frombuffer(hashlib.sha512(text.encode()).digest()[: 4 * WIDTH], np.uint32).astype(np.float32) - 2**31


def run(model: Model, source: Path | str, output: Path, **options: Any) -> Written:
    return embed_file(model, source, output, **({"part_rows": 4} | options))  # type: ignore[arg-type]


def outputs(output: Path) -> tuple[bytes, bytes]:
    """All that a finished run leaves."""
    assert not output.with_name(f"{output.name}.partial").exists()
    return output.read_bytes(), output.with_name(f"{output.name}.meta.json").read_bytes()


def part(output: Path, name: str) -> Path:
    return output.with_name(f"{output.name}.partial") / name


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def stopped(source: Path, output: Path, after: int = 3, **options: Any) -> None:
    """A run that ends after some parts, as by Ctrl-C."""
    model = Model()
    real = model.embed

    def embed(texts: list[str], **how: Any) -> Any:
        if len(model.calls) == after + 1:
            interrupt()
        return real(texts, **how)

    model.embed = embed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(model, source, output, **options)
