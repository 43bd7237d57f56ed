"""Files in three formats into parts on a cluster: kills, reruns, skipped rows, wrong use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from signing import make_key

from c2llm_lite.benchmarks.lab.ray_cluster import kill_worker
from c2llm_lite.bulk.ray.parts import KEY
from c2llm_lite.bulk.ray.plan import plan
from c2llm_lite.bulk.ray.run import run
from c2llm_lite.convert import convert
from c2llm_lite.errors import BundleError, InputError, OutputError

TEXTS = [f"def f{i}(x):\n    return x + {i}\n" * (1 + i % 4) for i in range(60)]
UNFIT = ['{"text": 5, "n": 60}', '{"text": "", "n": 61}', "not json", '{"text": "\\ud800", "n": 63}', '{"n": 64}']


@pytest.fixture
def source(tmp_path):
    """Sixty rows in parquet, JSONL and Arrow, twenty each; and five lines of JSON that cannot be embedded."""
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.table({"text": TEXTS[:20], "n": range(20)}), folder / "a.parquet", row_group_size=7)
    lines = [json.dumps({"text": text, "n": i}) for i, text in enumerate(TEXTS[20:40], 20)]
    (folder / "b.jsonl").write_text("\n".join(lines + UNFIT) + "\n")
    table = pa.table({"n": range(40, 60), "text": TEXTS[40:]})
    with pa.OSFile(str(folder / "c.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return folder


def read(output):
    """Every part's rows, in the ids' order."""
    return pa.concat_tables(pq.read_table(part) for part in sorted(output.glob("*.parquet"))).sort_by("id")


def assert_whole(output, model, texts, **settings):
    found = read(output)
    vectors = np.array(found["embedding"].to_pylist(), np.float32)
    np.testing.assert_allclose(vectors, model.embed(texts, **settings), atol=1e-5)
    return found["id"].to_pylist()


@pytest.mark.usefixtures("cluster")
def test_three_formats_a_side_file_and_a_rerun(model, f32_bundle, source, tmp_path):
    output = tmp_path / "out"
    asked = {"id_column": "n", "prompt": "code: ", "part_rows": 8}
    written = run(plan(f32_bundle, [source], output, **asked), actors=2)
    assert (written.parts, written.rows, written.left_out) == (10, 61, 4)  # with a prompt, an empty text is one
    ids = assert_whole(output, model, [*TEXTS, ""], prompt="code: ")
    assert ids == [*range(60), 61]

    left_out = [json.loads(line) for line in (output / "_left_out.jsonl").read_text().splitlines()]
    assert [(row["row"], row["id"]) for row in left_out] == [(20, 60), (22, None), (23, 63), (24, 64)]
    assert {row["input"] for row in left_out} == {str(source / "b.jsonl")}
    for row, reason in zip(left_out, ("not a string", "not JSON", "not valid Unicode", "no field 'text'"), strict=True):
        assert reason in row["reason"]

    parts = sorted(output.glob("*.parquet"))
    made = json.loads(pq.read_schema(parts[0]).metadata[KEY])
    assert made["settings"]["bundle"] == model.bundle.sha256
    assert made["settings"]["prompt"] == "code: "
    assert made["settings"]["dim"] == 64
    assert made["settings"]["precision"] == "float32"
    assert made["input"]["path"] == str(source / "a.parquet")

    side_file = (output / "_left_out.jsonl").read_bytes()
    before = {part: part.stat().st_mtime_ns for part in parts}
    parts[1].unlink()
    parts[4].write_bytes(parts[4].read_bytes()[:-100])
    again = plan(f32_bundle, [source], output, **asked)
    assert again.there == 8
    assert run(again, actors=1).parts == 2
    assert assert_whole(output, model, [*TEXTS, ""], prompt="code: ") == ids
    after = {part: part.stat().st_mtime_ns for part in parts}
    assert [part for part in parts if before[part] != after[part]] == [parts[1], parts[4]]
    assert (output / "_left_out.jsonl").read_bytes() == side_file
    assert sorted(path.name for path in output.iterdir()) == ["_left_out.jsonl", *(part.name for part in parts)]


@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_loses_nothing_and_repeats_nothing(model, f32_bundle, tmp_path):
    texts = [f"def f{i}(x):\n    return x + {i}\n" * 12 for i in range(320)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    output, killed_at = tmp_path / "out", []

    def kill():
        while not list(output.glob("*.parquet")) or not kill_worker():
            time.sleep(0.005)
        killed_at.append(len(list(output.glob("*.parquet"))))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    written = run(plan(f32_bundle, [tmp_path / "in.jsonl"], output, part_rows=16), actors=2)
    killer.join(1)
    assert len(killed_at) == 1
    assert killed_at[0] < 20  # in the middle
    assert (written.parts, written.rows) == (20, 320)
    assert assert_whole(output, model, texts) == [f"{tmp_path}/in.jsonl:{i:010d}" for i in range(320)]
    assert not (output / "_partial").exists()


@pytest.fixture
def finished(f32_bundle, tmp_path):
    """An input of one row and its part, made without Ray."""
    from c2llm_lite.bulk.ray.dataset import OnNode
    from c2llm_lite.bulk.ray.run import _MakePart

    (tmp_path / "one.jsonl").write_text('{"text": "x"}\n')
    planned = plan(f32_bundle, [tmp_path / "one.jsonl"], tmp_path / "out")
    (tmp_path / "out").mkdir()
    (span,) = planned.missing
    _MakePart(OnNode(f32_bundle, planned.bundle.sha256, 1), planned.settings, planned.output)(vars(span))
    assert plan(f32_bundle, [tmp_path / "one.jsonl"], tmp_path / "out").there == 1
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"prompt": "p"}, "prompt"),
        ({"dim": 5}, "dim"),
        ({"precision": "int8"}, "precision"),
        ({"part_rows": 7}, "part_rows"),
    ],
)
def test_parts_made_with_other_settings_are_refused(finished, f32_bundle, settings, named):
    with pytest.raises(OutputError, match=f"made with another {named}"):
        plan(f32_bundle, [finished / "one.jsonl"], finished / "out", **settings)


def test_parts_of_two_bundles_are_refused(finished, checkpoint_folder, tmp_path):
    other = convert(checkpoint_folder, tmp_path / "q8", "gguf:q8_0", target_probes=False).folder
    with pytest.raises(OutputError, match="made with another bundle"):
        plan(other, [finished / "one.jsonl"], finished / "out")
    (finished / "two.jsonl").write_text('{"text": "y"}\n')
    with pytest.raises(OutputError, match="made with another bundle"):  # whichever input it is of
        plan(other, [finished / "two.jsonl"], finished / "out")


def test_an_input_that_changed_is_refused_and_foreign_files_are_left_alone(finished, f32_bundle):
    (finished / "one.jsonl").write_text('{"text": "y"}\n')
    with pytest.raises(OutputError, match="from a different"):
        plan(f32_bundle, [finished / "one.jsonl"], finished / "out")
    pq.write_table(pa.table({"text": ["x"]}), finished / "foreign.parquet")
    with pytest.raises(OutputError, match="not a part"):
        plan(f32_bundle, [finished / "one.jsonl"], finished)


def test_a_wrong_input_is_reported(f32_bundle, tmp_path, source):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.csv").write_text("text\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    for sources, column, message in (
        ([tmp_path / "nowhere.jsonl"], "text", "does not exist"),
        ([tmp_path / "empty"], "text", "contains no input"),
        ([tmp_path / "x.csv"], "text", "not a supported input"),
        ([tmp_path / "broken.parquet"], "text", "cannot read"),
        ([source, source / "a.parquet"], "text", "listed twice"),
        ([source / "a.parquet"], "code", "no column 'code'; it has text, n"),
        ([source / "b.jsonl"], "code", "no column 'code'; it has text, n"),
        ([source / "c.arrow"], "code", "no column 'code'; it has n, text"),
    ):
        with pytest.raises(InputError, match=message):
            plan(f32_bundle, sources, tmp_path / "out", column=column)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cluster")
def test_a_bundle_that_a_node_cannot_read_is_reported_without_ray_s_words(f32_bundle, source, tmp_path):
    shutil.copytree(f32_bundle, tmp_path / "copy")
    planned = plan(tmp_path / "copy", [source / "a.parquet"], tmp_path / "out")
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(BundleError, match=r"^node \S+ cannot read the bundle"):
        run(planned, actors=1)


def test_with_a_key_each_node_hashes_every_file(cluster, f32_bundle, source, tmp_path):
    pytest.importorskip("cryptography")
    from c2llm_lite.signature import sign

    copy = shutil.copytree(f32_bundle, tmp_path / "copy")
    key, public = make_key(tmp_path, "maker")
    sign(copy, key)
    planned = plan(copy, [source / "a.parquet"], tmp_path / "out", public_key=public)
    (copy / "LICENSE").write_bytes((copy / "LICENSE").read_bytes()[::-1])
    with pytest.raises(BundleError, match=r"LICENSE does not match"):
        run(planned, actors=1)


def command(*arguments):
    words = [sys.executable, "-m", "c2llm_lite", "embed-dataset", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True)


def test_the_command(cluster, model, f32_bundle, source, tmp_path):
    asked = (f32_bundle, source, "-o", tmp_path / "out", "--id", "n", "--address", cluster, "--ship")
    done = command(*asked, "--prompt-name", "document", "--actors", 1)
    assert done.returncode == 0, done.stderr
    assert "61 vectors in 3 new parts; 0 parts were complete; 4 rows skipped" in done.stderr
    assert assert_whole(tmp_path / "out", model, [*TEXTS, ""], prompt_name="document") == [*range(60), 61]
    other = command(*asked, "--prompt-name", "query")
    assert other.returncode == 1
    assert "made with another prompt" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_run_that_embeds_nothing_fails(cluster, f32_bundle, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": null}\n{"text": 7}\n')
    arguments = [f32_bundle, tmp_path / "in.jsonl", "-o", tmp_path / "out", "--address", cluster]
    words = [sys.executable, "-m", "c2llm_lite", "embed-dataset", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "no row could be embedded" in done.stderr
    assert len((tmp_path / "out" / "_left_out.jsonl").read_text().splitlines()) == 2
