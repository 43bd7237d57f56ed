"""The command line from a user's view: output, files and exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from c2llm_lite import bundle as bundles
from c2llm_lite.convert.proof.against import default_texts
from c2llm_lite.convert.targets.families import default_target


def run(*arguments, **options):
    command = [sys.executable, "-m", "c2llm_lite", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=None, **options)


@pytest.fixture(scope="module")
def bundle(checkpoint_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "bundle"
    done = run("convert", checkpoint_folder, "-o", folder, "--to", "gguf:q8_0")
    assert done.returncode == 0, done.stderr
    assert "gguf:q8_0" in done.stdout
    assert "cosine to full precision on 6 probes" in done.stdout
    return folder


def test_list_targets(checkpoint_folder):
    done = run("convert", checkpoint_folder, "--list-targets")
    assert done.returncode == 0
    assert "gguf:q8_0" in done.stdout
    assert "gguf:q6_k" not in done.stdout


def test_without_to_the_default_is_taken_and_named(checkpoint_folder, tmp_path):
    target, reason = default_target()
    done = run("convert", checkpoint_folder, "-o", tmp_path / "bundle", "--no-target-probes")
    assert done.returncode == 0, done.stderr
    assert f"to {target}: {reason}" in done.stderr
    assert bundles.open_bundle(tmp_path / "bundle").manifest.target == target
    assert "trial" not in done.stdout


def test_plain_4_bits_say_what_they_cost(checkpoint_folder, tmp_path):
    (tmp_path / "mine.jsonl").write_text("".join(f'{{"text": "def f(x): return x + {i}"}}\n' for i in range(8)))
    for target, bits, remedy in (
        ("gguf:int4", 4, "--calibrate default"),
        ("gguf:int5", 5, "--calibrate default"),
        ("gguf:q4_1", 4, "gguf:int4 and gguf:int5 with --calibrate"),
    ):
        done = run("convert", checkpoint_folder, "-o", tmp_path / "plain", "--to", target, "--force")
        told = " ".join(done.stderr.split())
        assert f"rounded to {bits} bits without texts" in told
        assert remedy in told
    done = run(
        "convert",
        checkpoint_folder,
        "-o",
        tmp_path / "ours",
        "--to",
        "gguf:int4",
        "--calibrate",
        tmp_path / "mine.jsonl",
    )
    assert done.returncode == 0
    assert "rounded to 4 bits" not in done.stderr
    assert "8 different calibration texts with" in done.stderr


def test_embed_writes_rows_in_order_and_what_they_are(bundle, tmp_path):
    (tmp_path / "texts.txt").write_text("how to read a file\ndef f(): pass\n")
    done = run("embed", bundle, tmp_path / "texts.txt", "-o", tmp_path / "out.npy", "--prompt-name", "query")
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "out.npy").shape == (2, 64)
    meta = json.loads((tmp_path / "out.npy.meta.json").read_text())
    assert meta["rows"] == 2
    assert bundles.open_bundle(bundle).sha256 in json.dumps(meta)
    assert "llama" not in done.stderr  # the engine's own log stays off the terminal


def test_an_output_that_exists_is_refused_before_the_bundle_is_read(tmp_path):
    (tmp_path / "out.npy").write_bytes(b"kept")
    done = run("embed", tmp_path / "no bundle", "-", "-o", tmp_path / "out.npy", input="one\n")
    assert done.returncode == 1
    assert "out.npy exists" in " ".join(done.stderr.split())
    assert (tmp_path / "out.npy").read_bytes() == b"kept"


def test_embed_reads_standard_input(bundle, tmp_path):
    done = run("embed", bundle, "-", "-o", tmp_path / "out.jsonl", input="one\ntwo\nthree\n")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3


def test_info(bundle):
    assert "small" in run("info", bundle).stdout
    data = json.loads(run("info", bundle, "--json").stdout)
    assert data["target"] == "gguf:q8_0"
    assert data["sha256"] == bundles.open_bundle(bundle).sha256


def test_verify(bundle):
    done = run("verify", bundle, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["passed"], told["files"], told["unlisted"]) == (True, 7, [])
    assert run("verify", bundle).stdout.splitlines()[-1] == "ok: 7 files hashed, 6 probes within limits"


def test_verify_names_files_that_nothing_checks(bundle, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    (folder / "extra.py").write_text("print('hello')")
    done = run("verify", folder)
    assert done.returncode == 0
    assert "not in the manifest, not checked: 'extra.py'" in done.stderr


def test_verify_s_last_line_is_its_verdict_on_failure_too(bundle, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    vectors = load_file(folder / bundles.PROBES)
    vectors[bundles.TARGET_VECTORS][1] *= -1
    save_file(vectors, folder / bundles.PROBES)
    bundles.seal(folder, bundles.open_bundle(bundle).manifest)
    done = run("verify", folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("failed: 7 files hashed, 1 of 6 probes outside their limits: ")


def test_verify_against_the_checkpoint(bundle, checkpoint_folder, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "def f(): pass"}\n{"text": "read a file"}\n')
    against = ("verify", bundle, "--against", checkpoint_folder, "--texts", tmp_path / "t.jsonl")
    done = run(*against, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["texts"] == 2
    assert figures["worst"] >= 0.99
    assert run(*against).stdout.endswith("ok: 7 files hashed, 2 texts at or above --min-cosine 0.99\n")
    failed = run(*against, "--min-cosine", "0.9999999")
    assert failed.returncode == 1
    assert "below --min-cosine" in failed.stderr


def test_functions_of_the_standard_library_are_what_is_compared_by_default():
    texts = default_texts()
    assert len(texts) == 64
    assert all(text.startswith("Retrieved Answer:def ") for text in texts)


def test_verify_against_vectors_made_elsewhere(bundle, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "def f(): pass"}\n{"text": "read a file"}\n')
    run("embed", bundle, tmp_path / "t.jsonl", "-o", tmp_path / "ref.npy")
    done = run("verify", bundle, "--vectors", tmp_path / "ref.npy", "--texts", tmp_path / "t.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["worst"] > 0.99999
    np.save(tmp_path / "ref.npy", np.load(tmp_path / "ref.npy")[::-1])
    swapped = run("verify", bundle, "--vectors", tmp_path / "ref.npy", "--texts", tmp_path / "t.jsonl")
    assert swapped.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["convert", "nowhere", "-o", "out"], 1, "neither a folder nor a model name"),
        (["convert", "{checkpoint}"], 2, "no output given; pass -o BUNDLE"),
        (["convert", "{checkpoint}", "-o", "{bundle}"], 1, "--force"),
        (["convert", "{checkpoint}", "-o", "out", "--to", "gguf:q9"], 1, "is not a target of this package"),
        (["info", "{checkpoint}"], 1, "has no manifest.json; it is not a complete bundle"),
        (["embed", "{bundle}", "-"], 2, "no output given; pass -o OUT.npy"),
        (["embed", "{bundle}", "nowhere.txt", "-o", "out.npy"], 1, "nowhere.txt"),
        (["embed", "{bundle}", "-", "-o", "out.csv"], 1, ".npy"),
        (["embed", "{bundle}", "-", "-o", "out.npy", "--device", "cuda"], 1, "runs on the CPU"),
        (["verify", "{bundle}", "--vectors", "ref.npy"], 2, "--vectors needs --texts"),
        (["verify", "{bundle}", "--texts", "t.jsonl"], 2, "--texts and --min-cosine need --against or --vectors"),
        (["verify", "{bundle}", "--min-cosine", "0.9"], 2, "--texts and --min-cosine need --against or --vectors"),
        (["verify", "{bundle}", "--revoked", "r.txt"], 2, "--revoked needs --public-key"),
        (["demo", "{checkpoint}"], 1, "--force"),
    ],
)
def test_wrong_use_is_reported_in_one_line(bundle, checkpoint_folder, tmp_path, arguments, code, message):
    named = [a.format(bundle=bundle, checkpoint=checkpoint_folder) for a in arguments]
    done = run(*named, cwd=tmp_path, input="text\n")
    assert done.returncode == code
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
