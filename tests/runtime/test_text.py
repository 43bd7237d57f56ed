"""Prompts, tokenizing and truncation."""

from __future__ import annotations

import logging

import pytest
from checkpoints import write_checkpoint
from tokenizers import Tokenizer

from c2llm_lite.errors import BundleError, TextError
from c2llm_lite.text import DOCUMENT_PROMPT, QUERY_PROMPTS, TextTokenizer, choose_prompt, prompts


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("text") / "checkpoint") / "tokenizer.json"


def test_every_task_has_a_query_prompt_that_ends_its_line_and_the_one_document_prompt():
    named = prompts()
    assert named["query"] == "Retrieve the code that solves the following query:\n"
    assert named["document"] == "Retrieved Answer:"
    assert len(QUERY_PROMPTS) == 12
    for task in QUERY_PROMPTS:
        assert named[f"{task}-query"].endswith("\n")
        assert named[f"{task}-document"] == DOCUMENT_PROMPT


def test_prompt_is_a_name_or_literal_or_nothing():
    named = {"query": "Q:"}
    assert choose_prompt(named, "query", None) == "Q:"
    assert choose_prompt(named, None, "mine ") == "mine "
    assert choose_prompt(named, None, None) == ""
    with pytest.raises(ValueError, match="exclude each other"):
        choose_prompt(named, "query", "mine")
    with pytest.raises(ValueError, match=r"no prompt is named 'qurey'; this bundle has query"):
        choose_prompt(named, "qurey", None)


@pytest.mark.parametrize("text", ["def f(): pass", "\nx", "(a)", "", "ünïcode 漢字"])
def test_prompt_and_text_are_one_string(tokenizer_file, text):
    whole = Tokenizer.from_file(str(tokenizer_file)).encode(DOCUMENT_PROMPT + text, add_special_tokens=False).ids
    assert TextTokenizer(tokenizer_file, 2048).encode([text], DOCUMENT_PROMPT) == [whole]


def test_a_merge_crosses_the_seam(tokenizer_file):
    tokenizer = TextTokenizer(tokenizer_file, 2048)
    (whole,) = tokenizer.encode(["def f(): pass"], DOCUMENT_PROMPT)
    (prefix,), (text,) = tokenizer.encode([DOCUMENT_PROMPT]), tokenizer.encode(["def f(): pass"])
    assert whole != prefix + text


def test_a_long_text_is_cut_from_the_right_and_reported_once(tokenizer_file, caplog):
    tokenizer = TextTokenizer(tokenizer_file, 5)
    with caplog.at_level(logging.WARNING, "c2llm_lite"):
        ids = tokenizer.encode(["short", "a much longer text than five tokens", "another that is far too long as well"])
    assert ids[1] == TextTokenizer(tokenizer_file, 99).encode(["a much longer text than five tokens"])[0][:5]
    assert [len(i) for i in ids[1:]] == [5, 5]
    (record,) = caplog.records
    assert "text 1 has" in record.message
    assert "truncated to 5" in record.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "text 8 is empty; remove it or pass a prompt"),
        (None, "text 8 is a NoneType, not a string"),
        (b"bytes", "text 8 is a bytes, not a string"),
        (float("nan"), "text 8 is a float, not a string"),
        ("a\ud800b", "text 8 is not valid Unicode: lone surrogate at character 1"),
    ],
)
def test_bad_texts_are_named(tokenizer_file, text, message):
    with pytest.raises(TextError, match=message):
        TextTokenizer(tokenizer_file, 99).encode(["fine", text], first_index=7)


def test_a_broken_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a byte-level BPE tokenizer"):
        TextTokenizer(tmp_path / "tokenizer.json", 99)
