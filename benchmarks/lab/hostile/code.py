"""Source files that slow down a parser or the splitting: nonsense in every language, and endless definitions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

from c2llm_lite.search.languages import LANGUAGES

from .fixtures import Fixtures
from .forks import Case
from .trees import GOOD, SECONDS, indexed, write

PRELOAD: tuple[str, ...] = ("tree_sitter_language_pack",)


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    del fixtures
    for language, about in sorted(LANGUAGES.items()):
        for name, text in _hostile_code().items():
            path = f"x{about.suffixes[0]}" if about.suffixes else "x"
            yield Case(f"{language}: {name}", partial(indexed, partial(write, path, text)), SECONDS)
    for name, (path, text) in _long_code().items():
        yield Case(name, partial(indexed, partial(write, path, text)), SECONDS)


def _hostile_code() -> dict[str, str | bytes]:
    draw = random.Random(11)
    words = (
        "def",
        "class",
        "{",
        "}",
        "(",
        ")",
        "function",
        "if",
        ":",
        "\n",
        "    ",
        '"',
        "'",
        "/*",
        "//",
        "<",
        ">",
        "x",
    )
    return {
        "200,000 opening brackets": "{" * 200_000 + "\n",
        "200,000 parentheses": "x = " + "(" * 100_000 + ")" * 100_000 + "\n",
        "a string that does not end": 'x = "' + "word " * 2000 + "\n" * 500,
        "a comment that does not end": "/*" * 1000 + "\nword\n" * 2000,
        "random bytes": draw.randbytes(100_000).replace(b"\0", b" "),
        "random words": " ".join(draw.choices(words, k=25_000)),
        "20,000 comments": "".join(f"# comment {i}\n// comment {i}\n" for i in range(10_000)),
        "20,000 blank lines": "x = 1\n" + "\n" * 20_000 + "y = 2\n",
    }


def _long_code() -> dict[str, tuple[str, str]]:
    deep, wide = 4_000, 8_000
    return {
        "Python: 80,000 lines of comment": ("x.py", "# about\n" * 80_000 + GOOD),
        "Go: 80,000 lines of comment": ("x.go", "package x\n" + "// about\n" * 80_000 + "func f() {\n}\n"),
        "Go: functions nested": ("x.go", "package x\n" + "func f() {\nx := func() {\n" * deep + "}\n" * 2 * deep),
        "Go: 8,000 functions with comments": (
            "x.go",
            "package x\n" + "// f does it.\nfunc f() {\n\treturn\n}\n" * wide,
        ),
        "TypeScript: namespaces nested": ("x.ts", "namespace a {\nfunction f() {\n" * deep + "}\n" * 2 * deep),
        "TypeScript: functions nested": ("x.ts", "function f() { const g = () => {\n" * deep * 2 + "}}\n" * deep * 2),
        "TypeScript: 8,000 arrows on one line": ("x.ts", "const f = () => {\n};" * wide),
        "Python: classes nested": (
            "x.py",
            "".join(" " * i + f"class C{i}:\n" for i in range(900)) + " " * 900 + "pass\n",
        ),
        "Python: 20,000 decorators": ("x.py", "@decorated\n" * 20_000 + GOOD),
        "Python: 8,000 functions": ("x.py", "# about it\ndef f(x):\n    return x\n\n\n" * wide),
        "Rust: 20,000 attributes": ("x.rs", "#[derive(Debug)]\n" * 20_000 + "fn f() {\n}\n"),
        "C: 20,000 declarators": ("x.c", "int " + "*" * 20_000 + "f(void) {\n}\n"),
        "JavaScript: 8,000 functions in one": ("x.js", "function f() {\n" + "function g() {\n}\n" * wide + "}\n"),
        "Java: a class of 8,000 methods": ("X.java", "class X {\n" + "/** about */\nvoid f() {\n}\n" * wide + "}\n"),
    }
