"""Variants of calibration texts: other words, the same structure, the same each time."""

from __future__ import annotations

import re
from pathlib import Path

from checkpoints import write_checkpoint

from c2llm_lite.convert.calibrate import variants
from c2llm_lite.convert.calibrate.texts import default
from c2llm_lite.convert.calibrate.variants import COPIES, head_texts
from c2llm_lite.convert.checkpoint import open_checkpoint

CODE = "def read_line(fileHandle):\n    return fileHandle.readLine()  # the LINE"


def test_a_word_is_replaced_by_the_same_one_everywhere_and_in_its_case() -> None:
    words = variants._Words([CODE] + ["def f(): return the"] * 40, ["apple", "pear", "plum"])
    given = [words.replaced(CODE) for _ in range(40)]
    assert len(set(given)) > 20
    for text in given:
        found = re.fullmatch(
            r"def ([a-z]+)_([a-z]+)\(([a-z]+)([A-Z][a-z]+)\):\n"
            r"    return ([a-z]+)([A-Z][a-z]+)\.([a-z]+)([A-Z][a-z]+)\(\)  # the ([A-Z]+)",
            text,
        )
        assert found, text
        read, line, file, handle, *again = found.groups()
        assert again == [file, handle, read, line.capitalize(), line.upper()]
    assert any("apple" in text.lower() for text in given)


def test_each_text_has_variants_while_there_is_room(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint"))
    names = "read", "write", "copy", "move", "link", "list", "open", "close", "sync"
    texts = {"document": [f"def {name}(argument): return argument" for name in names], "query": ["multiply"]}
    found = head_texts(checkpoint, texts)
    assert found.origins == list(range(10)) * (1 + COPIES)
    assert len(found.ids) == len(found.origins)
    assert found == head_texts(checkpoint, {"query": ["multiply"], "document": texts["document"][::-1] * 2})
    assert len({tuple(text) for text in found.ids}) > 20
    tokens = sum(map(len, found.ids[:10]))
    assert len(head_texts(checkpoint, texts, 2 * tokens).ids) == 20
    assert head_texts(checkpoint, texts, (tokens + 1) // 2) == (found.ids[:10:2], list(range(5)))


def test_variants_of_the_default_texts_keep_their_keywords() -> None:
    texts = [text for given in default().values() for text in given]
    words = variants._Words(texts, ["apple"])
    assert {"return", "the", "function", "string"} <= words._kept
    assert not {"semaphore", "invoice"} & words._kept
