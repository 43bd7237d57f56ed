"""Every command that runs a bundle takes --public-key, and without it a signed bundle is used as any other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from signing import make_key

pytest.importorskip("cryptography")
from c2llm_lite.signature import sign

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the keys are made with openssl")
COMMANDS = {
    "embed": ["embed", "{bundle}", "texts", "-o", "out.npy"],
    "verify": ["verify", "{bundle}"],
    "search": ["search", "{bundle}", "tree", "add two numbers", "--index", "index"],
    "index": ["index", "{bundle}", "tree", "--index", "index"],
    "duplicates": ["duplicates", "{bundle}", "tree", "--index", "index"],
    "serve": ["serve", "{bundle}", "--port", "0"],
    "embed-dataset": ["embed-dataset", "{bundle}", "in.jsonl", "-o", "out/"],
}
NEEDED = {"embed-dataset": "ray", "serve": "uvicorn", "search": "tree_sitter"}


@pytest.fixture(scope="module")
def folder(f32_bundle, tmp_path_factory):
    """A folder with a signed bundle, keys, texts and a tree of code."""
    folder = tmp_path_factory.mktemp("signed")
    for name in ("maker", "other"):
        make_key(folder, name)
    bundle = shutil.copytree(f32_bundle, folder / "bundle")
    sign(bundle, folder / "maker.key")
    (folder / "tree").mkdir()
    (folder / "tree" / "a.py").write_text("def add(a, b):\n    return a + b\n")
    (folder / "texts").write_text("def add(a, b): return a + b\n")
    (folder / "in.jsonl").write_text('{"text": "def add(a, b): return a + b"}\n')
    return folder


def run(folder, *arguments):
    command = [sys.executable, "-m", "c2llm_lite", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ, timeout=300)


def words(name, bundle="bundle"):
    pytest.importorskip(NEEDED.get(name, "numpy"))
    return [word.format(bundle=bundle) for word in COMMANDS[name]]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bundle_of_another_maker_is_refused(folder, name):
    done = run(folder, *words(name), "--public-key", "other.pub")
    assert done.returncode == 1, done.stderr
    assert "no given public key belongs to manifest.sha256.sig" in done.stderr
    assert "Traceback" not in done.stderr
    assert not any((folder / made).exists() for made in ("out", "out.npy", "index"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_was_changed_at_the_same_size_is_refused(folder, tmp_path, name):
    """Without a key, only sizes are checked when a bundle is loaded."""
    bundle = shutil.copytree(folder / "bundle", tmp_path / "bundle")
    (bundle / "LICENSE").write_bytes((bundle / "LICENSE").read_bytes()[::-1])
    done = run(folder, *words(name, bundle), "--public-key", "maker.pub")
    assert done.returncode == 1, done.stderr
    assert "LICENSE does not match its sha256" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_revoked_bundle_is_refused_and_a_list_needs_a_key(folder, name):
    shutil.copy(folder / "bundle" / "manifest.sha256", folder / "revoked.txt")
    done = run(folder, *words(name), "--public-key", "maker.pub", "--revoked", "revoked.txt")
    assert (done.returncode, "is revoked" in done.stderr) == (1, True), done.stderr
    done = run(folder, *words(name), "--revoked", "revoked.txt")
    assert (done.returncode, "--revoked needs --public-key" in done.stderr) == (2, True), done.stderr


def test_the_vectors_are_the_same_with_a_key_and_without(folder, tmp_path):
    embed = ["embed", "bundle", "texts", "-o"]
    assert run(folder, *embed, tmp_path / "without.npy").returncode == 0
    done = run(folder, *embed, tmp_path / "with.npy", "--public-key", "other.pub", "--public-key", "maker.pub")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "with.npy"), np.load(tmp_path / "without.npy"))


def test_a_search_with_a_key(folder, tmp_path):
    pytest.importorskip("tree_sitter")
    asked = ["search", "bundle", "tree", "add two numbers", "--index", tmp_path / "index"]
    done = run(folder, *asked, "--public-key", "maker.pub")
    assert (done.returncode, "a.py:1" in done.stdout) == (0, True), done.stderr
