"""The API reference: `make api` writes every public name, and its pages load nothing from a network."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
NAMES = {
    "c2llm_lite": ["load", "Embedder"],
    "c2llm_lite.search": ["Index"],
    "c2llm_lite.bulk.file": ["embed_file"],
    "c2llm_lite.verify": ["verify"],
    "c2llm_lite.convert": ["convert", "list_targets"],
    "c2llm_lite.integrations.langchain": ["C2LLMEmbeddings"],
    "c2llm_lite.integrations.sentence_transformers": ["SentenceEncoder"],
    "c2llm_lite.integrations.ray": ["embed_column", "ship"],
}


def test_the_reference_has_every_public_name(tmp_path) -> None:
    pytest.importorskip("pdoc")
    for module in ("ray", "langchain_core", "llama_index.core", "mteb", "torch"):
        pytest.importorskip(module)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, TOP / "docs" / "api.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    for module, names in NAMES.items():
        page = (tmp_path / f"{module.replace('.', '/')}.html").read_text()
        assert re.findall(r'(?:src|<link[^>]*href)="?https?:', page) == []
        for name in names:
            assert f'id="{name}"' in page, f"{module}.{name}"


def public_functions() -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for module, names in NAMES.items():
        for name in names:
            thing = getattr(import_module(module), name)
            found.append((f"{module}.{name}", thing))
            if inspect.isclass(thing):
                methods = [(key, value) for key, value in vars(thing).items() if not key.startswith("_")]
                found += [(f"{name}.{key}", value) for key, value in methods if inspect.isfunction(value)]
    return found


@pytest.mark.parametrize(
    ("name", "thing"), public_functions(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_public_docstrings_are_in_google_style(name, thing) -> None:
    """Every parameter is under Args, and what a function returns under Returns."""
    documented = inspect.getdoc(thing) or ""
    assert documented, name
    if not inspect.isfunction(thing) or name.endswith("tokenise"):
        return
    parameters = [parameter for parameter in inspect.signature(thing).parameters if parameter != "self"]
    for parameter in parameters:
        assert re.search(rf"^    \**{parameter}: ", documented, re.MULTILINE), f"{name}: {parameter}"
    returns = ast.unparse(ast.parse(str(inspect.signature(thing).return_annotation), mode="eval"))
    if parameters and returns != "None":
        assert "\nReturns:\n" in documented, name
