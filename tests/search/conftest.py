"""A model whose vectors encode the words of a text, so that searches find what they should, quickly."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from c2llm_lite.search import Index
from c2llm_lite.vectors import normalize

WIDTH = 64


class Model:
    """Embedder's face. texts: what it was asked to embed as documents."""

    dim = WIDTH
    max_tokens = 512
    prompts: ClassVar = {"query": "find: ", "document": "doc: "}

    def __init__(self, bundle: str = "b" * 64, seconds: float = 0) -> None:
        self.bundle = SimpleNamespace(sha256=bundle)
        self.texts: list[str] = []
        self._seconds = seconds

    def embed(
        self, texts: Any, *, prompt_name: str | None = None, prompt: str | None = None, progress: Any = None
    ) -> Any:
        single = isinstance(texts, str)
        if prompt is not None and not single:
            self.texts += texts
            time.sleep(self._seconds)
        found = np.array([_bag(text) for text in ([texts] if single else texts)], np.float32).reshape(-1, WIDTH)
        return normalize(found)[0] if single else normalize(found)


def _bag(text: str) -> Any:
    """The sum of a vector for each word, drawn from the word's hash."""
    words = re.findall(r"[a-z]+|[0-9]+", text.lower()) or [text]
    seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little") for word in words]
    return sum(np.random.default_rng(seed).standard_normal(WIDTH) for seed in seeds)


@pytest.fixture
def new_model() -> type[Model]:
    return Model


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small folder of code."""
    folder = tmp_path / "tree"
    (folder / "shapes").mkdir(parents=True)
    (folder / "shapes" / "circle.py").write_text(
        '"""Circles."""\n\n\nclass Circle:\n    """A round shape."""\n\n    def area(self):\n'
        "        return 3.14 * self.radius**2\n"
    )
    (folder / "files.py").write_text(
        "import json\n\n\ndef read_jsonl(path):\n    with open(path) as file:\n"
        "        return [json.loads(line) for line in file]\n\n\n"
        "def write_text(path, text):\n    path.write_text(text)\n"
    )
    (folder / "stack.go").write_text("package stack\n\n// Push adds an item.\nfunc (s *Stack) Push(item int) {\n}\n")
    (folder / "notes.md").write_text("# Notes\n\nThe quick brown fox jumps over the lazy dog.\n")
    return folder


@pytest.fixture
def index(model: Any, tree: Path, tmp_path: Path) -> Any:
    with Index(model, tree, index=tmp_path / "index") as opened:
        opened.update()
        yield opened


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to the user's own cache."""
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
