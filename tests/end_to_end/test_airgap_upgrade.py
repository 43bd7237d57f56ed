"""A newer kit over an older one: one rename switches, the older one can come back, and a failure leaves it working."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kits import BUNDLE, install, write_kit

pytestmark = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="the installer needs sha256sum")
FAILS_TO_VERIFY = "import sys; print('failed: probes'); sys.exit(1)"
NEVER_ENDS = "import time; print('verifying', flush=True); time.sleep(600)"


@pytest.fixture
def old(tmp_path):
    """A folder in which a kit of version 1.0 was installed."""
    done = install(write_kit(tmp_path / "kit1"), tmp_path / "here")
    assert done.returncode == 0, done.stderr
    return tmp_path / "here"


def version(folder):
    """What the current release answers."""
    done = subprocess.run([folder / "current/venv/bin/c2llm-lite"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def tree(folder):
    return sorted(path.relative_to(folder).parts[:2] for path in folder.glob("*/*"))


def test_an_upgrade_and_the_way_back(old, tmp_path):
    first = (old / "current").readlink()
    newer = write_kit(tmp_path / "kit2", "2.0", bundle="b" * 64)
    done = install(newer, old)
    assert (done.returncode, version(old)) == (0, "2.0"), done.stderr
    assert (old / "previous").readlink() == first
    # The older release and its bundle are there, for who runs them and for the way back.
    assert sorted(path.name for path in (old / "bundles").iterdir()) == [BUNDLE[:16], "b" * 16]
    assert (old / "current/bundle").readlink() == Path(f"../../bundles/{'b' * 16}")
    for expected in ("1.0", "2.0"):
        done = install(newer, "--rollback", old)
        assert (done.returncode, version(old)) == (0, expected), done.stderr


def test_a_kit_with_the_same_bundle_keeps_it(old, tmp_path):
    kept = old / "bundles" / BUNDLE[:16]
    (kept / "mark").write_text("the same folder")
    assert install(write_kit(tmp_path / "kit2", "2.0"), old).returncode == 0
    assert (old / "current/bundle/mark").exists()


def test_the_older_kit_again_goes_back_without_installing(old, tmp_path):
    mark = old / (old / "current").readlink() / "mark"
    mark.write_text("the same folder")
    assert install(write_kit(tmp_path / "kit2", "2.0"), old).returncode == 0
    assert install(tmp_path / "kit1", old).returncode == 0
    assert (version(old), mark.exists()) == ("1.0", True)


def test_a_kit_that_does_not_verify_changes_nothing(old, tmp_path):
    before = tree(old)
    done = install(write_kit(tmp_path / "kit2", "2.0", command=FAILS_TO_VERIFY, bundle="b" * 64), old)
    assert done.returncode == 1
    assert (version(old), tree(old)) == ("1.0", before)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_install_leaves_the_older_one_working(old, tmp_path, stop):
    before = tree(old)
    kit = write_kit(tmp_path / "kit2", "2.0", command=NEVER_ENDS, bundle="b" * 64)
    process = subprocess.Popen(
        ["sh", kit / "install.sh", old],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any("verifying" in line for line in process.stdout)
    os.killpg(process.pid, stop)
    process.wait()
    assert version(old) == "1.0"
    if stop == signal.SIGTERM:
        assert tree(old) == before
    # What was interrupted is in the way of neither kit nor bundle.
    done = install(write_kit(tmp_path / "kit3", "3.0", bundle="b" * 64), old)
    assert (done.returncode, version(old)) == (0, "3.0"), done.stderr


def test_nothing_to_go_back_to(old, tmp_path):
    done = install(tmp_path / "kit1", "--rollback", old)
    assert (done.returncode, version(old)) == (1, "1.0")
    assert "no earlier release to go back to" in done.stderr


def test_an_empty_folder_is_taken(tmp_path):
    """Such as one below /opt that root made and gave to the user."""
    (tmp_path / "here").mkdir()
    assert install(write_kit(tmp_path / "kit"), tmp_path / "here").returncode == 0
    assert version(tmp_path / "here") == "1.0"
