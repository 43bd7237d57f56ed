"""Runs every console and python block of the README and docs/, in order, and compares what it prints.

Each page has a folder of its own, with the stand-in checkpoint as `standin` and docs/example as in a checkout. A bundle
that a page uses without converting it is there too. A command that converts runs once for all pages.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from document_blocks import NOT_RUN, Step, blocks, matches, steps
from needed import skip_without

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
BUNDLES = {"c2llm-int8": "openvino:int8", "c2llm-q8": "gguf:q8_0"}
LANGUAGES = {"console", "python", "text", "json"}
FAILURES = ("error: ", "failed: ", "Usage: ", "nothing found")
SERVER_SECONDS = 60


def _convert(name: str) -> str:
    return f"c2llm-lite convert standin -o {name} --to {BUNDLES[name]}"


class Shell:
    """Runs documented commands in one page's folder."""

    def __init__(self, folder: Path, converted: Path) -> None:
        self.folder = folder
        self._converted = converted  # bundles that some page converted, with what the command printed
        self._background: list[subprocess.Popen[bytes]] = []
        self._environment = os.environ | {
            "PATH": f"{_scripts(converted)}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / ".cache"),
            "COLUMNS": "100",
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
        }

    def run(self, step: Step) -> str:
        """What the command prints on standard output and standard error."""
        name = next((name for name in BUNDLES if step.command == _convert(name)), None)
        if name is not None:
            return self.bundle(name)
        if step.command.endswith(" &"):
            return self._start(step)
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed = done.stdout.decode()
        failure_is_shown = any(line.startswith(FAILURES) for line in step.printed.splitlines())
        assert (done.returncode != 0) == failure_is_shown, f"exit code {done.returncode}\n{printed}"
        return printed

    def python(self, code: str) -> str:
        """What a Python block prints on standard output."""
        (self.folder / ".block.py").write_text(code, encoding="utf-8")
        command = [sys.executable, ".block.py"]
        done = subprocess.run(command, cwd=self.folder, env=self._environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def bundle(self, name: str) -> str:
        """Have a bundle in the folder; what its conversion printed."""
        kept, log = self._converted / name, self._converted / f"{name}.log"
        if not kept.exists():
            skip_without(BUNDLES[name])
            command = ["bash", "-c", _convert(name)]
            done = subprocess.run(
                command, cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            assert done.returncode == 0, done.stdout.decode()
            log.write_bytes(done.stdout)
            shutil.move(self.folder / name, kept)
        (self.folder / name).symlink_to(kept)
        return log.read_text()

    def close(self) -> None:
        """Stop what runs in the background."""
        for process in self._background:
            process.terminate()
            process.wait(SERVER_SECONDS)

    def _start(self, step: Step) -> str:
        """Start a server, and wait until it prints what the page shows."""
        log = self.folder / ".background.log"
        with log.open("wb") as file:
            command = ["bash", "-c", f"exec {step.command.removesuffix(' &')}"]
            self._background.append(
                subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=file, stderr=file)
            )
        end = time.monotonic() + SERVER_SECONDS
        while not matches(step.printed, log.read_text()) and time.monotonic() < end:
            time.sleep(0.1)
        return log.read_text()


def _scripts(folder: Path) -> Path:
    """A folder with the commands `c2llm-lite` and `python` of this environment."""
    scripts = folder / "bin"
    scripts.mkdir(exist_ok=True)
    for name, options in {"python": "", "c2llm-lite": " -m c2llm_lite"}.items():
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{options} "$@"\n')
        script.chmod(0o755)
    return scripts


@pytest.fixture(scope="session")
def converted(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture
def shell(tmp_path, standin, converted) -> Iterator[Shell]:
    (tmp_path / "standin").symlink_to(standin)
    shutil.copytree(TOP / "docs" / "example", tmp_path / "docs" / "example")
    started = Shell(tmp_path, converted)
    yield started
    started.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_prints_what_it_shows(page: Path, shell: Shell) -> None:
    todo = [block for block in blocks(page) if block.reason is None and block.language in {"console", "python"}]
    if not todo:
        pytest.skip("no block of this page runs")
    text = "".join(block.body for block in todo)
    if "c2llm-lite demo standin" in text:
        (shell.folder / "standin").unlink()
    if "127.0.0.1:8000" in text and not _is_free(8000):
        pytest.skip("port 8000 is taken")
    for name in BUNDLES:
        if re.search(rf"\b{name}\b", text) and _convert(name) not in text:
            shell.bundle(name)
    for block in todo:
        shown = [Step(block.body, block.printed)] if block.language == "python" else steps(block.body)
        for step in shown:
            printed = shell.python(step.command) if block.language == "python" else shell.run(step)
            where = f"{page.name}, the block of line {block.line}: {step.command}"
            assert matches(step.printed, printed), f"{where}\n--- shown\n{step.printed}\n--- printed\n{printed}"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: {block.language!r}: use console or python"
        assert block.reason is None or len(block.reason.split()) > 1, f"{where}: {NOT_RUN}give a reason"


def test_a_change_of_the_output_is_found() -> None:
    shown = "out.npy: 5 vectors in … s\nok\n"
    assert matches(shown, "out.npy: 5 vectors in 0.7 s\nok  \n")
    assert not matches(shown, "out.npy: 6 vectors in 0.7 s\nok\n")
    assert not matches("", "error: something\n")


def test_blocks_are_read_with_their_reasons_and_output(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: needs a network -->\n```console\n$ a \\\n    b\nc\n$ d\n```\n\n```python\nprint(1)\n```\n\n"
        "```text\n1\n```\n"
    )
    first, second = blocks(page)
    assert first.reason == "needs a network"
    assert [(step.command, step.printed) for step in steps(first.body)] == [("a \\\n    b", "c\n"), ("d", "")]
    assert (second.reason, second.printed) == (None, "1\n")


def test_the_messages_in_troubleshooting_are_the_program_s() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8") for room in ("c2llm_lite", "convert") for path in (TOP / room).rglob("*.py")
    )
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # adjacent literals
    rows = re.findall(r"^\| (`.*?) \|", (TOP / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 8
    for message in (message for row in rows for message in re.findall(r"`([^`]+)`", row)):
        for part in (
            message.replace("manifest.json does", "{MANIFEST} does")
            .replace("manifest.sha256", "{MANIFEST_HASH}")
            .split("…")
        ):
            assert part.strip() in source, f"{message}: {part}"
