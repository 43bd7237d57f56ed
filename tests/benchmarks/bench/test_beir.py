"""Data in BEIR's form: what is read, and each fault told with its file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from c2llm_lite.benchmarks.bench import data

DOCUMENTS = [
    {"_id": "a", "title": "add", "text": "def add(x, y): return x + y"},
    {"_id": "b", "title": "", "text": "def read(path): return open(path).read()"},
    {"_id": "c", "text": "def shout(text): return text.upper()"},
]
QUERIES = [{"_id": "1", "text": "sum of two numbers"}, {"_id": "2", "text": "a file's text"}, {"_id": "3", "text": "?"}]
QRELS = ["query-id\tcorpus-id\tscore", "1\ta\t1", "2\tb\t2", "2\tc\t0"]


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "CosQA"
    (made / "qrels").mkdir(parents=True)
    (made / "corpus.jsonl").write_text(lines(DOCUMENTS))
    (made / "queries.jsonl").write_text(lines(QUERIES))
    (made / "qrels" / "test.tsv").write_text("\n".join(QRELS) + "\n")
    return made


def test_a_folder_is_read_with_its_task_s_own_instruction(folder):
    task = data.task(str(folder))
    assert task.name == "CosQA"
    assert (task.query_prompt, task.document_prompt) == ("CosQA-query", "CosQA-document")
    assert dict(task.queries) == {"1": "sum of two numbers", "2": "a file's text"}  # the third has no grades
    assert task.documents["a"] == "add\ndef add(x, y): return x + y"
    assert task.documents["b"] == "def read(path): return open(path).read()"
    assert task.relevant == {"1": {"a": 1}, "2": {"b": 2, "c": 0}}
    assert data.task(str(folder), limit=1).relevant == {"1": {"a": 1}}


def test_another_folder_s_name_has_the_code_search_s_instruction(folder):
    assert data.task(str(folder.rename(folder.with_name("ours")))).query_prompt == "query"


def test_the_hash_is_of_texts_and_grades(folder):
    first = data.task(str(folder)).sha256
    assert data.task(str(folder)).sha256 == first
    (folder / "qrels" / "test.tsv").write_text("\n".join([*QRELS[:2], "2\tb\t1", "2\tc\t0"]))
    assert data.task(str(folder)).sha256 != first


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("corpus.jsonl", None, "corpus.jsonl is missing"),
        ("queries.jsonl", None, "queries.jsonl is missing"),
        ("qrels/test.tsv", None, "qrels contains nothing; it needs test.tsv"),
        ("corpus.jsonl", lines([*DOCUMENTS, DOCUMENTS[0]]), "corpus.jsonl, line 4: the id 'a' is already at .*line 1"),
        ("corpus.jsonl", lines(DOCUMENTS[:2]), "qrels/test.tsv, line 4: 'c' is not in corpus.jsonl"),
        ("corpus.jsonl", '{"_id": 7, "text": "x"}\n', "corpus.jsonl, line 1: no string '_id'"),
        ("corpus.jsonl", '\n{"_id": "a"}\n', "corpus.jsonl, line 2: no string 'text'"),
        ("corpus.jsonl", "[1]\n", "corpus.jsonl, line 1: not a JSON object"),
        ("queries.jsonl", "{\n", "queries.jsonl, line 1: not JSON"),
        ("queries.jsonl", '{"_id": "1", "text": " "}\n', "queries.jsonl, line 1: the query '1' is empty"),
        ("queries.jsonl", lines(QUERIES[:1]), "qrels/test.tsv, line 3: '2' is not in queries.jsonl"),
        ("qrels/test.tsv", "head\n1\ta\n", "test.tsv, line 2: not a query's id"),
        ("qrels/test.tsv", "head\n1\ta\tyes\n", "test.tsv, line 2: not a query's id"),
        ("qrels/test.tsv", "head\n1\tzz\t1\n", "test.tsv, line 2: 'zz' is not in corpus.jsonl"),
        ("qrels/test.tsv", "head\n1\ta\t1\n1\ta\t1\n", "test.tsv, line 3: '1' and 'a' occur twice"),
        ("qrels/test.tsv", "head\n1\ta\t0\n", "has no relevant document"),
    ],
)
def test_faults_are_reported_with_file_and_line(folder, name, text, told):
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(ValueError, match=told):
        data.task(str(folder))


def test_bytes_that_are_not_utf_8_are_reported(folder):
    (folder / "queries.jsonl").write_bytes(b'{"_id": "1", "text": "\xff"}\n')
    with pytest.raises(ValueError, match=r"queries\.jsonl, line 1: not UTF-8 at byte 22"):
        data.task(str(folder))


def test_several_splits_need_one_called_test(folder):
    (folder / "qrels" / "train.tsv").write_text("\n".join(QRELS[:2]))
    assert len(data.task(str(folder)).queries) == 2
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    with pytest.raises(ValueError, match=r"dev.tsv, train.tsv; it needs test.tsv"):
        data.task(str(folder))


def test_what_is_no_data_is_reported():
    with pytest.raises(ValueError, match="'nowhere' is not a data source; pass stdlib, a folder"):
        data.task("nowhere")


def test_a_task_without_anything_to_rank_is_refused(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n")
    for name in ("corpus", "queries"):
        (tmp_path / f"{name}.jsonl").write_text('{"_id": "1", "text": "def f(): pass"}\n')
    with pytest.raises(ValueError, match="at least 2 documents to rank"):
        data.task(str(tmp_path))
