"""The installer of a kit for machines without a network refuses what it cannot install, and leaves nothing behind.

That a whole kit installs and embeds is `make airgap airgap-try`: compiling its llama.cpp takes minutes.
"""

import hashlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from kits import INSTALLER, install, lock_kit, seal_kit, write_kit, write_wheel

pytestmark = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="the installer needs sha256sum")


@pytest.fixture
def kit(tmp_path):
    return write_kit(tmp_path / "kit")


def test_a_damaged_kit_is_refused(kit, tmp_path):
    (kit / "requirements.txt").write_text("another\n")
    done = install(kit, tmp_path / "here")
    assert (done.returncode, (tmp_path / "here").exists()) == (1, False)
    assert "the kit was damaged on its way" in done.stderr


def test_a_file_that_the_sums_do_not_list_is_refused(kit, tmp_path):
    (kit / "wheels" / "numpy-99.0-py3-none-any.whl").write_bytes(b"pip would take the newest")
    done = install(kit, tmp_path / "here")
    assert (done.returncode, (tmp_path / "here").exists()) == (1, False)
    assert "files that SHA256SUMS does not list" in done.stderr


def test_another_python_is_refused(kit, tmp_path):
    (kit / "python-version").write_text("3.2\n")
    seal_kit(kit)
    done = install(kit, tmp_path / "here")
    assert (done.returncode, (tmp_path / "here").exists()) == (1, False)
    assert "the wheels here are for Python 3.2" in done.stderr


def test_musl_is_refused_in_one_line(kit, tmp_path):
    """Before the sums are checked: busybox's sha256sum lacks the options."""
    python = tmp_path / "python"
    lacking = "import os, sys; os.confstr = lambda name: int('unknown name'); exec(sys.argv[2])"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{lacking}" "$@"\n')
    python.chmod(0o755)
    done = install(kit, tmp_path / "here", python=python)
    assert (done.returncode, done.stdout, (tmp_path / "here").exists()) == (1, "", False)
    assert done.stderr.startswith("this system's C library is not glibc (Alpine's is musl)")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("instruction", ["asimddp", "avx512_vnni"])
