"""Each line of the machine's part: ok on a machine that fits, and what to do on one that does not."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import c2llm_lite
from c2llm_lite import cpu, machine
from c2llm_lite.doctor import host, kit

MIB = 1 << 20


@pytest.fixture
def bundle(tmp_path):
    """A manifest that needs 100 MiB and whose largest file has 50."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    files = {"a": {"size": 50 * MIB}, "b": {"size": 7}}
    manifest = {"memory": 100 * MIB, "files": files, "target": "gguf:q8_0", "engine": "llama_cpp"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def found(findings, name):
    return next(finding for finding in findings if finding.name == name)


def test_a_machine_that_fits(bundle):
    findings = host.check_host(bundle)
    assert [finding.line() for finding in findings if not finding.ok] == []
    assert found(findings, "memory").text.endswith("free; the bundle needs 100 MiB")
    assert found(findings, "bundle").line() == "ok   bundle: gguf:q8_0, run by llama_cpp"


def test_too_little_memory(bundle, monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda: 99 * MIB)
    finding = found(host.check_host(bundle), "memory")
    assert finding.line().startswith("FIX  memory: 99 MiB free, but the bundle needs 100 MiB; free some")
    assert found(host.check_host(None), "memory").ok


def test_too_little_disk(tmp_path, monkeypatch):
    finding = host.disk(tmp_path / "not" / "there", 1 << 60, "compiled graphs")
    assert not finding.ok
    assert f"MiB free at {tmp_path}, but compiled graphs need" in finding.text


def test_an_old_cpu(monkeypatch):
    monkeypatch.setattr(cpu, "_known", lambda: {"avx"})
    assert host.cpu_has(["sse4_2", "avx"], "NumPy").line() == (
        "FIX  CPU: lacks sse4_2, which NumPy needs; use a newer CPU"
    )


def test_an_old_c_library(monkeypatch):
    monkeypatch.setattr(host, "glibc", lambda: (2, 31))
    assert host.c_library((2, 31), "the kit").ok
    assert host.c_library((2, 34), "the kit").text == "glibc 2.31, but the kit needs glibc 2.34; use a newer system"
    monkeypatch.setattr(host, "glibc", lambda: None)
    assert host.c_library().ok
    assert host.c_library((2, 17), "the kit").text == "not glibc, which the kit needs"


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert not host.python().ok


def test_a_cache_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(sys, "platform", "linux")
    finding = found(host.check_host(None), "cache folder")
    assert (finding.ok, "set XDG_CACHE_HOME" in finding.text) == (False, True)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_bundle(bundle, content):
    (bundle / "manifest.json").write_bytes(content)
    finding = found(host.check_host(bundle), "bundle")
    assert (finding.ok, "no manifest.json that can be read" in finding.text) == (False, True)


@pytest.mark.parametrize("fields", [{"memory": "5", "files": 3}, {"files": {"a": 1, "b": {"size": None}}}])
def test_a_manifest_of_wrong_types(bundle, fields):
    (bundle / "manifest.json").write_text(json.dumps(fields))
    assert found(host.check_host(bundle), "memory").ok


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)


def test_the_c_library_of_a_kit_is_the_newest_that_a_wheel_needs(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "a-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", {})
    write_wheel(wheels, "b-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", {})
    write_wheel(wheels, "c-1-py3-none-any.whl", {"c.py": b"GLIBC_2.99"})
    for known, ok in (((2, 26), False), ((2, 27), True)):
        monkeypatch.setattr(host, "glibc", lambda known=known: known)
        assert found(kit.check_kit(tmp_path, tmp_path / "here"), "C library").ok == ok
    write_wheel(wheels, "d-1-py3-none-linux_x86_64.whl", {"d/lib/d.so.1": b"\0GLIBC_2.4\0GLIBC_2.34\0"})
    assert "needs glibc 2.34" in found(kit.check_kit(tmp_path, tmp_path / "here"), "C library").text


def test_a_kit_of_another_architecture(tmp_path):
    write_wheel(tmp_path / "wheels", "a-1-cp311-cp311-manylinux_2_17_riscv64.whl", {})
    assert "is for another; use a kit for" in found(kit.check_kit(tmp_path, tmp_path), "architecture").text


def test_a_library_that_a_kit_s_llama_cpp_loads_is_missing(tmp_path):
    name = "llama_cpp_python-1-py3-none-linux_x86_64.whl"
    loads = b"\0libc.so.6\0libggml.so.0\0libnowhere.so.7\0"
    files = {"llama_cpp/lib/libllama.so": loads, "llama_cpp/lib/libggml.so.0": b""}
    write_wheel(tmp_path / "wheels", name, files)
    finding = found(kit.check_kit(tmp_path, tmp_path), "libraries")
    assert not finding.ok
    assert f"{name} needs libnowhere.so.7: install it" in finding.text
    write_wheel(tmp_path / "wheels", name, files | {"llama_cpp/lib/libnowhere.so.7": b""})
    assert found(kit.check_kit(tmp_path, tmp_path), "libraries").ok


def test_the_cpu_that_a_kit_s_llama_cpp_was_compiled_for(tmp_path, monkeypatch):
    name = "llama_cpp_python-1-py3-none-linux_x86_64.whl"
    write_wheel(tmp_path / "wheels", name, {kit.FLOOR: b'["avx2", "bmi2"]'})
    monkeypatch.setattr(cpu, "_known", lambda: {"sse4_2", "avx2"})
    assert "lacks bmi2, which the kit's llama.cpp needs" in found(kit.check_kit(tmp_path, tmp_path), "CPU").text


def test_the_machine_s_part_runs_with_the_standard_library_alone(tmp_path):
    """As install.sh runs it: out of a wheel, with neither site-packages nor the environment's paths."""
    package = Path(c2llm_lite.__file__).parent
    files = [*package.glob("*.py"), *(package / "doctor").glob("*.py")]
    content = {f"c2llm_lite/{path.relative_to(package)}": path.read_bytes() for path in files}
    write_wheel(tmp_path / "wheels", "c2llm_lite-1-py3-none-any.whl", content)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from c2llm_lite.doctor.kit import main; "
        "code = main(*sys.argv[2:]); assert 'numpy' not in sys.modules; sys.exit(code)"
    )
    wheel = tmp_path / "wheels" / "c2llm_lite-1-py3-none-any.whl"
    command = [sys.executable, "-I", "-S", "-c", code, wheel, tmp_path, tmp_path / "here"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok   venv: available" in done.stdout


def test_a_user_without_a_home_folder(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    finding = found(host.check_host(None), "cache folder")
    assert (finding.ok, "set HOME or XDG_CACHE_HOME" in finding.text) == (False, True)
