"""Shared fixtures: a small random checkpoint and its bundles, and the stand-in if it was built."""

from __future__ import annotations

import os
import re
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

import c2llm_lite
from c2llm_lite.convert import convert

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks a network for anything
# A shell that starts the tests in the background has SIGINT ignored, in all their children too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Of what test files import, what an environment may lack, and modules of tests that import it in turn.
OPTIONAL = {name: name for name in ("torch", "transformers", "bitsandbytes", "gguf", "pyarrow", "ray", "mteb")}
OPTIONAL |= {"transcription": "torch"}
left_out: dict[str, str] = {}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a file of tests that imports a library which is not installed; `make setup` installs all of them."""
    if not collection_path.name.startswith("test_"):
        return None
    imported = re.findall(r"^(?:from|import) (\w+)", collection_path.read_text(encoding="utf-8"), re.MULTILINE)
    missing = [OPTIONAL[name] for name in imported if name in OPTIONAL and find_spec(OPTIONAL[name]) is None]
    if missing:
        left_out[collection_path.name] = missing[0]
        return True
    return None


def pytest_report_collectionfinish() -> list[str]:
    return [f"left out: {name}, without {library}" for name, library in sorted(left_out.items())]


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory) -> None:
    """No test reads or leaves anything in the user's own cache folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory) -> Path:
    """bf16, tied, 64 wide, two layers."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture(scope="session")
def f32_bundle(checkpoint_folder, tmp_path_factory) -> Path:
    return convert(checkpoint_folder, tmp_path_factory.mktemp("bundles") / "f32", "gguf:f32").folder


@pytest.fixture(scope="session")
def model(f32_bundle):
    with c2llm_lite.load(f32_bundle, threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def standin() -> Path:
    """The stand-in checkpoint, which `make test` writes."""
    folder = Path(__file__).parents[1] / "build" / "standin"
    if not folder.is_dir():
        pytest.skip("no stand-in checkpoint: make build/standin/config.json writes it")
    return folder