@pytest.mark.parametrize(("found", "build"), [(0, "2"), (1, "1")])
def test_of_two_builds_the_one_for_this_cpu_is_installed(kit, tmp_path, instruction, found, build):
    """A `grep` in the place of the system's finds the instruction in /proc/cpuinfo, or does not."""
    asked = f'case "$*" in *" {instruction} /proc/cpuinfo") exit {found} ;; esac'
    (tmp_path / "grep").write_text(f"#!/bin/sh\n{asked}\nexit 2\n")
    (tmp_path / "grep").chmod(0o755)
    (kit / "wheels" / instruction).mkdir()
    for place, number in (("", "1"), (f"{instruction}/", "2")):
        with zipfile.ZipFile(kit / f"wheels/{place}native-1.0-{number}-py3-none-any.whl", "w") as archive:
            archive.writestr("native.txt", number)
            archive.writestr("native-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: native\nVersion: 1.0\n")
            archive.writestr(
                "native-1.0.dist-info/WHEEL",
                f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nBuild: {number}\nTag: py3-none-any\n",
            )
            archive.writestr("native-1.0.dist-info/RECORD", "")
    lock_kit(kit)
    seal_kit(kit)
    done = install(kit, tmp_path / "here", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    (installed,) = (tmp_path / "here/current/venv/lib").glob("python*/site-packages/native.txt")
    assert installed.read_text() == build


def test_what_is_there_is_not_touched(kit, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine").write_text("")
    done = install(kit, tmp_path / "here")
    assert (done.returncode, [path.name for path in (tmp_path / "here").iterdir()]) == (1, ["mine"])
    assert "is there already" in done.stderr


def test_a_machine_that_cannot_run_it_gets_nothing(kit, tmp_path):
    write_wheel(kit / "wheels", "2.0").rename(kit / "wheels/some-1.0-cp311-cp311-manylinux_2_999_x86_64.whl")
    seal_kit(kit)
    done = install(kit, tmp_path / "here")
    assert (done.returncode, (tmp_path / "here").exists()) == (1, False)
    assert "FIX  C library: glibc" in done.stdout
    assert "nothing was installed: fix the lines above" in done.stderr


def test_without_a_folder_it_says_how(kit):
    assert install(kit).returncode == 2


def test_what_fails_on_the_way_leaves_nothing(kit, tmp_path):
    (kit / "requirements.txt").write_text(f"another-library==1 --hash=sha256:{'0' * 64}\n")
    seal_kit(kit)
    done = install(kit, tmp_path / "here")
    assert (done.returncode, (tmp_path / "here").exists()) == (1, False)
    assert "No matching distribution found" in done.stderr


def test_a_wheel_that_the_lock_does_not_name_is_refused(kit, tmp_path):
    """The sums fit it, as they do when a kit is put together by hand."""
    wheel = next((kit / "wheels").glob("c2llm_lite-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    seal_kit(kit)
    done = install(kit, tmp_path / "here")
    assert (done.returncode, (tmp_path / "here").exists()) == (1, False)
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_the_lock_has_each_wheel_once(tmp_path):
    for name in ("Some.Name-1.0+cpu-cp311-cp311-linux_x86_64.whl", "a_b-2-1-py3-none-any.whl"):
        (tmp_path / name).write_bytes(b"")
    empty = hashlib.sha256(b"").hexdigest()
    lock = [sys.executable, INSTALLER.with_name("lock.py"), tmp_path]
    printed = subprocess.run(lock, capture_output=True, text=True, check=True).stdout
    assert printed == f"a-b==2 --hash=sha256:{empty}\nsome-name==1.0+cpu --hash=sha256:{empty}\n"
    (tmp_path / "a_b-3-py3-none-any.whl").write_bytes(b"")
    assert "two wheels of a-b" in subprocess.run(lock, capture_output=True, text=True, check=False).stderr


def test_an_architecture_that_llama_cpp_is_not_compiled_for(tmp_path):
    command = ["bash", INSTALLER.with_name("collect.sh"), tmp_path / "kit", "bundle", "llama-cpp"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "ARCH": "riscv64"})
    assert done.returncode == 1
    assert "compiled for x86_64 and aarch64 alone: leave llama-cpp out of EXTRAS" in done.stderr


def test_what_a_machine_has_is_taken_as_there(tmp_path):
    """pip takes the empty wheel in the library's place; a requirement it does not fit is still refused."""
    (tmp_path / "freeze.txt").write_text("# there\ntorch==2.11.0\nsome.name\n-e /src/x\n")
    there = INSTALLER.with_name("there.py")
    subprocess.run([sys.executable, there, tmp_path / "freeze.txt", tmp_path], check=True)
    assert {path.name for path in tmp_path.glob("*.whl")} == {
        "torch-2.11.0-py3-none-any.whl",
        "some_name-9999-py3-none-any.whl",
    }
    pip = [sys.executable, "-m", "pip", "download", "--no-index", "--constraint", tmp_path / "constraints.txt"]
    (tmp_path / "got").mkdir()
    subprocess.run([*pip, "--dest", tmp_path / "got", "torch>=2.8", "some-name"], capture_output=True, check=True)
    assert len(list((tmp_path / "got").iterdir())) == 2
    refused = subprocess.run(
        [*pip, "--dest", tmp_path / "got", "torch>=3"], capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0


def test_a_kit_for_what_a_machine_lacks_is_installed_beside_what_it_has(kit, tmp_path):
    (kit / "installed.txt").write_text("torch==2.11.0\n")
    seal_kit(kit)
    done = install(kit, tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert "include-system-site-packages = true" in (tmp_path / "here/current/venv/pyvenv.cfg").read_text()


def test_what_only_the_other_python_or_machine_needs_is_missing(tmp_path):
    """pip itself evaluates these markers for the Python that runs it."""
    pytest.importorskip("packaging")

    def write(name, *needs):
        path = tmp_path / f"{name}-1.0-py3-none-any.whl"
        lines = "".join(f"Requires-Dist: {need}\n" for need in needs)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\n{lines}")

    def missing(python, arch):
        command = [sys.executable, INSTALLER.with_name("missing.py"), tmp_path, python, arch, "own[more]"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    write("own", "any_lib>=2", 'own[most]; extra == "more"', 'none; extra == "other"', 'most-lib; extra == "most"')
    write("any_lib", 'Old.Backport<5,>=1; python_version < "3.11"', 'arm; platform_machine == "aarch64"')
    assert missing("3.11", "x86_64") == ["most-lib"]
    write("most_lib", "own")  # a circle
    assert missing("3.11", "x86_64") == []
    assert missing("3.10", "x86_64") == ["old-backport<5,>=1"]
    assert missing("3.14", "aarch64") == ["arm"]
