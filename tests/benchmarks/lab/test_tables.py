"""The README's tables and the page of results: what the committed results say."""

from __future__ import annotations

from pathlib import Path

from c2llm_lite.benchmarks.lab import tables

ROOT = Path(__file__).parents[3]


def test_the_page_is_what_the_results_say() -> None:
    assert (ROOT / tables.PAGE).read_text() == tables.page()


def test_the_readme_s_tables_are_what_the_results_say() -> None:
    text = (ROOT / tables.README).read_text()
    assert text == tables.readme(text)
