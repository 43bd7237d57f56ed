"""Splits a file into the pieces to embed: functions, methods, classes, and windows of the rest.

Every line is in a piece, except a few lines without content (a lone bracket, an import or two):

- a function is a piece, with its decorators and the comment above it. Its text is only the code, as the model was
  trained on functions;
- a class is a piece without the bodies of its methods, which are pieces themselves: header, docstring, fields and
  signatures describe the class, and no line is embedded twice;
- lines outside definitions, and all lines of a file without a grammar, go into overlapping windows;
- a definition longer than the model reads well is split into windows that keep its name, and its inner definitions are
  pieces as well.
"""

from __future__ import annotations

import re
import textwrap
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..errors import MissingDependencyError
from .languages import LANGUAGES, Kind, Language, Rule

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

CUTTING = 3  # increased when pieces change, so that files of an older index are split again
LONGEST = 120  # lines of a definition; about 1,500 tokens, where C2LLM reads 2,048
WINDOW = 40  # lines that are not blank
OVERLAP = 10
LEAST = 3  # lines with a word in them that a window of the rest needs to say something
LONGEST_NAME = 100  # characters
FURTHEST = 500  # column that a definition of its own begins at; those on one line would each repeat all of it
LONGEST_SYMBOL = 300  # of a definition inside others

_WORD = re.compile(r"\w")
_MACRO = re.compile(r"[A-Z][A-Z0-9_]*")
_RECEIVER = re.compile(r"(\w+)\s*(?:\[[^\]]*\])?\s*\)$")  # of a Go method: (s *Stack[T])


@dataclass(frozen=True)
class Piece:
    """start, end: the first and the last line, from 1. symbol: "Stack.push", or "" for a window of the rest."""

    start: int
    end: int
    symbol: str
    text: str


@dataclass
class _Definition:
    """Lines from 0, `end` included.

    first: where the definition itself begins, below its comments. body: where its body begins on a line of its own, or
    the line after, if the body shares a line with the signature.
    """

    kind: Kind
    symbol: str
    start: int
    first: int
    body: int
    end: int
    children: list[_Definition] = field(default_factory=list)


class _Place(NamedTuple):
    """A node and its place: tree-sitter takes linear time to find a parent or a sibling."""

    node: Node
    siblings: tuple[Node, ...]  # the parent's named children, the node among them
    number: int  # its place among them
    parent: _Place | None
    alone: bool  # whether no sibling is of its type; set for a wrapper's children only


def cut(text: str, language: str) -> list[Piece]:
    """The pieces of a file, in the order of their first lines.

    text: its lines end with line feeds alone. language: a key of LANGUAGES, or any other word for a file without a
    grammar. Raises MissingDependencyError.
    """
    lines = text.split("\n")
    definitions = _definitions(lines, LANGUAGES[language]) if language in LANGUAGES else []
    pieces = list(_pieces(definitions, lines))
    rest = _without(range(len(lines)), [(d.start, d.end) for d in definitions])
    least = LEAST if definitions else 1
    pieces += [piece for piece in _windows(rest, lines, "") if _said(piece.text) >= least]
    return sorted(pieces, key=lambda piece: (piece.start, piece.end))


def _said(text: str) -> int:
    """Lines with a word in them."""
    return sum(_WORD.search(line) is not None for line in text.split("\n"))


def _pieces(outermost: Sequence[_Definition], lines: Sequence[str]) -> Iterator[Piece]:
    waiting = list(outermost)
    while waiting:
        definition = waiting.pop()
        # Of what it holds, the signatures stay.
        hidden = [span for c in definition.children for span in ((c.start, c.first - 1), (c.body, c.end))]
        own = _without(range(definition.start, definition.end + 1), hidden)
        if len(own) <= LONGEST:
            yield Piece(definition.start + 1, definition.end + 1, definition.symbol, _joined(own, lines))
        else:
            yield from _windows(own, lines, definition.symbol)
        waiting += definition.children


def _windows(numbers: Sequence[int], lines: Sequence[str], symbol: str) -> Iterator[Piece]:
    """These lines, in order, in overlapping windows; blank ones are not counted."""
    said = [i for i in numbers if lines[i].strip()]
    for begin in range(0, max(1, len(said) - OVERLAP), WINDOW - OVERLAP):
        if taken := said[begin : begin + WINDOW]:
            within = numbers[bisect_left(numbers, taken[0]) : bisect_right(numbers, taken[-1])]
            yield Piece(taken[0] + 1, taken[-1] + 1, symbol, _joined(within, lines))


def _joined(numbers: Sequence[int], lines: Sequence[str]) -> str:
    """These lines as a text of its own; blank lines that meet where others were skipped become one."""
    kept = [lines[i].rstrip() for i in numbers]
    return textwrap.dedent("\n".join(line for i, line in enumerate(kept) if line or (i and kept[i - 1])))


def _without(numbers: range, spans: list[tuple[int, int]]) -> list[int]:
    """The numbers outside the spans, in time that what the spans hold does not add to."""
    left: list[int] = []
    at = numbers.start
    for start, end in sorted(spans):
        left += range(at, min(start, numbers.stop))
        at = max(at, end + 1)
    return [*left, *range(at, numbers.stop)]


