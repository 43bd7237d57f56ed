"""A model whose vectors encode the words of a text: an index without an engine, to test only the search."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np

from c2llm_lite.embedder import Embedder
from c2llm_lite.vectors import normalize

WIDTH = 32


class Words:
    """Embedder's face, as far as an index asks."""

    dim = WIDTH
    max_tokens = 512
    prompts: ClassVar = {"query": "find: ", "document": "doc: "}
    bundle = SimpleNamespace(sha256="b" * 64)

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        progress: object = False,
    ) -> Any:
        """A sum of a fixed random vector for each word."""
        del prompt_name, prompt, progress
        listed = [texts] if isinstance(texts, str) else texts
        found = normalize(np.array([_bag(text) for text in listed], np.float32).reshape(-1, WIDTH))
        return found[0] if isinstance(texts, str) else found


def model() -> Embedder:
    """A Words, as the index's types have it."""
    return cast(Embedder, Words())


def _bag(text: str) -> Any:
    words = set(re.findall(r"[a-z]+|[0-9]+", text[:20_000].lower())) or {text[:100]}
    return sum(_vector(word) for word in sorted(words)[:500])


@functools.cache
def _vector(word: str) -> Any:
    return np.random.default_rng(zlib.crc32(word.encode("utf-8", "replace"))).standard_normal(WIDTH)
