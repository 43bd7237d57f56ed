"""License files are copied only if that neither publishes a private file nor fills the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("private")
    made = write_checkpoint(tmp_path / "checkpoint")
    (made / "LICENSE").unlink()
    return made


def names(folder: Path) -> list[str]:
    return [path.name for path in open_checkpoint(folder).license_files]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.symlink_to(path.parent.parent / "secret"), "is a link to .*secret, outside the checkpoint"),
        (lambda path: path.symlink_to("/dev/zero"), "is a link to /dev/zero, outside"),
        (lambda path: path.symlink_to("nothing"), "LICENSE cannot be read: No such file"),
        (lambda path: path.symlink_to(path), "LICENSE cannot be read"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.write_bytes(bytes(1_000_001)), "is not a regular file of at most 1,000,000 bytes"),
    ],
)
def test_one_that_cannot_be_copied_safely_is_refused(folder: Path, make: Callable[[Path], object], told: str) -> None:
    make(folder / "LICENSE")
    with pytest.raises(CheckpointError, match=told):
        open_checkpoint(folder)


def test_folders_are_skipped(folder: Path) -> None:
    (folder / "LICENSES").mkdir()
    (folder / "LICENSES" / "MIT.txt").write_text("MIT")
    assert names(folder) == ["NOTICE"]


def test_a_link_inside_the_checkpoint_is_followed(folder: Path) -> None:
    (folder / "LICENSE").symlink_to("NOTICE")
    assert names(folder) == ["LICENSE", "NOTICE"]


def test_the_hub_s_cache_is_made_of_links(folder: Path) -> None:
    model = folder.parent / "models--owner--name"
    (model / "blobs").mkdir(parents=True)
    snapshot = model / "snapshots" / "f08c18be"
    snapshot.parent.mkdir()
    folder.rename(snapshot)
    (model / "blobs" / "1234").write_text("Apache-2.0")
    (snapshot / "LICENSE").symlink_to("../../blobs/1234")
    assert names(snapshot) == ["LICENSE", "NOTICE"]
    (model / "blobs" / "1234").unlink()
    (model / "blobs" / "1234").symlink_to(model.parent / "secret")
    with pytest.raises(CheckpointError, match="outside the checkpoint"):
        names(snapshot)


def test_too_many_are_refused(folder: Path) -> None:
    for number in range(30):
        (folder / f"LICENSE.{number}").write_text("MIT")
    with pytest.raises(CheckpointError, match="holds 31 license files"):
        open_checkpoint(folder)
