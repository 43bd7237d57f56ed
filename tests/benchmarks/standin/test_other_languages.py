"""Documented functions of other languages: what is taken for the question, what for the code, and from which files."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from c2llm_lite.benchmarks.standin import other_languages
from c2llm_lite.benchmarks.standin.other_languages import first_paragraph, pairs_of, pairs_of_archives
from c2llm_lite.errors import OutputError

SOURCES = {
    "go": (
        "package a\n\n// Add puts a job into the queue,\n// and wakes a worker.\nfunc (q *Queue) Add(j Job) {\n"
        "\tq.jobs = append(q.jobs, j)\n\tq.wake()\n}\n\nfunc bare() {\n\tx()\n}\n",
        "Add puts a job into the queue, and wakes a worker.",
        "func (q *Queue) Add(j Job) {\n    q.jobs = append(q.jobs, j)\n    q.wake()\n}",
    ),
    "java": (
        "class A {\n  /**\n   * Reads the {@link Header} of a <b>file</b>.\n   *\n   * @param f the file\n   */\n"
        "  @Override\n  public Header read(File f) {\n    return parse(f);\n  }\n}\n",
        "Reads the Header of a file .",
        "@Override\npublic Header read(File f) {\n  return parse(f);\n}",
    ),
    "javascript": (
        "/**\n * Sorts the given rows.\n * @param {Row[]} rows\n */\n"
        "export const sort = (rows) => {\n  return rows.sort();\n};\n",
        "Sorts the given rows.",
        "export const sort = (rows) => {\n  return rows.sort();\n};",
    ),
    "php": (
        "<?php\nclass A {\n    /**\n     * Sends the mail now.\n     */\n"
        "    public function send() {\n        go();\n    }\n}\n",
        "Sends the mail now.",
        "public function send() {\n    go();\n}",
    ),
    "rust": (
        "/// Splits at the first blank.\n///\n/// # Examples\n#[inline]\n"
        "pub fn split(s: &str) -> u8 {\n    let x = 1;\n    x\n}\n",
        "Splits at the first blank.",
        "pub fn split(s: &str) -> u8 {\n    let x = 1;\n    x\n}",
    ),
    "c": (
        "/**\n * g_list_free:\n * @list: the first link\n *   of the list\n *\n * Frees all of the memory used.\n **/\n"
        "void\ng_list_free (GList *list)\n{\n  g_slice_free_chain (list);\n}\n",
        "Frees all of the memory used.",
        "void\ng_list_free (GList *list)\n{\n  g_slice_free_chain (list);\n}",
    ),
    "typescript": (
        "class A {\n  /** Where the cursor stands. */\n  at(x: number): Place {\n    return this.places[x];\n  }\n}\n",
        "Where the cursor stands.",
        "at(x: number): Place {\n  return this.places[x];\n}",
    ),
}


@pytest.mark.parametrize("language", SOURCES)
def test_a_documented_function_is_a_pair_and_others_are_not(language: str) -> None:
    source, query, code = SOURCES[language]
    (pair,) = pairs_of(source, language, "package/a")
    assert (pair.query, pair.code, pair.module) == (query, code, "package/a")


def test_a_comment_that_documents_nothing_gives_no_query() -> None:
    for comment in ("// eslint-disable-next-line no-undef", "/** @inheritDoc */", "/* SECTION ONE TWO THREE */"):
        assert first_paragraph(comment) == ""


def test_archives_of_each_form_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, java = (SOURCES[language][0].encode() for language in ("go", "java"))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as inner:
        inner.writestr("java/A.java", java)

    def tar(files: dict[str, bytes], mode: str) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return out.getvalue()

    data = lzma.compress(tar({"./usr/a.go": go, "./usr/vendor/b.go": go, "./src.zip": zipped.getvalue()}, "w"))
    deb = b"!<arch>\n"
    for name, content in ((b"debian-binary", b"2.0\n\n"), (b"data.tar.xz", data)):
        deb += name.ljust(48) + str(len(content)).encode().ljust(10) + b"`\n" + content + b"\n" * (len(content) % 2)
    archives = {"golang-x_1.0_all.deb": deb, "thing-1.2.tgz": tar({"package/a.go": go, "package/a.d.ts": b"x"}, "w:gz")}
    lines = []
    for name, content in archives.items():
        (tmp_path / name).write_bytes(content)
        lines.append(f"http://127.0.0.1:9/{name} {hashlib.sha256(content).hexdigest()}\n")
    listed = tmp_path / "list.txt"
    listed.write_text("".join(lines))
    monkeypatch.setattr(other_languages, "ARCHIVES", listed)
    found = list(pairs_of_archives(tmp_path, 10))
    assert sorted(pair.module for pair in found) == [
        "golang-x/./usr/a.go",
        "golang-x/java/A.java",
        "thing/package/a.go",
    ]
    assert len(list(pairs_of_archives(tmp_path, 1))) == 2  # one of each archive

    (tmp_path / "thing-1.2.tgz").write_bytes(b"another")
    with pytest.raises(OutputError, match="is not what was listed"):
        list(pairs_of_archives(tmp_path, 10))
