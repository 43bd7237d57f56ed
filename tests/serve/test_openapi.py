"""The served OpenAPI document is correct: schemathesis sends what it allows and forbids, and checks the responses."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

jsonschema_rs = pytest.importorskip("jsonschema_rs")  # which schemathesis asks for
pytest.importorskip("schemathesis")

EXAMPLES = 20  # an operation and phase


def test_schemathesis_finds_nothing(launch, tmp_path):
    (tmp_path / "keys").write_text("some-key\n")
    server = launch("--api-key-file", tmp_path / "keys")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    command += ["--header", "Authorization: Bearer some-key", "--max-examples", str(EXAMPLES), "--seed", "0"]
    command += ["--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "5 selected / 5 total" in done.stdout
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_the_document_reports_how_the_server_was_started(here):
    document = httpx.get(f"{here().url}/openapi.json").json()
    assert "401" not in document["paths"]["/v1/embeddings"]["post"]["responses"]
    request = document["components"]["schemas"]["EmbeddingRequest"]
    assert request["properties"]["dimensions"]["maximum"] == 8
    ids = {"model": "model", "input": [1, 2]}
    assert not jsonschema_rs.Draft202012Validator(request).is_valid(ids)
    with_key = here(token_ids=True, keys=["k"])
    document = httpx.get(f"{with_key.url}/openapi.json", headers={"Authorization": "Bearer k"}).json()
    assert jsonschema_rs.Draft202012Validator(document["components"]["schemas"]["EmbeddingRequest"]).is_valid(ids)
    for path, method in (("/v1/embeddings", "post"), ("/v1/models", "get"), ("/metrics", "get")):
        operation = document["paths"][path][method]
        assert operation["security"] == [{"key": []}]
        assert "401" in operation["responses"]
