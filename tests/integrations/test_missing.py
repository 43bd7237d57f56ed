"""If a framework is not installed, the error names its extra; nothing imports a framework unasked."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llamaindex", "llama_index", "llamaindex"),
        ("mteb", "mteb", "mteb"),
        ("ray", "ray", "ray"),
    ],
)
def test_a_missing_framework_is_named(module, library, extra):
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        f"try:\n    import c2llm_lite.integrations.{module}\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    assert f"MissingDependencyError c2llm_lite.integrations.{module} needs" in run(code)
    assert f"pip install 'c2llm-lite[{extra}]'" in run(code)


def test_the_server_without_its_libraries_names_its_extra(tmp_path):
    code = (
        "import sys; sys.modules['starlette'] = None; from pathlib import Path\n"
        "from c2llm_lite.cli.serve import serve\n"
        "try:\n    serve(Path('b'))\nexcept ImportError as error:\n    print(error)"
    )
    told = run(code)  # the first that is missing is named
    assert told.startswith("the server needs ")
    assert "pip install 'c2llm-lite[serve]'" in told


def test_embed_dataset_without_ray_names_its_extra():
    code = (
        "import sys; sys.modules['ray'] = None; from pathlib import Path\n"
        "from c2llm_lite.cli.embed_dataset import embed_dataset\n"
        "try:\n    embed_dataset(Path('b'), [Path('in')], Path('out'))\nexcept ImportError as error:\n    print(error)"
    )
    assert "embed-dataset needs ray" in run(code)
    assert "c2llm-lite[ray]" in run(code)


def test_the_command_line_and_encode_load_no_framework():
    heavy = ("torch", "starlette", "uvicorn", "langchain_core", "llama_index", "mteb", "sentence_transformers", "ray")
    code = (
        "import sys, c2llm_lite.cli, c2llm_lite.integrations.sentence_transformers\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert run(code) == "[]\n"
