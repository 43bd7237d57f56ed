"""How a command fails: one line that says what to do, and a traceback only for a bug of this package."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from c2llm_lite.cli.failures import EXTRAS

MAIN = "from c2llm_lite.cli import main; main()"


def run(*arguments, code=MAIN, **options):
    command = [sys.executable, "-c", f"import sys; sys.argv = ['c2llm-lite', *{list(map(str, arguments))!r}]\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def inputs(f32_bundle, checkpoint_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "texts.txt").write_text("def f(): pass\n")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n")
    for name in ("corpus", "queries"):
        rows = [f'{{"_id": "{i}", "text": "def f{i}(): pass"}}\n' for i in range(20)]
        (folder / f"{name}.jsonl").write_text("".join(rows))
    (folder / "tree").mkdir()
    (folder / "tree" / ".gitignore").write_text("*.o\n")
    (folder / "tree" / "a.py").write_text("def f(): pass\n")
    return {"bundle": str(f32_bundle), "checkpoint": str(checkpoint_folder), "folder": str(folder)}


# For each library that an extra brings, a command that needs it.
NEEDS = {
    "llama_cpp": "embed {bundle} {folder}/texts.txt -o {folder}/out.npy",
    "pyarrow": "embed {bundle} {folder}/texts.txt -o {folder}/out.parquet",
    "tree_sitter_language_pack": "search {bundle} {folder}/tree words --index {folder}/{library}",
    "tree_sitter": "search {bundle} {folder}/tree words --index {folder}/{library}",
    "starlette": "serve {bundle} --port 0",
    "uvicorn": "serve {bundle} --port 0",
    "prometheus_client": "serve {bundle} --port 0",
    "ray": "embed-dataset {bundle} {folder} -o {folder}/parts",
    "gguf": "convert {checkpoint} -o {folder}/made --to gguf:q8_0",
    "huggingface_hub": "convert nobody/nothing -o {folder}/made --to gguf:q8_0",
    "torch": "convert {checkpoint} -o {folder}/made --to openvino:int8",
    "openvino": "convert {checkpoint} -o {folder}/made --to openvino:int8",
    "nncf": "convert {checkpoint} -o {folder}/made --to openvino:int8",
    "optimum": "convert {checkpoint} -o {folder}/made --to openvino:int8",
    "transformers": "convert {checkpoint} -o {folder}/made --to openvino:int8",
    "bitsandbytes": "convert {checkpoint} -o {folder}/made --to bnb:int8",
    "cryptography": "verify {bundle} --public-key {folder}/texts.txt",
    "ir_measures": "bench {checkpoint} --targets gguf:q8_0 --data {folder} -o {folder}/report",
    "matplotlib": "bench {checkpoint} --targets gguf:q8_0 --data {folder} -o {folder}/report",
    "mteb": "bench {checkpoint} --targets gguf:q8_0 --data mteb:CosQA -o {folder}/report",
}


def test_every_library_of_an_extra_is_tried():
    assert set(EXTRAS) - set(NEEDS) == {"networkx"}  # the development pairs', in the repository alone


@pytest.mark.parametrize("library", NEEDS)
def test_a_missing_library_names_its_extra(inputs, library):
    code = f"sys.modules[{library!r}] = None\n{MAIN}"
    done = run(*NEEDS[library].format(library=library, **inputs).split(), code=code)
    assert done.returncode == 1, done.stdout
    assert re.search(r"pip install 'c2llm-lite\[[a-z-]+\]'$", done.stderr.strip()), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["app/[id]", "[red]x", "out/[/x]", "[link=http://x]y"])
def test_what_is_in_brackets_is_printed(tmp_path, name):
    done = run("info", tmp_path / name)
    assert done.returncode == 1
    assert f"{tmp_path / name} is not a folder" in done.stderr
    assert done.stderr.count("\n") == 1


RAISE = "from c2llm_lite import bundle\ndef fail(*a, **k): raise {error}\nbundle.open_bundle = fail\n" + MAIN


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("MemoryError()", "error: out of memory; "),
        ("PermissionError(13, 'Permission denied', 'x/[y]')", "error: x/[y]: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_a_line(error, line):
    done = run("info", "x", code=RAISE.format(error=error))
    assert (done.returncode, done.stderr.startswith(line), done.stderr.count("\n")) == (1, True, 1), done.stderr


@pytest.mark.parametrize(
    "error", ["KeyError('x')", "RuntimeError('[/x]')", "ModuleNotFoundError('No', name='foreign')"]
)
def test_a_fault_of_ours_shows_its_traceback(error):
    done = run("info", "x", code=RAISE.format(error=error))
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "please report it" in done.stderr.splitlines()[-1]


def test_debug_shows_a_traceback_of_any_error(tmp_path):
    done = run("info", tmp_path / "nothing", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "BundleError" in done.stderr


def test_a_reader_that_has_enough_is_no_error(f32_bundle):
    child = subprocess.Popen(
        [sys.executable, "-m", "c2llm_lite", "info", f32_bundle, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_a_line(f32_bundle, tmp_path, number, code):
    """Standard input stays open, so that embed() waits."""
    child = subprocess.Popen(
        [sys.executable, "-m", "c2llm_lite", "embed", f32_bundle, "-", "-o", tmp_path / "out.npy"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(4 if os.cpu_count() else 0)
    child.send_signal(number)
    _, told = child.communicate(timeout=60)
    assert child.returncode == code
    assert told.startswith("stopped")
    assert told.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--version",), ("-h",), ("embed", "-h")])
def test_help_and_version(arguments):
    done = run(*arguments)
    assert done.returncode == 0
    assert "c2llm-lite" in done.stdout
