"""torch bundles with correct hashes: odd shapes in the manifest, model.safetensors with wrong headers and values."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .crafted import ODD_VALUES, changed, file_case, flips, read_manifest, replaced, short, sign, to
from .fixtures import TORCH, Fixtures
from .forks import Case

PRELOAD: tuple[str, ...] = ("torch", "transformers", "transformers.models.qwen2.modeling_qwen2")
FILE = "model.safetensors"
FLIPS = 80


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    manifest = read_manifest(fixtures.bundle(TORCH))
    for field in manifest["backbone"]:
        for value in ODD_VALUES:
            wrong = replaced(manifest, ("backbone", field), value)
            yield Case(f"{field} = {short(value)}", partial(changed, fixtures, TORCH, "verify", partial(_sign, wrong)))
    for target in ("torch:x", "torch:bf16", "bnb:int8", "bnb:nf4", "torch", ""):
        wrong = manifest | {"target": target}
        yield Case(f"target = {target!r}", partial(changed, fixtures, TORCH, "verify", partial(_sign, wrong)))
    content = (fixtures.bundle(TORCH) / FILE).read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    first = next(name for name in header if name != "__metadata__")
    for field in header[first]:
        for value in ODD_VALUES:
            yield _case(fixtures, f"{first}.{field} = {short(value)}", replaced(header, (first, field), value), content)
    for dtype in ("BF16", "F16", "F64", "I32", "U8", "F8_E5M2", "BOOL", "x"):
        text = json.dumps(header).replace('"F32"', f'"{dtype}"')
        yield _case(fixtures, f"all {dtype}", json.loads(text), content)
    yield _case(fixtures, f"without {first}", replaced(header, (first,), ...), content)
    yield _case(fixtures, "another name", {f"x.{k}" if k == first else k: v for k, v in header.items()}, content)
    yield _case(fixtures, "odd metadata", header | {"__metadata__": {"format": "tf"}}, content)
    yield _case(fixtures, "metadata is a list", header | {"__metadata__": []}, content)
    for name, flip in flips(FLIPS, 0, 8 + length, seed=6):
        yield file_case(name, flip, fixtures=fixtures, target=TORCH, noticed="verify", file=FILE)
    for name, flip in flips(FLIPS // 4, 8 + length, None, seed=7):
        yield file_case(f"data: {name}", flip, fixtures=fixtures, target=TORCH, noticed="verify", file=FILE)


def _sign(manifest: dict[str, Any], folder: Path) -> None:
    sign(folder, manifest)


def _case(fixtures: Fixtures, name: str, header: Any, content: bytes) -> Case:
    (length,) = struct.unpack_from("<Q", content)
    text = json.dumps(header).encode()
    whole = struct.pack("<Q", len(text)) + text + content[8 + length :]
    return file_case(name, to(whole), fixtures=fixtures, target=TORCH, noticed="verify", file=FILE)
