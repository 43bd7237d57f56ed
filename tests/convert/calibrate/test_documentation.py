"""What a definition's comment says of it, in the forms of each language, and the code without it."""

from __future__ import annotations

import pytest

from c2llm_lite.convert.calibrate.documentation import is_long_enough, parted
from c2llm_lite.convert.calibrate.documented_code import says_enough

CASES = {
    "Javadoc": (
        "java",
        "/**\n * Returns the {@code head} of the queue,\n * or null.\n *\n * <p>Never blocks.\n"
        " * @return x\n */\n"
        "@Override\npublic E peek() {\n  return head;\n}",
        "Returns the head of the queue, or null.",
        "@Override\npublic E peek() {\n  return head;\n}",
    ),
    "a tag ends it": ("java", "/** Adds a number.\n * @param x it */\nvoid add(int x) {\n}", "Adds a number.", None),
    "one line": ("javascript", "/** Adds two numbers. */\nfunction add(a, b) {}", "Adds two numbers.", None),
    "XML": (
        "csharp",
        "/// <summary>\n/// Opens the <c>file</c> again.\n/// </summary>\n/// <param name='x'>y</param>\n"
        "void Open() {\n}",
        "Opens the file again.",
        "void Open() {\n}",
    ),
    "rustdoc": (
        "rust",
        "/// Pushes a value.\n///\n/// # Panics\n/// Never.\n#[inline]\npub fn push(&mut self) {\n}",
        "Pushes a value.",
        "#[inline]\npub fn push(&mut self) {\n}",
    ),
    "Go": (
        "go",
        "// Close closes the stream\n// for good.\nfunc Close() {\n}",
        "Close closes the stream for good.",
        None,
    ),
    "Ruby": ("ruby", "# Joins the parts.\n# @return [String]\ndef join\nend", "Joins the parts.", "def join\nend"),
    "C": ("c", "/*\n * Free the whole list.\n */\nvoid free_list(void) {\n}", "Free the whole list.", None),
    "a docstring": (
        "python",
        '# above\n@cached\ndef f(x):\n    """Square a number.\n\n    More.\n    """\n    y = x * x\n    return y',
        "Square a number.",
        "@cached\ndef f(x):\n    y = x * x\n    return y",
    ),
    "none": ("go", "func f() {\n}", "", "func f() {\n}"),
    "for a linter": ("go", "//nolint:errcheck\nfunc f() {\n}", "", None),
    "a license": ("c", "/* Copyright (c) 2020 the authors */\nint f(void) {\n}", "", None),
    "a comment without an end": ("c", "/* half of it\nint f(void) {\n}", "half of it int f(void) { }", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_documentation_is_parted_from_code(case: str) -> None:
    language, text, query, code = CASES[case]
    found = parted(text, language)
    assert found[0] == query
    if code is not None:
        assert found[1] == code


def test_a_pair_has_words_and_lines_enough() -> None:
    assert says_enough("adds two numbers")
    assert is_long_enough("a\nb\nc")
    assert not says_enough("adds numbers")
    assert not is_long_enough("a\n\nb\n")
