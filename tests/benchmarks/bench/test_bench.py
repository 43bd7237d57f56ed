"""`bench`, the whole way on a small random checkpoint: its report, its resuming, and that it can find fault."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from gguf import GGUFReader
from typer.testing import CliRunner

from c2llm_lite import cpu, machine
from c2llm_lite.benchmarks.bench import run
from c2llm_lite.benchmarks.bench.pairs import stdlib_pairs
from c2llm_lite.benchmarks.bench.plots import depths
from c2llm_lite.benchmarks.bench.run import bench
from c2llm_lite.benchmarks.bench.subjects import Subject, make
from c2llm_lite.bundle import Source, open_bundle, seal
from c2llm_lite.cli import app
from c2llm_lite.convert import convert
from c2llm_lite.errors import ArgumentError, BundleError, DeviceError, OutputError

PAIRS = 12


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    """A task of a few functions, as a folder."""
    folder = tmp_path_factory.mktemp("data") / "functions"
    (folder / "qrels").mkdir(parents=True)
    chosen = stdlib_pairs()[:PAIRS]
    rows = [json.dumps({"_id": str(i), "text": pair.code[:300]}) for i, pair in enumerate(chosen)]
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    rows = [json.dumps({"_id": str(i), "text": pair.query[:100]}) for i, pair in enumerate(chosen)]
    (folder / "queries.jsonl").write_text("\n".join(rows))
    (folder / "qrels" / "test.tsv").write_text("\n".join(["head", *(f"{i}\t{i}\t1" for i in range(PAIRS))]))
    return folder


@pytest.fixture(scope="module")
def damaged(f32_bundle, tmp_path_factory) -> Path:
    """A bundle with random weights in one layer; sizes, which loading checks, are the same."""
    folder = tmp_path_factory.mktemp("bundles") / "damaged"
    shutil.copytree(f32_bundle, folder)
    path = folder / "backbone.gguf"
    (tensor,) = (t for t in GGUFReader(path).tensors if t.name == "blk.0.ffn_down.weight")
    weights = np.random.default_rng(0).standard_normal(tensor.data.size, dtype=np.float32)
    with path.open("r+b") as file:
        file.seek(int(tensor.data_offset))
        file.write(weights.tobytes())
    return folder


@pytest.fixture(scope="module")
def report(checkpoint_folder, task, damaged, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("reports") / "report"
    bench(str(checkpoint_folder), ["gguf:f16", "gguf:q9_9"], output, own_bundles=[damaged], data=[str(task)])
    return output


def test_the_report_reports_each_target_s_loss_and_costs(report):
    result = json.loads((report / "results.json").read_text())
    reference, f16, broken = result["rows"]
    assert [row["target"] for row in result["rows"]] == ["torch:fp32", "gguf:f16", "gguf:f32 (damaged)"]
    assert "lost" not in reference["tasks"]["functions"]
    assert abs(f16["tasks"]["functions"]["lost"]["ndcg@10"][0]) < 0.5
    assert f16["tasks"]["functions"]["fidelity"]["cosine_worst"] > 0.999
    assert 0 < f16["backbone_bytes"] < f16["bytes"]
    assert f16["latency"]["query_milliseconds"]["p50"] > 0
    assert f16["latency"]["by_length"]["32"]["tokens"] == pytest.approx(16 * 32, rel=0.1)
    assert f16["latency"]["peak_memory"] > 10e6
    assert result["on"]["versions"]["numpy"] == np.__version__
    assert broken["tasks"]["functions"]["fidelity"]["rank_correlation"] < 0.9


def test_a_target_that_fails_does_not_lose_the_others(report):
    result = json.loads((report / "results.json").read_text())
    assert list(result["failed"]) == ["gguf:q9_9"]
    assert "q9_9 is not a target of this package" in result["failed"]["gguf:q9_9"]
    assert any("gguf:q9_9 could not be measured" in told for told in result["not_measured"])


def test_a_bundle_made_worse_is_flagged(report):
    text = (report / "report.md").read_text()
    assert "Do not take gguf:f32 (damaged) as it is: it" in text
    assert "far from full precision's" in text
    assert "smallest that stays within 1% is gguf:f16" in text
    assert text.index("## Recommendation") > text.index("## Not measured")


def test_the_report_shows_its_pictures(report):
    for name in ("accuracy_speed", "accuracy_size", "speed_length"):
        assert (report / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"({name}.png)" in (report / "report.md").read_text()


def test_a_second_run_measures_nothing_again_and_reports_the_same(report, checkpoint_folder, task, damaged):
    kept = {path: path.stat().st_mtime_ns for path in (report / "work").glob("*-*.*") if "texts" not in path.name}
    before = {path.name: path.read_bytes() for path in report.iterdir() if path.is_file()}
    bench(str(checkpoint_folder), ["gguf:f16", "gguf:q9_9"], report, own_bundles=[damaged], data=[str(task)])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    after = {path.name: path.read_bytes() for path in report.iterdir() if path.is_file()}
    assert after["report.md"] == before["report.md"]
    assert after["accuracy_speed.png"] == before["accuracy_speed.png"]
    results = [json.loads(files["results.json"]) for files in (before, after)]
    for result in results:
        del result["on"]["free_memory"]
    assert results[0] == results[1]


def test_plain_and_calibrated_stand_side_by_side_over_several_tasks(checkpoint_folder, task, tmp_path):
    other = shutil.copytree(task, tmp_path / "others")
    texts = {"document": [f"def f_{i}(x):\n    return x + {i}" for i in range(9)]}
    arguments = {"data": [str(task), str(other)], "calibrate": texts, "timings": False}
    result = bench(str(checkpoint_folder), ["gguf:q8_0", "gguf:f16", "gguf:q8_0@1"], tmp_path / "out", **arguments)
    assert result["failed"] == {}
    rows = {row["target"]: row for row in result["rows"]}
    assert list(rows) == ["torch:fp32", "gguf:q8_0", "gguf:f16", "gguf:q8_0, calibrated", "gguf:q8_0@1, calibrated"]
    assert [name for name, row in rows.items() if "layers" in row] == ["gguf:q8_0@1, calibrated"]
    (curve,) = depths(result["rows"])
    assert {row["target"] for row in curve} == {"gguf:q8_0, calibrated", "gguf:q8_0@1, calibrated"}
    kept = {path.name for path in (tmp_path / "out" / "work" / "rounded").rglob("*.npz")}
    assert kept >= {"layer-0.npz", "layer-1.npz", "full-states.npz"}
    made = {path.name: open_bundle(path) for path in (tmp_path / "out" / "work" / "bundles").iterdir()}
    noted = {name: bundle.manifest.notes.get("calibration") for name, bundle in made.items()}
    (calibrated, cut) = sorted((name for name, note in noted.items() if note), key=len)
    assert made[cut].manifest.backbone.layers == 1
    assert noted[calibrated]["texts"] == 9
    assert calibrated == f"gguf-q8_0-{noted[calibrated]['sha256'][:16]}"
    for row in list(rows.values())[1:]:  # the two tasks are the same queries
        assert row["pooled"]["ndcg@10"][0] == row["tasks"]["functions"]["lost"]["ndcg@10"][0]
    assert "pooled" not in rows["torch:fp32"]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "## Over all tasks" in report
    assert "| target | lost | worst task | lost there |" in report
    assert "| target | bundle, MB |" in report  # what a machine that does other work can say
    assert "- Speed and memory: no timings were asked for" in report
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["accuracy_size.png"]
    assert result["front"] == []
    # Other texts or another depth are another bundle; the same are the same.
    for name, layers in ((calibrated, None), (cut, 1)):
        subject = Subject("gguf:q8_0", "auto", layers=layers, calibrate=texts, note=noted[name])
        make(str(checkpoint_folder), made[name].manifest.source.sha256, subject, tmp_path / "out" / "work")
        assert subject.ready.sha256 == made[name].sha256


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gguf:f16@half", "'gguf:f16@half': write TARGET@LAYERS, such as openvino:int8@20"),
        ("gguf:f16@3", "has 2 layers, so 3 cannot be kept"),
        ("gguf:f16@1", "fewer layers need texts to refit the head on; pass --calibrate"),
    ],
)
def test_a_depth_that_cannot_be_made_is_refused_before_the_work(target, message, checkpoint_folder, task, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        bench(str(checkpoint_folder), [target], tmp_path / "out", data=[str(task)])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"source": Source("small", None, "0" * 64)}, False),
        ({"versions": {"c2llm-lite": "0.0.1"}}, False),
        ({"notes": {"calibration": {"texts": 500, "sha256": "0" * 64}}}, False),
        ({"target": "gguf:bf16"}, False),
    ],
)
def test_a_bundle_is_kept_only_while_it_would_be_made_the_same(change, same, checkpoint_folder, tmp_path):
    folder = tmp_path / "bundles" / "gguf-f16"
    folder.parent.mkdir()
    made = convert(checkpoint_folder, folder, "gguf:f16", target_probes=False)
    kept = seal(folder, replace(made.manifest, **change))
    subject = Subject("gguf:f16", "auto")
    make(str(checkpoint_folder), made.manifest.source.sha256, subject, tmp_path)
    assert subject.ready.sha256 == made.sha256
    assert (subject.ready.sha256 == kept.sha256) is same


def test_vectors_are_kept_when_the_cores_are_others_and_timings_are_not(monkeypatch):
    setup = run._setup.__wrapped__
    vectors, timings = setup("cores"), setup()
    monkeypatch.setattr(machine, "cores", lambda: 1000)
    assert setup("cores") == vectors
    assert setup() != timings
    monkeypatch.setattr(cpu, "has", lambda flag: False)  # other kernels give other vectors
    assert setup("cores") != vectors


def test_other_data_or_another_checkpoint_needs_another_folder(report, checkpoint_folder, task, tmp_path):
    with pytest.raises(OutputError, match="another checkpoint or other data; choose another folder"):
        bench(str(checkpoint_folder), ["gguf:f16"], report, data=[str(task)], limit=5)
    other = write_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(OutputError, match="another checkpoint or other data"):
        bench(str(other), ["gguf:f16"], report, data=[str(task)])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not a report of this command"):
        bench(str(checkpoint_folder), ["gguf:f16"], tmp_path / "full", data=[str(task)])


def test_a_bundle_of_another_checkpoint_is_refused(f32_bundle, task, tmp_path):
    other = write_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(BundleError, match="was not made from"):
        bench(str(other), [], tmp_path / "out", own_bundles=[f32_bundle], data=[str(task)])


def test_a_reference_on_a_gpu_that_is_not_there_is_reported(checkpoint_folder, task, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    with pytest.raises(DeviceError, match="torch finds no CUDA device; pass --reference cpu"):
        bench(str(checkpoint_folder), ["gguf:f16"], tmp_path / "out", data=[str(task)], reference="cuda")
    with pytest.raises(ValueError, match="not on 'tpu'"):
        bench(str(checkpoint_folder), ["gguf:f16"], tmp_path / "out", data=[str(task)], reference="tpu")


def test_rows_of_another_machine_stand_beside(report, checkpoint_folder, task, tmp_path):
    """Scored by their vectors, against this machine's full precision; times are what they were there."""
    there = tmp_path / "there"
    shutil.copytree(report, there)
    result = json.loads((there / "results.json").read_text())
    result["on"]["cpu"] = "Another CPU"
    result["rows"][1]["latency"] |= {"peak_vram": 5, "engine": {"device": "A GPU"}}
    (there / "results.json").write_text(json.dumps(result))
    merged = bench(str(checkpoint_folder), [], tmp_path / "merged", imports=[there], data=[str(task)])
    names = [row["target"] for row in merged["rows"]]
    damaged = "gguf:f32 (damaged) (Another CPU)"
    assert names == ["torch:fp32", "torch:fp32 (Another CPU)", "gguf:f16 (A GPU)", damaged]
    assert merged["rows"][2]["latency"] == result["rows"][1]["latency"]
    assert merged["rows"][3]["tasks"] == result["rows"][2]["tasks"]
    (tmp_path / "merged").rename(tmp_path / "again")
    for name, wrong in {
        "another checkpoint": {"checkpoint": {"name": "x", "sha256": "0" * 64}},
        "same texts": {"tasks": {"functions": {"sha256": "0" * 64}}},
        "not a whole report": {"rows": [{}]},
        "is damaged": {},  # the last: it needs the report whole
    }.items():
        (there / "results.json").write_text(json.dumps(result | wrong))
        if not wrong:
            (there / "work" / result["rows"][0]["vectors"]["functions"]).write_bytes(b"no archive")
        with pytest.raises(ArgumentError, match=name):
            bench(str(checkpoint_folder), [], tmp_path / "merged", imports=[there], data=[str(task)])


