"""Paths and numbers that a caller may give: each odd one is refused in words, by every function that takes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c2llm_lite import jsonl, load
from c2llm_lite.arguments import as_path, check_whole
from c2llm_lite.bulk.file import embed_file
from c2llm_lite.convert import convert, list_targets
from c2llm_lite.convert.standin.demo import write_demo
from c2llm_lite.errors import ArgumentError
from c2llm_lite.serve.keys import Keys
from c2llm_lite.verify import verify

MODEL: Any = None  # paths are looked at first
TAKERS: dict[str, Callable[[Any], object]] = {
    "load": load,
    "verify": verify,
    "convert's source": lambda path: convert(path, "out", "gguf:f32"),
    "convert's output": lambda path: convert("source", path, "gguf:f32"),
    "list_targets": list_targets,
    "write_demo": write_demo,
    "embed_file's source": lambda path: embed_file(MODEL, path, "out.npy"),
    "embed_file's output": lambda path: embed_file(MODEL, "texts.jsonl", path),
    "JSON lines": lambda path: list(jsonl.read(path)),
    "API keys": Keys.read,
}


@pytest.mark.parametrize("path", ["a\0b", "\0", b"x", 5, None, "\ud800"], ids=repr)
@pytest.mark.parametrize("taker", TAKERS)
def test_what_cannot_be_a_path_is_refused_by_name(taker: str, path: Any) -> None:
    if path == "\ud800" and sys.platform == "win32":
        pytest.skip("a file's name there may have one")
    with pytest.raises(ArgumentError, match="pass"):
        TAKERS[taker](path)


def test_a_path_of_any_kind_is_taken(tmp_path: Path) -> None:
    assert as_path(str(tmp_path), "x") == as_path(tmp_path, "x") == tmp_path
    undecodable = os.fsdecode(b"caf\xe9")
    assert as_path(undecodable, "x") == Path(undecodable)


def test_whole_numbers() -> None:
    for good in (1, 7, np.int64(7)):
        check_whole("count", good, 7)
    check_whole("count", 10**30)
    for bad in (0, -1, 8, 1.0, "1", None, True, np.float32(1)):
        with pytest.raises(ArgumentError, match=r"count is .*; pass an integer from 1 to 7"):
            check_whole("count", bad, 7)
    with pytest.raises(ArgumentError, match="count is 0; pass an integer of 1 or more"):
        check_whole("count", 0)
