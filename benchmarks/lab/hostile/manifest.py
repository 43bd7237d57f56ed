"""Manifests with correct hashes: every field with odd values, odd JSON, and files that are not listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .crafted import ODD_VALUES, changed, json_leaves, read_manifest, replaced, short, sign_text
from .fixtures import GGUF, OPENVINO, Fixtures
from .forks import Case
from .outcome import DifferentError

PRELOAD: tuple[str, ...] = ("llama_cpp.llama_cpp", "openvino")
ENGINE_FILES = {GGUF: ("backbone.gguf",), OPENVINO: ("openvino_model.xml", "openvino_model.bin")}
# One prompt, version and tensor represents all.
ALIKE = {"prompts": 1, "versions": 1, "tensors": 1, "notes": 1, "files": 2, "probes": 2}


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    manifest = read_manifest(fixtures.bundle(GGUF))
    paths = [path for field in manifest for path in _some(manifest, field)]
    for path in dict.fromkeys([*paths, *((field,) for field in manifest)]):
        for value in (..., *ODD_VALUES):
            yield _case(fixtures, GGUF, f"{'.'.join(map(str, path))} = {short(value)}", replaced(manifest, path, value))
    for target in (GGUF, OPENVINO):
        whole = read_manifest(fixtures.bundle(target))
        for name in (*ENGINE_FILES[target], "token_embeddings.npy", "pma.safetensors", "tokenizer.json"):
            rest = replaced(whole, ("files", name), ...)
            yield _unlisted(fixtures, target, f"{target}: {name} is not listed", rest)
        yield _unlisted(fixtures, target, f"{target}: no file is listed", whole | {"files": {}})
    for layers in (2**31, 2**62, 10**9, 10**6):
        openvino = read_manifest(fixtures.bundle(OPENVINO))
        wrong = replaced(openvino, ("backbone", "layers"), layers)
        yield _case(fixtures, OPENVINO, f"{OPENVINO}: backbone.layers = {layers}", wrong)
    yield from _odd_json(fixtures, manifest)


def _some(manifest: dict[str, Any], field: str) -> list[tuple[Any, ...]]:
    leaves = [(field, *path) for path in json_leaves(manifest[field])]
    if field == "probes":
        return leaves[:3]
    return leaves[: ALIKE.get(field, len(leaves))]


def _case(fixtures: Fixtures, target: str, name: str, manifest: Any) -> Case:
    text = json.dumps(manifest)
    return Case(name, partial(changed, fixtures, target, "verify", partial(_write, text)))


def _write(text: str, folder: Path) -> None:
    sign_text(folder, text)


def _unlisted(fixtures: Fixtures, target: str, name: str, manifest: Any) -> Case:
    def run(scratch: Path) -> None:
        changed(fixtures, target, "verify", partial(_write, json.dumps(manifest)), scratch)
        raise DifferentError("verify passes a bundle with files that no hash covers")

    return Case(name, run)


def _odd_json(fixtures: Fixtures, manifest: dict[str, Any]) -> Iterator[Case]:
    """Texts that are no manifest."""
    depth = 100_000
    nested = json.dumps(manifest).removesuffix("}")
    odd = {
        "notes nested 100,000 deep": f'{nested}, "notes": {"[" * depth}{"]" * depth}}}',
        "objects nested 100,000 deep": '{"x":' * depth + "1" + "}" * depth,
        "brackets 100,000 deep": "[" * depth,
        "notes nested 900 deep": f'{nested}, "notes": {{"x": {"[" * 900}{"]" * 900}}}}}',
        "a number of 100,000 digits": f'{nested}, "memory": {"9" * 100_000}}}',
        "a field twice": f'{nested}, "width": 1}}',
        "a million unknown fields": "{" + ",".join(f'"{i}": 0' for i in range(1_000_000)) + "}",
        "a million files": json.dumps(
            manifest | {"files": {str(i): {"size": 0, "sha256": ""} for i in range(200_000)}}
        ),
        "a million probes": json.dumps(manifest | {"probes": manifest["probes"] * 30_000}),
        **{f"text {short(text)}": text for text in ("", "{}", "[]", "null", '"', "\ufeff{}", "\ud800", "NaN", "{" * 9)},
        "a name of a file above": json.dumps(replaced(manifest, ("files",), {"../x": {"size": 1, "sha256": "x"}})),
        "a name with NUL": json.dumps(replaced(manifest, ("files",), {"x\0": {"size": 1, "sha256": "x"}})),
        "a name with a surrogate": json.dumps(replaced(manifest, ("files",), {"\ud800": {"size": 1, "sha256": "x"}})),
        "a name of 5,000 letters": json.dumps(replaced(manifest, ("files",), {"x" * 5000: {"size": 1, "sha256": ""}})),
        "no name": json.dumps(replaced(manifest, ("files",), {"": {"size": 1, "sha256": "x"}})),
        "the folder's name": json.dumps(replaced(manifest, ("files",), {".": {"size": 1, "sha256": "x"}})),
        "a prompt with a surrogate": json.dumps(replaced(manifest, ("prompts", "query"), "\ud800")),
        "a probe of 10 MB": json.dumps(replaced(manifest, ("probes", 0, "text"), "def f(): pass\n" * 700_000)),
    }
    for name, text in odd.items():
        yield Case(f"JSON: {name}", partial(changed, fixtures, GGUF, "verify", partial(_write, text)))
