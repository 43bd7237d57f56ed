"""The instructions of this CPU, and what is refused without them."""

import ctypes
import json
import sys

import pytest

from c2llm_lite import cpu
from c2llm_lite.engines.llama_cpp import native as llama_cpp_library
from c2llm_lite.errors import DeviceError, MissingDependencyError

CPUINFO = "processor\t: 0\nflags\t\t: fpu sse4_2 avx fma\nbugs\t\t: spectre_v1\n"


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """A CPU that only /proc/cpuinfo describes; returns the file."""

    def nothing(_name):
        raise OSError

    monkeypatch.setattr(cpu.ctypes, "CDLL", nothing)
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


@pytest.fixture
def nothing_imported():
    """No module of llama_cpp, and afterwards those that there were."""

    def taken():
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "llama_cpp"}

    before = taken()
    llama_cpp_library._built_for.cache_clear()
    yield
    taken()
    sys.modules.update(before)
    llama_cpp_library._built_for.cache_clear()


@pytest.fixture
def built_for(nothing_imported, tmp_path, monkeypatch):
    """A llama_cpp package whose libraries were built for these instructions, and which notes that it was imported."""

    def make(*instructions: str):
        folder = tmp_path / "llama_cpp"
        (folder / "lib").mkdir(parents=True)
        (folder / llama_cpp_library.FLOOR).write_text(json.dumps(instructions))
        (folder / "__init__.py").write_text("")
        (folder / "llama_cpp.py").write_text("imported = True")
        (folder / "_ggml.py").write_text("libggml_base_path = None")
        (folder / "_ctypes_extensions.py").write_text("def load_shared_library(*_): raise FileNotFoundError")
        monkeypatch.syspath_prepend(tmp_path)

    return make


def test_both_sources_agree():
    if not hasattr(ctypes.CDLL(None), "__x86_get_cpuid_feature_leaf"):
        pytest.skip("this C library does not tell what the CPU has")
    listed = cpu._listed()
    assert listed is not None
    assert cpu._known() == listed & set(cpu._BITS)


def test_an_unknown_instruction_is_lacking():
    if cpu._known() is None:
        pytest.skip("no CPU flags on this system")
    assert cpu.lacking(["sse9"]) == ["sse9"]


def test_whether_none_of_several_is_there(listed):
    listed.write_text(CPUINFO)
    assert cpu.lacks_all(cpu.VNNI)
    assert not cpu.lacks_all(["avx", *cpu.VNNI])
    listed.write_text("processor : 0\n")  # nothing can tell
    assert not cpu.lacks_all(cpu.VNNI)


def test_what_the_system_lists(listed):
    listed.write_text(CPUINFO)
    assert cpu.lacking(["avx", "avx2", "fma", "bmi2"]) == ["avx2", "bmi2"]


def test_what_arm_lists(listed):
    listed.write_text("processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\nCPU part\t: 0xd0b\n")
    assert cpu.has("asimddp")
    assert not cpu.has("sve")
    assert cpu.lacking(["asimddp", "sve"]) == ["sve"]


@pytest.mark.parametrize("content", [None, "processor : 0\n"])
def test_where_nothing_can_tell_nothing_is_lacking(listed, content):
    if content is not None:
        listed.write_text(content)
    assert cpu.lacking(["avx2"]) == []
    assert not cpu.has("avx2")


def test_a_library_for_a_newer_cpu_is_refused_before_it_is_imported(built_for):
    built_for("avx2", "sse9")
    with pytest.raises(DeviceError, match="needs a CPU with sse9"):
        llama_cpp_library.library("llama_cpp", "a gguf bundle")
    assert "llama_cpp" not in sys.modules


def test_a_library_built_for_another_cpu_is_refused_once_it_is_imported(built_for, tmp_path, monkeypatch):
    """A wheel of pip's own building, copied with its environment: no file says what it was built for."""
    built_for()
    (tmp_path / "llama_cpp" / llama_cpp_library.FLOOR).unlink()
    functions = (
        "class library: __getattr__ = lambda self, name: lambda: name in ('ggml_cpu_has_avx2', 'ggml_cpu_has_avx512')"
    )
    (tmp_path / "llama_cpp" / "_ctypes_extensions.py").write_text(
        f"{functions}\ndef load_shared_library(*_): return library()"
    )
    monkeypatch.setattr(cpu, "_known", lambda: {"avx", "avx2"})
    with pytest.raises(DeviceError, match="needs a CPU with avx512f, which this CPU lacks; install one built here"):
        llama_cpp_library.library("llama_cpp", "a gguf bundle")
    monkeypatch.setattr(cpu, "_known", lambda: {"avx2", "avx512f"})
    assert llama_cpp_library.library("llama_cpp", "a gguf bundle").imported


def test_what_the_library_here_was_built_for_is_here():
    pytest.importorskip("llama_cpp")
    llama_cpp_library.library("llama_cpp", "a gguf bundle")
    assert cpu.lacking(llama_cpp_library._built_for()) == []


def test_a_library_of_the_system_that_is_missing_is_named(built_for, tmp_path):
    """llama_cpp raises a RuntimeError of its own while it handles the loader's error."""
    built_for()
    code = "import ctypes\ntry: ctypes.CDLL('libnowhere.so.7')\nexcept OSError: raise RuntimeError('Failed to load')"
    (tmp_path / "llama_cpp" / "llama_cpp.py").write_text(code)
    with pytest.raises(DeviceError, match=r"cannot be loaded: libnowhere\.so\.7: .*; install that library"):
        llama_cpp_library.library("llama_cpp", "a gguf bundle")


def test_a_library_for_this_cpu_is_imported(built_for):
    built_for()
    assert llama_cpp_library.library("llama_cpp", "a gguf bundle").imported


def test_a_missing_library_is_named_with_its_extra(nothing_imported, monkeypatch):
    monkeypatch.setattr(llama_cpp_library, "find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(MissingDependencyError, match=r"a gguf bundle needs .*pip install 'c2llm-lite\[llama-cpp\]'"):
        llama_cpp_library.library("llama_cpp", "a gguf bundle")
