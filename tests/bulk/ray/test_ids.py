"""Ids keep their type, whatever the first row contains; other types than integers and strings are refused early."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from c2llm_lite.bulk.ray import inputs
from c2llm_lite.bulk.ray.plan import plan
from c2llm_lite.errors import InputError, OutputError

TEXTS = ["def f(): pass"] * 3


def planned(bundle, folder, ids):
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"text": TEXTS, "id": ids}), folder / "a.parquet")
    return plan(bundle, [folder], folder.parent / "out", id_column="id")


def read(made):
    (span,) = made.missing
    return [row.id for row in inputs.read(span, "text", "id", made.settings["id_type"])]


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (pa.array([None, 5, 6], pa.int64()), [None, 5, 6]),
        (pa.array([1, 2, 2**63], pa.uint64()), [1, 2, None]),
        (pa.array([None, "a", "b"]), [None, "a", "b"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a", "b", "c"], pa.large_string()), ["a", "b", "c"]),
    ],
    ids=["null first", "uint64", "null before strings", "dictionary", "large strings"],
)
def test_the_type_is_the_schemas(f32_bundle, tmp_path, ids, kept):
    assert read(planned(f32_bundle, tmp_path / "in", ids)) == kept


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1.0, 2.0, 3.0]),
        pa.array([uuid.UUID(int=i).bytes for i in range(3)], pa.uuid() if hasattr(pa, "uuid") else pa.binary(16)),
        pa.array([True, False, True]),
        pa.array([[1], [2], [3]]),
    ],
    ids=["float64", "uuid", "bool", "lists"],
)
def test_other_types_are_refused_at_the_start(f32_bundle, tmp_path, ids):
    with pytest.raises(InputError, match="ids must be integers or strings, so cast the column"):
        planned(f32_bundle, tmp_path / "in", ids)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ('{"text": "a", "id": null}\n{"text": "b"}\n{"text": "c", "id": 7}\n', "int64"),
        ('{\n{"text": "b", "id": "x"}\n{"text": "c", "id": 7}\n', "string"),
    ],
)
def test_a_jsonls_type_is_that_of_its_first_id(f32_bundle, tmp_path, lines, kind):
    (tmp_path / "in.jsonl").write_text(lines)
    made = plan(f32_bundle, [tmp_path / "in.jsonl"], tmp_path / "out", id_column="id" if kind == "int64" else None)
    assert inputs.id_type(made.missing, "id") == kind


@pytest.mark.parametrize("value", ["1.5", "true", "[1]"])
def test_a_jsonls_other_ids_are_refused(f32_bundle, tmp_path, value):
    (tmp_path / "in.jsonl").write_text(f'{{"text": "a", "id": {value}}}\n')
    with pytest.raises(InputError, match="ids must be integers or strings"):
        plan(f32_bundle, [tmp_path / "in.jsonl"], tmp_path / "out", id_column="id")


def test_names_that_readers_of_folders_pass_over_are_skipped(tmp_path):
    for name in ("a.parquet", "_b.parquet", ".c.parquet", "_d/e.parquet", "f/g.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in inputs.files([tmp_path])] == ["a.parquet", "f/g.parquet"]


def test_an_output_inside_an_input_is_refused(f32_bundle, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(OutputError, match="inside the input folder"):
        plan(f32_bundle, [tmp_path], tmp_path / "vectors")
