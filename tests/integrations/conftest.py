"""The stand-in, which can retrieve, for end-to-end retrieval."""

from __future__ import annotations

import pytest

import c2llm_lite
from c2llm_lite.benchmarks.bench.pairs import stdlib_pairs
from c2llm_lite.convert import convert

PAIRS, LONGEST = 12, 250  # functions, and characters of one


@pytest.fixture(scope="session")
def trained(standin, tmp_path_factory):
    """The stand-in in q8_0."""
    folder = tmp_path_factory.mktemp("integrations") / "q8_0"
    convert(standin, folder, "gguf:q8_0", target_probes=False)
    with c2llm_lite.load(folder) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def pairs():
    """Questions and the functions that answer them, which the stand-in has not seen."""
    return [pair for pair in stdlib_pairs() if len(pair.code) <= LONGEST][:PAIRS]
