"""A file that this user cannot read is reported as such, not as missing or damaged."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from c2llm_lite import bundle as bundles
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.errors import BundleError, CheckpointError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no permissions by mode")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o755)
        yield Path(temporary)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", [bundles.MANIFEST, bundles.HEAD, "backbone.gguf", bundles.TOKEN_EMBEDDINGS])
def test_a_bundle_s_file_that_may_not_be_read_is_named(f32_bundle: Path, place: Path, name: str) -> None:
    folder = place / "bundle"
    shutil.copytree(f32_bundle, folder)
    (folder / name).chmod(0)
    with as_nobody(), pytest.raises(BundleError, match=f"{name} cannot be read by this user; .*chmod -R a"):
        bundles.open_bundle(folder)


def test_a_bundle_in_a_closed_folder_is_named(f32_bundle: Path, place: Path) -> None:
    folder = place / "bundle"
    shutil.copytree(f32_bundle, folder)
    folder.chmod(0)
    with as_nobody(), pytest.raises(BundleError, match="cannot be read by this user"):
        bundles.open_bundle(folder)
    folder.chmod(0o755)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_checkpoint_s_file_that_may_not_be_read_is_named(checkpoint_folder: Path, place: Path, name: str) -> None:
    folder = place / "checkpoint"
    shutil.copytree(checkpoint_folder, folder)
    checkpoint = open_checkpoint(folder)
    (folder / name).chmod(0)
    with as_nobody(), pytest.raises(CheckpointError, match=f"{name} cannot be read by this user"):
        open_checkpoint(folder)
    if name == "model.safetensors":
        with as_nobody(), pytest.raises(CheckpointError, match=f"{name} cannot be read by this user"):
            checkpoint.tensor("norm.weight")


def test_a_new_bundle_can_be_read_by_others(f32_bundle: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in f32_bundle.iterdir()}
    mask = os.umask(0)
    os.umask(mask)
    assert set(modes.values()) == {0o666 & ~mask}
