"""Bundles with correct hashes and wrong contents."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite.pma import Array
from c2llm_lite.verify import fidelity, verify

from .fixtures import Fixtures
from .forks import Case
from .outcome import DifferentError
from .tiny import TEXTS

Noticed = Literal["load", "verify"]
TOLERANCE = 1e-4  # of a component: other kernels, not other weights
# Damage that moves no probe further than its bound, 0.998 for quantized targets, moves short texts a little further.
LEAST_COSINE = 0.98
# One of each kind of JSON value, and numbers at the edges of what C and Python hold.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 1.5, 1e-40, 1e308, 2**31, 2**32, 2**63, 10**40, 10**400),
    *(float("nan"), float("inf"), "", "x", "\ud800", "\0", [], {}, [[1]], {"x": 1}),
)


def sign(folder: Path, manifest: dict[str, Any] | None = None) -> None:
    """Write the manifest with each file's current size and hash; an explicit `manifest` is written unchanged."""
    if manifest is None:
        manifest = read_manifest(folder)
        for name, record in manifest["files"].items():
            content = (folder / name).read_bytes()
            record |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    sign_text(folder, json.dumps(manifest))


def sign_text(folder: Path, text: str) -> None:
    """Write any text as the manifest, with its hash."""
    content = text.encode("utf-8", "surrogatepass")
    (folder / bundles.MANIFEST).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (folder / bundles.MANIFEST_HASH).write_bytes(f"{digest}  {bundles.MANIFEST}\n".encode())


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest as JSON has it."""
    found: dict[str, Any] = json.loads((folder / bundles.MANIFEST).read_text(encoding="utf-8"))
    return found


def changed(fixtures: Fixtures, target: str, noticed: Noticed, change: Callable[[Path], None], scratch: Path) -> None:
    """Copy a bundle, change the copy, and use it.

    Raises DifferentError if the vectors are others and `noticed`, which is to tell, does not.
    """
    folder = shutil.copytree(fixtures.bundle(target), scratch / "bundle")
    change(folder)
    use(folder, fixtures.vectors(target), noticed)


def use(folder: Path, right: Array, noticed: Noticed) -> None:
    """Verify (where that is to tell), load and embed."""
    if noticed == "verify" and not all(result.passed for result in verify(folder, threads=1)):
        return
    with c2llm_lite.load(folder, threads=1, check=True, cache=False) as model:
        found = model.embed(TEXTS)
        if "query" in model.prompts:
            model.embed("x", prompt_name="query")
    if noticed == "verify" and found.shape == right.shape and fidelity(found, right).worst >= LEAST_COSINE:
        return
    if found.shape != right.shape or not np.allclose(found, right, atol=TOLERANCE):
        raise DifferentError("other vectors")


def file_case(
    name: str, change: Callable[[bytes], bytes], *, fixtures: Fixtures, target: str, noticed: Noticed, file: str
) -> Case:
    """A case that changes one file's content and signs the bundle again."""

    def rewrite(folder: Path) -> None:
        path = folder / file
        path.write_bytes(change(path.read_bytes()))
        sign(folder)

    return Case(name, partial(changed, fixtures, target, noticed, rewrite))


def to(content: bytes) -> Callable[[bytes], bytes]:
    """The change to this content, whatever was there."""
    return lambda _: content


def flips(count: int, first: int, last: int | None, seed: int) -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    """Changes of one to eight bytes at random places from `first` to `last`."""
    for number in range(count):
        yield f"random bytes {number}", partial(_flipped, f"{seed}.{number}", first, last)


def _flipped(seed: str, first: int, last: int | None, content: bytes) -> bytes:
    draw = random.Random(seed)
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(first, min(len(found), last or len(found)))
        found[place] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
    return bytes(found)


def json_leaves(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value of a JSON document that is no object and no list, and of every empty one."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    below = [leaf for key, value in items for leaf in json_leaves(value, (*path, key))]
    yield from below or [path]


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a JSON document with another value at a path; ... removes what is there."""
    found = copy.deepcopy(data)
    holder = found
    for key in path[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return found


def short(value: object) -> str:
    """A value as a case's name has it."""
    if value is ...:
        return "missing"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        return f"10^{len(str(abs(value))) - 1}"
    return ascii(value)[:24]
