"""`--layers auto`: which texts judge, what is lost, and which depth is taken."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_checkpoint
from typer.testing import CliRunner

from c2llm_lite.bundle import open_bundle
from c2llm_lite.cli import app
from c2llm_lite.convert import depth
from c2llm_lite.convert.calibrate import texts as calibration_texts
from c2llm_lite.convert.calibrate.given import given_pairs
from c2llm_lite.errors import ArgumentError
from c2llm_lite.verify import verify

QUERIES = [f"multiply by {i}" for i in range(24)]
CODE = [f"def f{i}(x):\n    return x * {i}" for i in range(60)]
TEXTS = {"query": QUERIES, "document": CODE}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth, "LEAST_QUERIES", 12)


def test_depths_run_from_a_third_to_all() -> None:
    assert depth.depths(30) == [10, 12, 15, 18, 20, 24, 28, 30]
    assert depth.depths(24) == [8, 10, 12, 14, 16, 19, 22, 24]
    assert depth.depths(1) == [1]


def test_loss_is_in_points_of_ndcg() -> None:
    full = np.float32([[0.9, 0.1, 0.2], [0.1, 0.9, 0.2]])
    ours = np.float32([[0.5, 0.6, 0.2], [0.1, 0.9, 0.2]])
    assert depth.loss(full, full, None) == 0
    assert depth.loss(full, ours, None) == pytest.approx(50 * (1 - 1 / math.log2(3)))
    assert depth.loss(full, ours, [1, 1]) == pytest.approx(50 * (0.5 - 1))


def test_too_few_queries_are_refused_before_the_long_work(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(
        ArgumentError, match="holds back 100 queries and calibrates on as many others, but there are 24"
    ):
        depth.shallowest(source, tmp_path / "bundle", "gguf:f32", max_loss=1, calibrate=TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_what_judges_is_not_calibrated_on(few: None) -> None:
    fitted, judging = depth.held_back(TEXTS, [])
    assert len(judging.queries) == 12
    assert judging.relevant is None
    assert not {text for _, text in judging.queries} & set(fitted["query"])
    assert not set(judging.documents) & set(fitted["document"])
    assert len(fitted["query"]) + len(judging.queries) == len(QUERIES)
    assert len(fitted["document"]) + len(judging.documents) == len(CODE)


def test_pairs_judge_where_there_are_enough(few: None) -> None:
    pairs = list(zip(QUERIES, CODE, strict=False))
    fitted, judging = depth.held_back(TEXTS, pairs)
    assert judging.relevant is not None
    answers = dict(pairs)
    assert [judging.documents[row] for row in judging.relevant] == [answers[query] for _, query in judging.queries]
    assert len(judging.documents) > len(judging.queries)  # other texts are ranked with them
    assert not set(judging.documents) & set(fitted["document"])
    assert depth.held_back(TEXTS, pairs[:20])[1].relevant is None


def test_a_file_s_pairs_are_texts_too(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "def f(): pass", "query": "do nothing"}\n{"text": "alone"}\n')
    assert calibration_texts.read(path) == {"document": ["def f(): pass", "alone"], "query": ["do nothing"]}
    assert given_pairs(str(path)) == [("do nothing", "def f(): pass")]
    assert given_pairs("default") == []
    path.write_text('{"text": "def f(): pass", "query": 5}\n')
    with pytest.raises(ArgumentError, match="line 1"):
        calibration_texts.read(path)


@pytest.mark.parametrize(("losses", "taken"), [((9, 3, 0.4, 0.2, 0), 2), ((9, 0.5), 1)])
def test_the_first_depth_within_the_bound_is_taken(
    few: None, losses: tuple[float, ...], taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_checkpoint(tmp_path / "checkpoint", layers=5)
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"text": code}) + "\n" for code in CODE)
        + "".join(json.dumps({"text": query, "prompt_name": "query"}) + "\n" for query in QUERIES)
    )
    told = iter(losses)
    ran: list[float] = []

    def loss(*given: Any) -> float:
        ran.append(real(*given))
        return next(told)

    real = depth.loss
    monkeypatch.setattr(depth, "loss", loss)
    arguments = ["convert", source, "-o", tmp_path / "bundle", "--to", "gguf:int4", "--layers", "auto"]
    arguments += ["--max-loss", "0.5", "--calibrate", tmp_path / "texts.jsonl"]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert "12 held-back queries, for what the full model finds first" in done.output
    made = open_bundle(tmp_path / "bundle", check=True)
    tried = depth.depths(5)[: taken + 1]
    assert made.manifest.backbone.layers == tried[-1]
    trial = made.manifest.notes["depth_trial"]
    assert trial["table"] == [{"layers": n, "loss": x} for n, x in zip(tried, losses, strict=False)]
    assert all(0 <= found <= 100 for found in ran)
    assert all(result.passed for result in verify(made.folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "checkpoint", "texts.jsonl"]


def test_a_bound_that_no_depth_reaches_is_an_error_with_the_table(few: None, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint", layers=2)
    with pytest.raises(
        ArgumentError, match=r"no depth of gguf:f32 loses at most -1 points \(layers: points: 1: .*2: 0"
    ):
        depth.shallowest(source, tmp_path / "bundle", "gguf:f32", max_loss=-1, calibrate=TEXTS)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--layers", "2"], "--layers needs --calibrate"),
        (["--layers", "half", "--calibrate", "default"], "a number of layers or auto, not 'half'"),
        (["--layers", "auto", "--calibrate", "default"], "need each other"),
        (["--layers", "2", "--max-loss", "1", "--calibrate", "default"], "need each other"),
        (["--rounded", "there"], "--rounded needs --calibrate"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["convert", "source", "-o", "bundle", *options], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert told in done.output
