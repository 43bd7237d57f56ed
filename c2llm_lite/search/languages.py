"""Definitions in each language: node types of the tree-sitter grammars, as data.

A node is a definition if its type has a Rule, the rule's conditions hold and it has a name; other nodes are descended
into. The names are those of the grammars in tree-sitter-language-pack 0.13.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePosixPath

TEXT = "text"  # the language of a file that no grammar here reads


class Kind(Enum):
    """The kind of a definition, which determines how it is split."""

    FUNCTION = "function"  # a piece of its own, with all its lines
    CLASS = "class"  # a piece of its own, without its methods' bodies, which are pieces themselves
    NAMESPACE = "namespace"  # gives its name to what it holds, and is no piece


@dataclass(frozen=True)
class Rule:
    """name: the field that holds the name; "declarator": the innermost of C's declarators.

    value: a field, and the types that its node must have, where the definition is what is assigned to a name.
    bodiless: counts without a field "body"; all others without one are only declared, and defined elsewhere.
    """

    kind: Kind
    name: str = "name"
    value: tuple[str, frozenset[str]] | None = None
    bodiless: bool = False


@dataclass(frozen=True)
class Language:
    """wrappers: nodes around a definition that belong to it: decorators, `export`, `template <…>`.

    before: nodes right above a definition that belong to it: comments, attributes.
    """

    grammar: str
    rules: Mapping[str, Rule]
    suffixes: tuple[str, ...]
    wrappers: frozenset[str] = frozenset()
    before: frozenset[str] = field(default_factory=lambda: frozenset({"comment"}))
    separator: str = "."


def _rules(
    *, functions: str = "", classes: str = "", namespaces: str = "", others: Mapping[str, Rule] | None = None
) -> dict[str, Rule]:
    listed = {Kind.FUNCTION: functions, Kind.CLASS: classes, Kind.NAMESPACE: namespaces}
    return {name: Rule(kind) for kind, names in listed.items() for name in names.split()} | dict(others or {})


_JS_FUNCTIONS = frozenset({"arrow_function", "function_expression", "generator_function", "class"})
_JAVASCRIPT = _rules(
    functions="function_declaration generator_function_declaration method_definition",
    classes="class_declaration",
    others={
        "variable_declarator": Rule(Kind.FUNCTION, value=("value", _JS_FUNCTIONS)),
        "assignment_expression": Rule(Kind.FUNCTION, name="left", value=("right", _JS_FUNCTIONS)),
        "pair": Rule(Kind.FUNCTION, name="key", value=("value", _JS_FUNCTIONS)),
        "field_definition": Rule(Kind.FUNCTION, name="property", value=("value", _JS_FUNCTIONS)),
    },
)
_TYPESCRIPT = _JAVASCRIPT | _rules(
    classes="abstract_class_declaration interface_declaration enum_declaration",
    namespaces="internal_module module",
    others={"public_field_definition": Rule(Kind.FUNCTION, value=("value", _JS_FUNCTIONS))},
)
_JS_WRAPPERS = frozenset({"export_statement", "lexical_declaration", "variable_declaration", "expression_statement"})
_TS_BEFORE = frozenset({"comment", "decorator"})  # a method's decorators stand before it in the class's body
_C = _rules(
    classes="struct_specifier union_specifier enum_specifier",
    # Bodiless: `Stack::~Stack() = default;`
    others={"function_definition": Rule(Kind.FUNCTION, name="declarator", bodiless=True)},
)

LANGUAGES: dict[str, Language] = {
    "python": Language(
        "python",
        _rules(functions="function_definition", classes="class_definition"),
        (".py", ".pyi", ".pyw"),
        wrappers=frozenset({"decorated_definition"}),
    ),
    "javascript": Language("javascript", _JAVASCRIPT, (".js", ".jsx", ".mjs", ".cjs"), wrappers=_JS_WRAPPERS),
    "typescript": Language(
        "typescript",
        _TYPESCRIPT,
        (".ts", ".mts", ".cts"),
        wrappers=_JS_WRAPPERS,
        before=_TS_BEFORE,
    ),
    "tsx": Language("tsx", _TYPESCRIPT, (".tsx",), wrappers=_JS_WRAPPERS, before=_TS_BEFORE),
    "java": Language(
        "java",
        _rules(
            functions="method_declaration constructor_declaration compact_constructor_declaration",
            classes="class_declaration interface_declaration enum_declaration record_declaration "
            "annotation_type_declaration",
        ),
        (".java",),
        before=frozenset({"line_comment", "block_comment"}),
    ),
    "go": Language(
        "go",
        _rules(
            functions="function_declaration method_declaration",
            others={
                "type_spec": Rule(
                    Kind.CLASS, value=("type", frozenset({"struct_type", "interface_type"})), bodiless=True
                )
            },
        ),
        (".go",),
        wrappers=frozenset({"type_declaration"}),
    ),
    "rust": Language(
        "rust",
        _rules(
            functions="function_item",
            classes="enum_item union_item trait_item",
            namespaces="mod_item",
            others={
                "struct_item": Rule(Kind.CLASS, bodiless=True),  # `struct Marker;`
                "impl_item": Rule(Kind.NAMESPACE, name="type"),
                "macro_definition": Rule(Kind.FUNCTION, bodiless=True),
            },
        ),
        (".rs",),
        before=frozenset({"line_comment", "block_comment", "attribute_item"}),
        separator="::",
    ),
    "c": Language("c", _C, (".c",), wrappers=frozenset({"type_definition"})),
    "cpp": Language(
        "cpp",
        _C | _rules(classes="class_specifier", namespaces="namespace_definition"),
        (".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx", ".ipp", ".cu", ".cuh"),
        wrappers=frozenset({"template_declaration", "type_definition"}),
        separator="::",
    ),
    "csharp": Language(
        "csharp",
        _rules(
            functions="method_declaration constructor_declaration destructor_declaration operator_declaration",
            classes="class_declaration interface_declaration struct_declaration record_declaration enum_declaration",
            namespaces="namespace_declaration",
        ),
        (".cs",),
    ),
    "ruby": Language(
        "ruby",
        _rules(functions="method singleton_method", classes="class", namespaces="module"),
        (".rb", ".rake"),
        separator="::",
    ),
    "php": Language(
        "php",
        _rules(
            functions="function_definition method_declaration",
            classes="class_declaration interface_declaration trait_declaration enum_declaration",
            namespaces="namespace_definition",
        ),
        (".php",),
        separator="::",
    ),
}

_BY_SUFFIX = {suffix: name for name, language in LANGUAGES.items() for suffix in language.suffixes}
_CPP_HEADER = re.compile(r"^[ \t]*(class|namespace|template|public:|private:|using)\b", re.MULTILINE)


def language_of(path: str, text: str) -> str:
    """A key of LANGUAGES, or TEXT, by the file's suffix; a header's by what it holds, as C and C++ share .h."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".h":
        return "cpp" if _CPP_HEADER.search(text) else "c"
    return _BY_SUFFIX.get(suffix, TEXT)