def _definitions(lines: Sequence[str], language: Language) -> list[_Definition]:
    """The file's outermost definitions, each with those it holds."""
    tree = _parser(language.grammar).parse("\n".join(lines).encode())
    found: list[_Definition] = []
    # A stack rather than recursion: generated and hostile files nest deeper than Python's own stack goes.
    open_nodes: list[tuple[_Place, str, list[_Definition]]] = [(_Place(tree.root_node, (), 0, None, True), "", found)]
    while open_nodes:
        place, prefix, holder = open_nodes.pop()
        node = place.node
        rule = language.rules.get(node.type)
        name = _name(place, rule, language) if rule is not None and node.start_point[1] <= FURTHEST else ""
        if rule is not None and name:
            prefix = f"{prefix}{language.separator}{name}"[-LONGEST_SYMBOL:] if prefix else name
            if rule.kind is not Kind.NAMESPACE:
                definition = _definition(place, rule, prefix, language, lines)
                holder.append(definition)
                holder = definition.children
                if definition.kind is Kind.FUNCTION and definition.end - definition.start < LONGEST:
                    continue  # what it defines inside is part of it
        children = tuple(node.named_children)
        types = Counter(child.type for child in children) if node.type in language.wrappers else None
        places = [
            _Place(child, children, i, place, types is None or types[child.type] == 1)
            for i, child in enumerate(children)
            if child.child_count  # a leaf holds no definition
        ]
        open_nodes += [(child, prefix, holder) for child in reversed(places)]
    return found


def _definition(place: _Place, rule: Rule, symbol: str, language: Language, lines: Sequence[str]) -> _Definition:
    outer = place
    while (parent := outer.parent) is not None and parent.node.type in language.wrappers:
        if not outer.alone:
            break  # `const f = …, g = …;`: each is its own
        outer = parent
    start = first = outer.node.start_point[0]
    highest = outer  # the first statement of a body has the comment above it beside the body, in some grammars
    while (parent := highest.parent) is not None and parent.node.start_byte == highest.node.start_byte:
        highest = parent
    for i in range(highest.number - 1, -1, -1):
        above = highest.siblings[i]
        if above.type not in language.before or _last_row(above) not in (start - 1, start):
            break
        if i and _last_row(highest.siblings[i - 1]) == above.start_point[0] and "comment" in above.type:
            break  # a comment on the line of what is above, and about that
        start = above.start_point[0]
    owner = _owner(place.node, rule)
    below = first + 1
    if (body := owner.child_by_field_name("body")) is not None:
        row, column = body.start_point
        alone = not lines[row].encode()[:column].strip()
        below = max(below, row if alone else row + 1)
    kind = Kind.CLASS if owner.type == "class" else rule.kind
    return _Definition(kind, symbol, start, first, below, _last_row(outer.node))


def _last_row(node: Node) -> int:
    """Some grammars end a line comment at the beginning of the next line."""
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


def _owner(node: Node, rule: Rule) -> Node:
    """The node that has the body: what is assigned, where the definition is an assignment."""
    return (node.child_by_field_name(rule.value[0]) if rule.value else None) or node


def _name(place: _Place, rule: Rule, language: Language) -> str:
    """The definition's own name; "" where it has none, or is none."""
    node, parent = place.node, place.parent
    if rule.value is not None:
        value = node.child_by_field_name(rule.value[0])
        if value is None or value.type not in rule.value[1]:
            return ""
    if not rule.bodiless and _owner(node, rule).child_by_field_name("body") is None:
        return ""
    named = node.child_by_field_name(rule.name)
    if rule.name == "declarator":
        named = _innermost_declarator(node)
    elif named is None and parent is not None and parent.node.type == "type_definition":
        named = parent.node.child_by_field_name("declarator")  # typedef struct { … } name;
    name = _flat(named)
    in_class = parent is not None and parent.node.type == "field_declaration_list"  # a constructor, such as RGB()
    untyped = rule.name == "declarator" and node.child_by_field_name("type") is None
    if untyped and not in_class and _MACRO.fullmatch(name):
        name = _flat(node.child_by_field_name("declarator"))  # TEST(Suite, Name) { … }: without a type, a macro's call
    if rule.kind is Kind.NAMESPACE:
        name = name.partition("<")[0]  # impl Stack<T>
    receiver = _RECEIVER.search(_flat(node.child_by_field_name("receiver")))
    return f"{receiver[1]}{language.separator}{name}" if receiver and name else name


def _innermost_declarator(node: Node) -> Node | None:
    """`*copy(const char *text)` → `copy`."""
    found: Node | None = node
    inner = node.child_by_field_name("declarator")
    while inner is not None:
        found = inner
        inner = found.child_by_field_name("declarator")
        if inner is None:  # a C++ reference's has no field
            inner = next((child for child in found.named_children if child.type.endswith("_declarator")), None)
    return found


def _flat(node: Node | None) -> str:
    text = " ".join((node.text or b"").decode(errors="replace").split()) if node is not None else ""
    return text[:LONGEST_NAME]


_PARSERS: dict[str, Parser] = {}


def _parser(grammar: str) -> Parser:
    if grammar not in _PARSERS:
        try:
            from tree_sitter_language_pack import get_parser
        except ImportError as error:
            raise MissingDependencyError(
                "tree-sitter-language-pack", "search", "cutting code into functions"
            ) from error
        _PARSERS[grammar] = get_parser(grammar)  # type: ignore[arg-type]  # a Literal of all names
    return _PARSERS[grammar]
