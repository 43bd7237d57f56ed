"""Files and folders are complete or absent, and readable as the umask allows."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from c2llm_lite import durable as durable_module
from c2llm_lite.durable import durable, staged
from c2llm_lite.errors import OutputError

needs_modes = pytest.mark.skipif(os.name == "nt", reason="Windows has no permissions by umask")
MARKER = "manifest.json"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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
    assert names(tmp_path) == ["file"]


def test_a_file_is_written_through_another_folder(tmp_path):
    (tmp_path / "through").mkdir()
    with durable(tmp_path / "file", through=tmp_path / "through") as file:
        file.write(b"new")
        assert names(tmp_path) == ["through"]
        assert len(names(tmp_path / "through")) == 1
    assert (tmp_path / "file").read_text() == "new"
    assert names(tmp_path / "through") == []


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
    assert names(tmp_path) == ["file"]


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
    with pytest.raises(OutputError, match="exists; choose another name, or replace it with --force"), staged(folder):
        pass
    assert (folder / MARKER).read_text() == "first"
    with staged(folder, replaces=MARKER) as staging:
        (staging / MARKER).write_text("second")
        assert (folder / MARKER).read_text() == "first"
    assert (folder / MARKER).read_text() == "second"
    assert names(folder.parent) == ["made"]


def test_a_file_in_the_way_is_never_replaced(tmp_path):
    (tmp_path / "precious").write_text("data")
    with (
        pytest.raises(OutputError, match="--force will not overwrite"),
        staged(tmp_path / "precious", replaces=MARKER),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "data"


def test_a_folder_of_another_kind_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letters.txt").write_text("dear")
    with pytest.raises(OutputError, match="--force will not overwrite"), staged(tmp_path / "home", replaces=MARKER):
        pass
    assert (tmp_path / "home/letters.txt").exists()


def test_a_failure_leaves_the_old_folder_and_nothing_else(folder):
    def fail():
        with staged(folder, replaces=MARKER) as staging:
            (staging / "half").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device; no partial output was left"):
        fail()
    assert names(folder.parent) == ["made"]
    assert names(folder) == [MARKER]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write beside"), staged(tmp_path / "file" / "made"):
        pass


def test_a_rename_that_fails_gives_the_old_folder_back(folder, monkeypatch):
    real = Path.rename

    def rename(self, target):
        if ".partial-" in self.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)

    def replace():
        with staged(folder, replaces=MARKER) as staging:
            (staging / MARKER).write_text("second")

    with pytest.raises(OutputError, match=r"could not write .*Permission denied; no partial output was left"):
        replace()
    assert (folder / MARKER).read_text() == "first"
    assert names(folder.parent) == ["made"]


def test_a_source_that_cannot_be_read_is_not_an_output_that_cannot_be_written(tmp_path):
    def copy():
        with staged(tmp_path / "made"):
            (tmp_path / "no such source").read_bytes()

    with pytest.raises(FileNotFoundError, match="no such source"):
        copy()
    assert names(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from c2llm_lite import durable
if sys.argv[2] == "between the renames":
    durable.Path.rename = lambda self, to, real=Path.rename: (real(self, to), os.kill(os.getpid(), signal.SIGKILL))
with durable.staged(Path(sys.argv[1]), replaces="manifest.json") as folder:
    (folder / "manifest.json").write_text("second")
    if sys.argv[2] == "while writing":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
@pytest.mark.parametrize("moment", ["while writing", "between the renames"])
def test_the_next_run_clears_up_after_one_that_was_killed(folder, moment):
    child = subprocess.run([sys.executable, "-c", KILLED, folder, moment])
    assert child.returncode == -signal.SIGKILL
    assert len(names(folder.parent)) == 2
    with pytest.raises(OutputError, match="exists"), staged(folder):
        pass
    assert names(folder.parent) == ["made"]
    assert (folder / MARKER).read_text() == "first"


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_a_run_that_is_alive_keeps_its_folder(tmp_path):
    with staged(tmp_path / "made") as first, staged(tmp_path / "made"), staged(tmp_path / "made other"):
        assert first.is_dir()
        assert len(list(tmp_path.iterdir())) == 3


def test_what_another_run_finished_meanwhile_is_not_replaced(tmp_path):
    def slower():
        with staged(tmp_path / "made"), staged(tmp_path / "made") as quicker:
            (quicker / MARKER).write_text("quicker")

    with pytest.raises(OutputError, match=r"could not write .*made"):
        slower()
    assert (tmp_path / "made" / MARKER).read_text() == "quicker"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_on_windows_files_are_synced_through_a_handle_that_may_write_and_folders_are_not(tmp_path, monkeypatch):
    """FlushFileBuffers refuses any other handle, and a folder cannot be opened."""
    fcntl = pytest.importorskip("fcntl")
    synced = []

    def fsync(descriptor):
        assert stat.S_ISREG(os.fstat(descriptor).st_mode)
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        synced.append(descriptor)

    monkeypatch.setattr(durable_module, "WINDOWS", True)
    monkeypatch.setattr(os, "fsync", fsync)
    with staged(tmp_path / "new") as folder:
        (folder / "a").write_text("x")
    assert (names(tmp_path / "new"), len(synced)) == (["a"], 1)


def test_a_file_that_windows_does_not_replace_since_it_is_open_is_kept(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")

    def replace(self, target):
        raise PermissionError(errno.EACCES, "Access is denied", str(self))

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(PermissionError), durable(tmp_path / "a") as file:
        file.write(b"new")
    assert (names(tmp_path), (tmp_path / "a").read_text()) == (["a"], "old")
