"""The environments: the extras that are installed together, and the tests that then run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
TORCH = "torch==2.13.0"  # the Makefile's: a CPU build where the index has one
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
HERE = "3.11"  # the Python of all but the last set
CONVERT = ["convert/targets", "convert/checkpoint"]
REFERENCE = [*CONVERT, "convert/proof", "convert/test_reference.py"]  # beside transformers


@dataclass
class Environment:
    """extras: installed together. rooms: of tests/. first: what is installed before all else."""

    name: str
    extras: list[str]
    rooms: list[str]
    python: str = HERE
    first: list[str] = field(default_factory=list)
    oldest: bool = False  # each library at pyproject.toml's lower bound; torch stays as in `first`
    makes: list[str] = field(default_factory=list)  # targets whose bundles it makes, for all others to verify


# optimum-intel asks for transformers before 5.6, and so for a huggingface-hub before 2: two groups.
GROUPS = (
    Environment(
        "convert",
        ["bench"],  # and so `all`
        ["runtime", "engines", *REFERENCE, "benchmarks/bench"],
        first=[TORCH],
        makes=["gguf:q8_0", "openvino:int8", "torch:fp32", "bnb:nf4"],
    ),
    Environment(
        "run",
        ["llama-cpp", "openvino", "bitsandbytes", "convert", "checkpoint-code", "search", "serve"],
        ["runtime", "engines", *REFERENCE, "search", "serve"],
        first=[TORCH],
    ),
    Environment(
        "adapters",
        ["llama-cpp", "convert", "parquet", "ray", "langchain", "llamaindex", "mteb"],
        ["integrations", "bulk"],
        first=[TORCH],
    ),
)


def sets() -> dict[str, list[Environment]]:
    """By what the command line calls them."""
    plain = ["llama-cpp", "openvino", "torch", "convert", "parquet", "search", "serve"]
    rooms = ["runtime", "engines", *CONVERT, "search", "serve"]
    return {
        "newest": [replace(group, name=f"newest-{group.name}") for group in GROUPS],
        "oldest": [replace(group, name=f"oldest-{group.name}", oldest=True) for group in GROUPS],
        "torch": [
            Environment(
                "oldest-torch",
                ["bitsandbytes", "llama-cpp", "convert", "checkpoint-code"],
                ["engines", *REFERENCE],
                first=[f"torch=={lower_bounds()['torch']}"],
            )
        ],
        "pythons": [Environment(f"python-{version}", plain, rooms, version) for version in PYTHONS],
    }


def lower_bounds() -> dict[str, str]:
    """Each library's lower bound in pyproject.toml, of a requirement `name>=version`."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    bounds = dict(re.findall(r'"([\w-]+)(?:\[\w+\])?>=([\d.]+)', text))
    development = re.search(r"^dev = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    tools = re.findall(r'"([\w-]+)>=', development[1]) if development else []
    return {name: bound for name, bound in bounds.items() if name not in (*tools, "setuptools")}
