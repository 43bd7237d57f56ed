"""Documented functions in C, Go, Java, JavaScript, PHP, Rust and TypeScript, cut out of packages' source archives.

other_languages.txt lists the archives by URL and sha256: source packages of Debian 12, and npm packages that carry
their source. A documentation comment directly above a function gives the query, the function gives the code, as
convert/calibrate/documented_code.py has it for Python. None is a repository of CodeSearchNet (arXiv 1909.09436), which
the scored tasks were made from: an archive with functions in those tasks was left out of the list.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import textwrap
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from c2llm_lite.convert.calibrate.documented_code import MIN_CODE_LINES, TESTS, VENDORED, Pair, says_enough
from c2llm_lite.durable import durable
from c2llm_lite.errors import OutputError
from c2llm_lite.search.languages import LANGUAGES, TEXT, Kind, Language, language_of

if TYPE_CHECKING:
    from tree_sitter import Node

ARCHIVES = Path(__file__).with_name("other_languages.txt")
SKIPPED_LANGUAGES = {TEXT, "python", "cpp"}  # headers that declare; Python's pairs come from its own parser
SKIPPED_FOLDERS = (
    VENDORED | TESTS | {"node_modules", "third_party", "docs", "examples", "testdata", "umd", "cjs", "spec"}
)
LONGEST_FILE = 400_000  # bytes; longer ones are generated or bundled
LONGEST_FUNCTION = 150  # lines
_MARKS = re.compile(r"^[ \t]*(?:/\*+!?|\*+/|\*+(?= |$|\w)|//[/!]?)[ \t]?|[ \t]*\*+/[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"<[^>\n]{1,60}>")
_INLINE = re.compile(r"\{@\w+\s+([^}]*)\}")  # Javadoc's and JSDoc's {@link X}
_GTK_PARAMETER = re.compile(r"^@?[\w.]+:.*(?:\n(?!\n).*)*", re.MULTILINE)


def pairs_of_archives(folder: Path, per_archive: int) -> Iterator[Pair]:
    """At most `per_archive` pairs of each archive, from its files in the arbitrary order of their names' hashes.

    folder: where the archives lie or are downloaded to.
    """
    for line in ARCHIVES.read_text(encoding="utf-8").splitlines():
        url, sha256 = line.split()
        path = _downloaded(url, sha256, folder)
        package = re.split(r"[_-]v?\d", path.name)[0]
        files = {name: content for name, content in _files(path) if _wanted(name)}
        found: list[Pair] = []
        for name in sorted(files, key=lambda name: hashlib.sha256(name.encode()).digest()):
            if len(found) < per_archive:
                text = files[name].decode("utf-8", errors="replace").replace("\r\n", "\n")
                found += pairs_of(text, language_of(name, text), f"{package}/{name}")
        yield from found[:per_archive]


def pairs_of(text: str, language: str, module: str) -> Iterator[Pair]:
    """The documented functions of one file."""
    from tree_sitter_language_pack import get_parser

    if language in SKIPPED_LANGUAGES:
        return
    source = text.encode()
    grammar = LANGUAGES[language]
    root = get_parser(grammar.grammar).parse(source).root_node  # type: ignore[arg-type]  # a str, not a literal
    for comments, function in _documented(root, grammar):
        code = source[function.start_byte : function.end_byte].decode(errors="replace")
        indent = source[source.rfind(b"\n", 0, function.start_byte) + 1 : function.start_byte]
        code = textwrap.dedent((" " * len(indent) if indent.strip() == b"" else "") + code.expandtabs(4)).strip()
        query = first_paragraph("\n".join(source[c.start_byte : c.end_byte].decode(errors="replace") for c in comments))
        lines = [line.rstrip() for line in code.splitlines() if line.strip()]
        if says_enough(query) and MIN_CODE_LINES <= len(lines) <= LONGEST_FUNCTION:
            yield Pair(module, "", query, "\n".join(lines))


def first_paragraph(comment: str) -> str:
    """What a documentation comment says first, without its marks, tags and parameters; "" if it says nothing."""
    text = _MARKS.sub("", comment).strip()
    if re.match(r"\w+:\s*(\([^)]*\)\s*)*\n", text):  # gtk-doc: the name, the parameters, then what it does
        text = _GTK_PARAMETER.sub("", text).strip()
    text = re.split(
        r"^[ \t]*[@\\](?:param|return|see|since|throws|deprecated|author|brief)\b", text, flags=re.MULTILINE
    )[0]
    text = _TAG.sub(" ", _INLINE.sub(r"\1", text))
    paragraph = re.split(r"\n[ \t]*\n", text.strip())[0]
    words = " ".join(paragraph.split())
    skipped = re.match(r"@|\{@|#region|eslint|istanbul|Copyright|SPDX|TODO|-{3}|={3}", words)
    return "" if skipped or words.isupper() else words


def _documented(node: Node, language: Language) -> Iterator[tuple[list[Node], Node]]:
    """Functions right below documentation comments: the comments, and the function with its wrappers."""
    comments: list[Node] = []
    for child in node.named_children:
        if child.type in language.before and "comment" in child.type:
            below = comments and child.start_point.row - comments[-1].end_point.row <= 1
            comments = [*comments, child] if below else [child]
            if child.type == "block_comment" or (child.text or b"").startswith(b"/*"):
                comments = [child]
            continue
        if child.type in language.before:  # an attribute between comment and function
            continue
        function = _function(child, language)
        if function is not None:
            if comments and child.start_point.row - comments[-1].end_point.row <= 3:
                yield comments, child
        else:
            yield from _documented(child, language)
        comments = []


def _function(node: Node, language: Language) -> Node | None:
    """The node itself, if it is a function, or the function that it wraps."""
    rule = language.rules.get(node.type)
    if rule is not None and rule.kind is Kind.FUNCTION:
        if rule.value is None:
            return node if node.child_by_field_name("body") else None
        value = node.child_by_field_name(rule.value[0])
        return node if value is not None and value.type in rule.value[1] - {"class"} else None
    if node.type in language.wrappers:
        for child in node.named_children:
            if found := _function(child, language):
                return found
    return None


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    folders = {part.lower() for part in path.parts[:-1]}
    short = path.name.lower()
    skipped = short.startswith("test") or any(
        part in short for part in (".min.", ".d.ts", ".d.mts", "_test.", ".spec.", "test.java")
    )
    return path.suffix in {".c", ".go", ".java", ".js", ".mjs", ".php", ".rs", ".ts"} and not (
        skipped or folders & SKIPPED_FOLDERS
    )


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a .deb, .tar.*, .tgz or .zip; of a src.zip inside one as well."""
    content = path.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(_data_of_deb(content) if path.suffix == ".deb" else content)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            if member.name.endswith("src.zip"):
                with zipfile.ZipFile(io.BytesIO(file.read())) as inner:
                    for info in inner.infolist():
                        if info.file_size <= LONGEST_FILE:
                            yield info.filename, inner.read(info)
            elif member.size <= LONGEST_FILE:
                yield member.name, file.read()


def _data_of_deb(content: bytes) -> bytes:
    """The data.tar.* of a Debian package, which is an ar archive: deb(5)."""
    at = len(b"!<arch>\n")
    while at < len(content):
        name, size = content[at : at + 16].strip(), int(content[at + 48 : at + 58])
        at += 60
        if name.startswith(b"data.tar"):
            return content[at : at + size]
        at += size + size % 2
    raise OutputError("a Debian package without data.tar")


def _downloaded(url: str, sha256: str, folder: Path) -> Path:
    name = url.removeprefix("https://registry.npmjs.org/").partition("/-/")[0] if "/-/" in url else ""
    path = folder / "-".join([*name.strip("@").split("/")[:-1], url.rpartition("/")[2]])
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url) as response, durable(path) as file:
            file.write(response.read())
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise OutputError(
            f"{path} is not what was listed ({sha256}): delete it, or look for {url} in a Debian snapshot"
        )
    return path
