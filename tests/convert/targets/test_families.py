"""What is installed decides the default target, and is listed without importing any of it."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from c2llm_lite.convert.targets import families, registry

EXTRAS = (
    "gguf",
    "llama_cpp",
    "openvino",
    "nncf",
    "optimum",
    "torch",
    "transformers",
    "bitsandbytes",
    "huggingface_hub",
)
BARE = f"import sys; sys.modules |= dict.fromkeys({EXTRAS}); from c2llm_lite.cli import main; main()"


@pytest.mark.parametrize(
    ("machine", "missing", "target", "reason"),
    [
        ("x86_64", "", "openvino:int8", "fastest on x86"),
        ("AMD64", "", "openvino:int8", "fastest on x86"),
        ("x86_64", "nncf", "gguf:q8_0", "needs c2llm-lite[convert-openvino]"),
        ("x86_64", "openvino", "gguf:q8_0", "needs c2llm-lite[convert-openvino]"),
        ("aarch64", "", "gguf:q8_0", "not x86"),
    ],
)
def test_the_default_is_what_is_installed_and_fast_here(machine, missing, target, reason, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(families, "_is_installed", lambda module: module != missing)
    found, why = families.default_target()
    assert found == target
    assert reason in why
    registry.parse(found)


@pytest.mark.parametrize(
    ("family", "missing", "here"),
    [
        ("gguf", (), "yes"),
        ("gguf", ("gguf",), "runs only: pip install 'c2llm-lite[convert,llama-cpp]'"),
        ("gguf", ("llama_cpp",), "no: pip install 'c2llm-lite[convert,llama-cpp]'"),
        ("openvino", ("nncf",), "runs only: pip install 'c2llm-lite[convert-openvino]'"),
        ("torch", ("torch",), "converts only: pip install 'c2llm-lite[torch]'"),
        ("torch", ("transformers",), "yes"),
    ],
)
def test_what_a_family_can_do_here(family, missing, here, monkeypatch):
    monkeypatch.setattr(families, "_is_installed", lambda module: module not in missing)
    assert families.FAMILIES[family].here == here


def test_every_target_is_of_a_family():
    assert {target.family for target in registry.TARGETS} == set(families.FAMILIES)


def test_targets_are_listed_without_any_extra(checkpoint_folder: Path) -> None:
    command = [sys.executable, "-c", BARE, "convert", str(checkpoint_folder), "--list-targets"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    listed = {word for word in done.stdout.split() if ":" in word}
    assert {str(target) for target in registry.TARGETS if not target.kind.endswith("_k")} <= listed
    assert "converts only" in done.stdout
    assert "without --to: gguf:q8_0" in done.stdout
