"""Files and folders are complete or absent, and readable by whom the umask allows."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from c2llm_lite.durable import durable, staged
from c2llm_lite.errors import OutputError

needs_modes = pytest.mark.skipif(os.name == "nt", reason="Windows has no permissions by umask")
MARKER = "manifest.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def folder(tmp_path):
    with staged(tmp_path / "made") as staging:
        (staging / MARKER).write_text("first")
    return tmp_path / "made"


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with durable(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_is_written_through_another_folder(tmp_path):
    (tmp_path / "through").mkdir()
    with durable(tmp_path / "file", through=tmp_path / "through") as file:
        file.write(b"new")
        assert os.listdir(tmp_path) == ["through"]
        assert len(os.listdir(tmp_path / "through")) == 1
    assert (tmp_path / "file").read_text() == "new"
    assert os.listdir(tmp_path / "through") == []


def test_a_library_may_write_by_the_file_s_name(tmp_path):
    with durable(tmp_path / "a.npy") as file:
        mapped = np.lib.format.open_memmap(file.name, mode="w+", dtype=np.int64, shape=(3,))
        mapped[:] = range(3)
        mapped.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(3))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("wrong"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with durable(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with durable(tmp_path / "file") as first, durable(tmp_path / "file") as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "file").read_text() == "first"  # the last to end


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "file", []

    def sync(descriptor):
        synced.append(("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file", path.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    with durable(path) as file:
        file.write(b"new")
    assert synced == [("file", False), ("folder", True)]


@needs_modes
def test_permissions_of_a_file_follow_the_umask(tmp_path, umask):
    with durable(tmp_path / "file") as file:
        file.write(b"new")
    assert mode(tmp_path / "file") == 0o666 & ~umask


@needs_modes
def test_permissions_of_a_folder_s_files_follow_the_umask(tmp_path, umask):
    with staged(tmp_path / "made") as staging:
        save_file({"a": np.zeros(1, np.float32)}, staging / "a.safetensors")
        (staging / "owner").touch(mode=0o600)
        (staging / "inner").mkdir()
        (staging / "inner" / "owner").touch(mode=0o600)
    made = tmp_path / "made"
    assert {mode(path) for path in (made, made / "inner")} == {0o777 & ~umask}
    files = [made / "a.safetensors", made / "owner", made / "inner" / "owner"]
    assert [mode(path) for path in files] == [0o666 & ~umask] * 3


def test_an_existing_folder_is_kept_unless_it_is_to_be_replaced(folder):
    with pytest.raises(OutputError, match="exists: choose another name, or replace it with --force"), staged(folder):
        pass
    assert (folder / MARKER).read_text() == "first"
    with staged(folder, replaces=MARKER) as staging:
        (staging / MARKER).write_text("second")
        assert (folder / MARKER).read_text() == "first"
    assert (folder / MARKER).read_text() == "second"
    assert os.listdir(folder.parent) == ["made"]


def test_a_file_in_the_way_is_never_replaced(tmp_path):
    (tmp_path / "precious").write_text("data")
    with (
        pytest.raises(OutputError, match="--force does not delete"),
        staged(tmp_path / "precious", replaces=MARKER),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "data"


def test_a_folder_of_another_kind_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letters.txt").write_text("dear")
    with pytest.raises(OutputError, match="--force does not delete"), staged(tmp_path / "home", replaces=MARKER):
        pass
    assert (tmp_path / "home/letters.txt").exists()


def test_a_failure_leaves_the_old_folder_and_nothing_else(folder):
    def fail():
        with staged(folder, replaces=MARKER) as staging:
            (staging / "half").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device; nothing was left behind"):
        fail()
    assert os.listdir(folder.parent) == ["made"]
    assert os.listdir(folder) == [MARKER]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write beside"), staged(tmp_path / "file" / "made"):
        pass
