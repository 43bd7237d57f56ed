"""Notebooks by their cells, and tables of data by their beginning."""

from __future__ import annotations

import json

import pytest

from c2llm_lite.search.pieces import WINDOW, cut
from c2llm_lite.search.split import split
from c2llm_lite.search.tables import is_table

NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Reads\n", "\n", "All lines."]},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "outputs": [{"data": {"text/plain": ["'output'"]}, "output_type": "display_data"}],
            "source": ["def read(path):\n", '    return open(path, "rb")\n', "\n", "read('a')"],
        },
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": []},
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": "print(1)\nprint(2)"},
    ],
    "metadata": {"language_info": {"codemirror_mode": {"name": "ipython"}, "file_extension": ".py", "name": "python"}},
    "nbformat": 4,
}


def test_a_notebook_is_split_at_its_cells_and_its_definitions() -> None:
    text = json.dumps(NOTEBOOK, indent=1)
    done = split("a.ipynb", text)
    assert done.language == "python"
    assert [(piece.symbol, piece.text) for piece in done.pieces] == [
        ("", "# Reads\n\nAll lines."),
        ("read", 'def read(path):\n    return open(path, "rb")'),
        ("", "print(1)\nprint(2)"),
    ]
    lines = text.split("\n")
    for piece in done.pieces:  # the lines of the file, which editors go to
        assert piece.text.split("\n")[0] in json.loads(
            lines[piece.start - 1].strip().removeprefix('"source": ').strip(",")
        )


@pytest.mark.parametrize(
    "text", ["", "{", '"source": [', ' "source": [\n  "a', ' "cell_type": "code"\n "source": "\\x"']
)
def test_what_is_no_notebook_is_no_error(text: str) -> None:
    split("a.ipynb", text)


def table(rows: int) -> str:
    return "WIDE = (\n" + "".join(f"    (0x{i:05x}, 0x{i + 1:05x}),  # Hangul choseong\n" for i in range(rows)) + ")\n"


def test_a_table_of_data_is_kept_by_its_beginning() -> None:
    text = f"def one():\n    return 1\n\n\n{table(WINDOW * 10)}\n\ndef two():\n    return 2\n"
    done = split("wide.py", text)
    assert [(piece.symbol, piece.start) for piece in done.pieces] == [("one", 1), ("", 5), ("two", 409)]
    assert done.tables == len(cut(text, "python")) - 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (table(20), True),
        ('{\n "packages": {\n' + '  "node_modules/a": {"version": "1.2.3"},\n' * 20 + "}}", True),
        ("static const uint8_t T[] = {\n" + "    0x1f, 0x8b, 0x08,\n" * 20 + "};", True),
        ('"""' + "A paragraph of a docstring.\n" * 20 + '"""', False),
        ("x = read(1)\n" * 20, False),
        ("A prose text, with 3 numbers in 20 lines.\n" * 20, False),
        ("CODES = (1, 2)", False),
    ],
)
def test_tables(text: str, expected: bool) -> None:
    assert is_table(text) is expected
