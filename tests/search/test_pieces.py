"""Files are split at their definitions, in every language; no line with a word is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from c2llm_lite.search.languages import LANGUAGES, TEXT, language_of
from c2llm_lite.search.pieces import LEAST, LONGEST, OVERLAP, WINDOW, cut

SAMPLES = Path(__file__).with_name("samples")  # .txt, so that no linter takes them for code of ours
# Each sample's definitions, by the line its text begins at: with the comment above it, decorators and attributes.
EXPECTED = {
    "python.py": "6 Shape, 11 Shape.area, 15 Shape.Corner, 16 Shape.Corner.angle, 20 Circle, 22 Circle.__init__, "
    "25 Circle.diameter, 30 unit_circle, 38 fetch, 44 conditional",
    "javascript.js": "1 add, 6 twice, 10 Stack, 12 Stack.push, 15 Stack.pop, 18 Stack.of, 23 count, "
    "27 module.exports.thrice, 32 load, 35 save",
    "typescript.ts": "1 Named, 7 Colour, 13 Geometry.Point, 14 Geometry.Point.constructor, 16 Geometry.Point.norm, "
    "22 Base, 24 Base.stop, 29 swap, 33 main",
    "component.tsx": "1 Button, 5 Card",
    "java.java": "5 Stack, 9 Stack.Stack, 13 Stack.push, 19 Stack.Node, 20 Stack.Node.depth, 26 Named, 30 Colour, "
    "33 Colour.next, 38 Point, 39 Point.norm",
    "go.go": "5 Stack, 10 Namer, 14 Stack.Push, 19 Name.String, 23 main",
    "rust.rs": "3 Point, 10 Point::norm, 17 Point::fmt, 22 Named, 24 Named::shout, 29 Colour, 34 tests::works, "
    "40 square, 46 main",
    "c.c": "3 point, 7 stack_t, 11 colour, 13 add, 19 copy, 24 trace",
    "cpp.cpp": "5 shapes::Circle, 8 shapes::Circle::Circle, 9 shapes::Circle::area, 12 shapes::Circle::~Circle, "
    "18 shapes::largest, 25 Point, 29 shapes::Circle::diameter, 33 numbers, 38 operator==, 42 main",
    "csharp.cs": "5 Shapes.Stack, 10 Shapes.Stack.Stack, 15 Shapes.Stack.Push, 20 Shapes.Stack.Node, "
    "22 Shapes.Stack.Node.Depth, 26 Shapes.INamed, 31 Shapes.Point, 33 Shapes.Point.Norm, 39 Shapes.Colour",
    "filescoped.cs": "3 Square, 5 Square.Area",
    "ruby.rb": "4 Shapes::Stack, 8 Shapes::Stack::initialize, 12 Shapes::Stack::of, 16 Shapes::Stack::Node, "
    "17 Shapes::Stack::Node::depth, 24 main",
    "php.php": "5 Stack, 12 Stack::push, 17 Stack::of, 23 Named, 28 Shouts, 30 Shouts::shout, 36 Colour, 41 add",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_definitions(name: str) -> None:
    text = (SAMPLES / f"{name}.txt").read_text()
    found = [f"{piece.start} {piece.symbol}" for piece in cut(text, language_of(name, text)) if piece.symbol]
    assert ", ".join(found) == EXPECTED[name]


def test_every_language_has_a_sample() -> None:
    assert {language_of(name, "") for name in EXPECTED} == set(LANGUAGES)


@pytest.mark.parametrize("name", EXPECTED)
def test_no_line_is_lost(name: str) -> None:
    text = (SAMPLES / f"{name}.txt").read_text()
    pieces = cut(text, language_of(name, text))
    held = {line.strip() for piece in pieces for line in piece.text.split("\n")}
    lost = [line for line in text.split("\n") if any(map(str.isalnum, line)) and line.strip() not in held]
    assert len(lost) < LEAST


def test_a_class_holds_its_methods_signatures_and_not_their_bodies() -> None:
    text = (SAMPLES / "python.py.txt").read_text()
    pieces = {piece.symbol: piece for piece in cut(text, "python")}
    circle = pieces["Circle"]
    assert circle.text == (
        "# A circle knows its radius.\nclass Circle(Shape):\n    def __init__(self, radius):\n\n"
        "    @property\n    def diameter(self):"
    )
    assert (circle.start, circle.end) == (20, 27)
    assert pieces["Circle.diameter"].text == "@property\ndef diameter(self):\n    return 2 * self.radius"
    assert "def inner" in pieces["unit_circle"].text


def test_text_goes_into_overlapping_windows() -> None:
    text = "\n".join(f"line {i}" for i in range(1, 101))
    pieces = cut(text, TEXT)
    assert [(piece.start, piece.end) for piece in pieces] == [(1, 40), (31, 70), (61, 100)]
    assert all(piece.symbol == "" for piece in pieces)
    assert pieces[0].text.split("\n")[-OVERLAP:] == pieces[1].text.split("\n")[:OVERLAP]
    assert [(piece.start, piece.end) for piece in cut("\n\none line\n\n", TEXT)] == [(3, 3)]
    assert cut("\n \n", TEXT) == []


def test_a_definition_too_long_is_cut_and_keeps_its_name() -> None:
    body = "".join(f"    step_{i}()\n" for i in range(LONGEST + 20))
    text = f"def long():\n{body}    def inner():\n        return 1\n    return inner\n"
    pieces = cut(text, "python")
    assert [piece.symbol for piece in pieces if piece.end - piece.start == 1] == ["long.inner"]
    windows = [piece for piece in pieces if piece.symbol == "long"]
    assert windows[0].start == 1
    assert windows[-1].end == LONGEST + 24
    assert all(len(piece.text.split("\n")) <= WINDOW for piece in windows)


def test_names_in_one_declaration_are_cut_apart() -> None:
    text = "const f = () => {\n  a();\n},\n  g = () => {\n  b();\n};\n"
    assert [(p.symbol, p.start, p.end) for p in cut(text, "javascript")] == [("f", 1, 3), ("g", 4, 6)]


def test_a_comment_belongs_to_what_it_stands_beside() -> None:
    text = "int x; /* about x */\nint f(void) {\n  return x;\n}\n\n/* alone */\n\nint g(void) {\n  return x;\n}\n"
    assert [(p.symbol, p.start) for p in cut(text, "c") if p.symbol] == [("f", 2), ("g", 8)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_no_code_is_cut_all_the_same(language: str) -> None:
    for text in ("}}} ((( def class {", "\ufffd \u00e9\U0001f600 {", "x" * 5000, "(" * 20_000, "{\n" * 3000):
        pieces = cut(text, language)
        assert all(1 <= piece.start <= piece.end <= text.count("\n") + 1 for piece in pieces)


def test_a_header_is_c_or_cpp_by_what_it_holds() -> None:
    assert language_of("a.h", "int add(int a, int b);\n") == "c"
    assert language_of("a.h", "namespace a {\nclass B;\n}\n") == "cpp"
    assert language_of("LICENSE", "") == TEXT
    assert language_of("A.PY", "") == "python"


def test_a_methods_decorators_and_comment_belong_to_it() -> None:
    source = "class A {\n  /** Doc. */\n  @Get('/x')\n  @Auth()\n  m() {\n    return 1;\n  }\n\n  @Post() n() {}\n}\n"
    for language in ("typescript", "tsx"):
        pieces = {piece.symbol: piece for piece in cut(source, language)}
        assert (pieces["A.m"].start, pieces["A.m"].end) == (2, 7)
        assert "@Get" in pieces["A.m"].text
        assert pieces["A.n"].text == "@Post() n() {}"


def test_a_macro_that_defines_is_named_with_its_arguments() -> None:
    source = (
        "// adds\nTEST(Stack, Pushes) {\n  int x;\n}\nTEST(Stack, Pops) {\n  int y;\n}\nint add(int a) { return a; }\n"
    )
    pieces = {piece.symbol: piece for piece in cut(source, "cpp")}
    assert set(pieces) == {"TEST(Stack, Pushes)", "TEST(Stack, Pops)", "add"}
    assert pieces["TEST(Stack, Pushes)"].start == 1


@pytest.mark.parametrize(
    ("source", "language"),
    [
        ("# c\n" * 40_000 + "def f():\n    pass\n", "python"),
        ("package a\nfunc f() {\n" + "if x {\n" * 20_000 + "}\n" * 20_000 + "}\n", "go"),
        ("class A { m() {\n" + "function f() {\n" * 10_000 + "}\n" * 10_000 + "}}\n", "typescript"),
        ("\n".join(" " * i + f"class C{i}:" for i in range(800)) + "\n", "python"),
        ("const " + ",\n".join(f"f{i} = () => {{\n}}" for i in range(20_000)) + ";", "javascript"),
    ],
    ids=["comments", "nested blocks", "nested functions", "nested classes", "one declaration"],
)
def test_cutting_takes_time_in_proportion(source: str, language: str) -> None:
    """These took from 45 seconds to minutes."""
    begun = time.monotonic()
    cut(source, language)
    assert time.monotonic() - begun < 40


def test_definitions_on_one_line_do_not_repeat_it_each() -> None:
    text = "function f() { return one + two; } " * 3000 + "\n" + "let a = 1;\n" * 100
    pieces = cut(text, "javascript")
    assert sum(len(piece.text) for piece in pieces) < 20 * len(text)  # 3,000 times, once
    assert any(piece.symbol == "f" for piece in pieces)


def test_a_header_of_blank_lines_is_read_at_once() -> None:
    begun = time.monotonic()
    assert language_of("a.h", "\n" * 200_000 + "int a;\n") == "c"  # took minutes
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("language", "text", "symbols"),
    [
        ("rust", "/// Marks.\npub struct Marker;\n\nstruct Pair(u8);\n", ["Marker", "Pair"]),
        (
            "cpp",
            "class RGB {\n  RGB(int r) { x(); }\n  virtual ~RGB() = default;\n};\n",
            ["RGB", "RGB::RGB", "RGB::~RGB"],
        ),
        ("cpp", "n::A::~A() noexcept = default;\n", ["n::A::~A"]),
        ("cpp", "TEST(Suite, Name) {\n  x();\n}\n", ["TEST(Suite, Name)"]),
    ],
)
def test_definitions_without_a_body(language: str, text: str, symbols: list[str]) -> None:
    assert [piece.symbol for piece in cut(text, language)] == symbols