def test_the_command_reports_its_verdict_and_fails_over_max_loss(report, checkpoint_folder, task, damaged):
    arguments = ["bench", str(checkpoint_folder), "-o", str(report), "--data", str(task), "--bundle", str(damaged)]
    found = CliRunner().invoke(app, [*arguments, "--targets", "gguf:f16"])
    assert found.exit_code == 0, found.output
    assert "smallest that stays within 1% is gguf:f16" in found.output
    found = CliRunner().invoke(app, [*arguments, "--max-loss", "-200"])
    assert found.exit_code == 1


def test_the_command_asks_what_to_measure(checkpoint_folder, tmp_path):
    found = CliRunner().invoke(app, ["bench", str(checkpoint_folder), "-o", str(tmp_path / "out")])
    assert found.exit_code == 2


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("sys.exit(3)", "said nothing"),
        ("sys.exit('no texts')", "no texts"),
    ],
)
def test_what_ended_a_child_is_told(does, told, monkeypatch):
    monkeypatch.setattr(run.child_process, "command", lambda *_: [sys.executable, "-c", f"import os, sys; {does}"])
    with pytest.raises(BundleError, match=f"^{told}$"):
        run._run("vectors", [], lambda _: None)


@pytest.mark.skipif(sys.platform == "win32", reason="there os.kill does not ask whether a process is")
def test_a_child_ends_with_the_command(monkeypatch):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    monkeypatch.setattr(run.child_process, "command", lambda *words: [sys.executable, "-c", code])
    children = []

    def stopped(child):
        children.append(child)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run._run("vectors", [], stopped)
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)
