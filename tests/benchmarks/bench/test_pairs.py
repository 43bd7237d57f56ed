"""The fixed lists of pairs resolve and do not overlap."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from c2llm_lite.benchmarks.bench import pairs as pair_lists
from c2llm_lite.benchmarks.bench.pairs import DEVELOPMENT, HELDOUT, stdlib_pairs, training_pairs
from c2llm_lite.convert.calibrate.documented_code import pairs_of


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_the_lists_are_of_their_size_and_share_nothing() -> None:
    heldout, development = rows(HELDOUT), rows(DEVELOPMENT)
    assert (len(heldout), len(development)) == (1000, 500)
    for key in ("sha256", "query_sha256"):
        hashes = [row[key] for row in heldout + development]
        assert len(set(hashes)) == len(hashes)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the held-out list is of Python 3.11's standard library")
def test_the_heldout_list_resolves() -> None:
    made_from = json.loads(HELDOUT.read_text().splitlines()[0])["made_from"]
    exact = made_from == "Python " + sys.version.split()[0]
    assert len(stdlib_pairs()) == 1000 if exact else len(stdlib_pairs()) >= 950  # a patch release edits a few


def test_the_development_list_resolves() -> None:
    networkx = pytest.importorskip("networkx")
    if json.loads(DEVELOPMENT.read_text().splitlines()[0])["made_from"] != f"networkx {networkx.__version__}":
        pytest.skip(f"the development list is not of networkx {networkx.__version__}")
    pairs = pair_lists.development_pairs()
    assert len(pairs) == 500
    assert {pair.module.partition(".")[0] for pair in pairs} == {"networkx"}


def test_training_leaves_out_what_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def function(name: str, doc: str, body: str) -> str:
        return f'def {name}():\n    """{doc}"""\n    x = {body}\n    return x\n\n'

    listed = next(pairs_of(function("f", "Listed query here.", "1"), "m"))
    path = tmp_path / "list.jsonl"
    path.write_text('{"made_from": "m"}\n' + json.dumps({"sha256": listed.sha256, "query_sha256": listed.query_sha256}))
    monkeypatch.setattr(pair_lists, "HELDOUT", path)
    package = tmp_path / "site" / "package"
    for folder in (package, package / "_vendor", package / "tests", tmp_path / "site" / "sympy"):
        folder.mkdir(parents=True)
        (folder / "copied.py").write_text(function("copied", f"Copied into {folder.name} folder.", f"'{folder.name}'"))
    (package / "a.py").write_text(
        function("f", "Another query here.", "1")  # the listed function, documented otherwise
        + function("g", "listed   QUERY here", "2")  # the listed query, another function
        + function("h", "A query alone.", "3")
        + function("h", "A query alone.", "4")
    )
    assert [(p.module, p.query) for p in training_pairs([tmp_path / "site"])] == [
        ("package.a", "A query alone."),
        ("package.copied", "Copied into package folder."),
    ]
