"""Checkpoints with wrong contents: config.json, safetensors, licenses, links; opened and converted."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from c2llm_lite.bundle import open_bundle
from c2llm_lite.convert import convert

from . import forks
from .crafted import ODD_VALUES, flips, replaced, short
from .fixtures import GGUF, Fixtures
from .forks import Case
from .outcome import DifferentError, SlowError

PRELOAD: tuple[str, ...] = ("llama_cpp.llama_cpp", "gguf")
WEIGHTS, CONFIG = "model.safetensors", "config.json"
FLIPS = 150
SECONDS = 5.0  # for a file of a million names: it is to be refused by its size, before it is parsed
SECRET = "a secret beside the checkpoint"
# Fields that the checkpoint does not have and a config may.
FIELDS = (
    *("layer_types", "max_window_layers", "sliding_window", "use_sliding_window", "rope_scaling", "rope_parameters"),
    *("head_dim", "dtype", "torch_dtype", "keep_max_layer", "partial_rotary_factor", "quantization_config", "auto_map"),
    *("attention_bias", "architectures", "transformers_version"),
)
MORE_VALUES: tuple[Any, ...] = (
    2,
    7,
    1000,
    "silu",
    ["full_attention"] * 2,
    ["x"],
    [None],
    {"rope_type": []},
    {"rope_theta": 10**400},
)

Change = Callable[[Path], None]


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    config = json.loads((fixtures.checkpoint / CONFIG).read_text(encoding="utf-8"))
    for field in (*config, *FIELDS):
        for value in (..., *ODD_VALUES, *MORE_VALUES):
            if value is ... and field not in config:
                continue
            text = json.dumps(replaced(config, (field,), value))
            yield _case(fixtures, f"{field} = {short(value)}", partial(_write, CONFIG, text.encode()))
    windowed = {"use_sliding_window": True, "sliding_window": 8}
    for value in ODD_VALUES:
        for field in ("max_window_layers", "sliding_window", "layer_types"):
            text = json.dumps(config | windowed | {field: value})
            yield _case(fixtures, f"windowed, {field} = {short(value)}", partial(_write, CONFIG, text.encode()))
    for text in ("", "{}", "[]", "null", "[" * 100_000, '{"x":' * 100_000, "\ufeff{}", "NaN", "9" * 10_000):
        yield _case(fixtures, f"{CONFIG} {short(text)} of {len(text)}", partial(_write, CONFIG, text.encode()))
    whole = (fixtures.checkpoint / WEIGHTS).read_bytes()
    for name, content in _weights(whole):
        yield _case(fixtures, f"{WEIGHTS}: {name}", partial(_write, WEIGHTS, content))
    (length,) = struct.unpack_from("<Q", whole)
    for name, flip in flips(FLIPS, 0, 8 + length, seed=8):
        yield _case(fixtures, f"{WEIGHTS}: {name}", partial(_write, WEIGHTS, flip(whole)))
    for name, change in _places().items():
        yield _case(fixtures, name, change)


def _case(fixtures: Fixtures, name: str, change: Change) -> Case:
    seconds = SECONDS if "1,000,000" in name else forks.SECONDS
    return Case(name, partial(_converted, fixtures, change), seconds)


def _converted(fixtures: Fixtures, change: Change, scratch: Path) -> None:
    """Changes a copy of the checkpoint and converts it; what comes out is a bundle without what lay beside."""
    source = shutil.copytree(fixtures.checkpoint, scratch / "above" / "checkpoint")
    (scratch / "above" / "secret").write_text(SECRET)
    change(source)
    convert(source, scratch / "bundle", GGUF, target_probes=False)
    made = open_bundle(scratch / "bundle", check=True).folder
    if any(SECRET.encode() in path.read_bytes() for path in made.iterdir()):
        raise DifferentError("a file from outside the checkpoint is in the bundle")
    if sum(path.stat().st_size for path in made.iterdir()) > 20e6:
        raise SlowError("a bundle of over 20 MB")


def _write(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)


def _weights(whole: bytes) -> Iterator[tuple[str, bytes]]:
    (length,) = struct.unpack_from("<Q", whole)
    header: dict[str, Any] = json.loads(whole[8 : 8 + length])
    data = whole[8 + length :]
    names = [name for name in header if name != "__metadata__"]

    def packed(text: bytes) -> bytes:
        return struct.pack("<Q", len(text)) + text + data

    for name in (names[0], names[-1]):
        for field in ("dtype", "shape", "data_offsets"):
            for value in (..., *ODD_VALUES, [2**63, 1], [0, 2**64], [-64, -400], [1.0, 2.0], ["1"], [[64]], [True]):
                wrong = json.dumps(replaced(header, (name, field), value)).encode()
                yield f"{name.rpartition('.')[0][-12:]}.{field} = {short(value)}", packed(wrong)
    yield "no tensor", packed(b"{}")
    for count in (100_000, 1_000_000):
        many = {f"x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}
        yield f"{count:,} tensors more", packed(json.dumps(header | many).encode())
    layers = {
        f"model.layers.{i}.mlp.up_proj.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for i in range(300_000)
    }
    yield "300,000 layers more", packed(json.dumps(header | layers).encode())
    for count in (1000, 100_000):
        shape = [1] * count
        yield f"a shape of {count:,} axes", packed(json.dumps(replaced(header, (names[0], "shape"), shape)).encode())
    yield "the header twice as deep", packed(b'{"x":' * 100_000 + b"1" + b"}" * 100_000)
    yield "metadata of 50 MB", packed(json.dumps(header | {"__metadata__": {"x": "y" * 50_000_000}}).encode())
    for name in ("\0", "../x", "x" * 100_000, "", "layers.-1.x", f"layers.{'9' * 5000}.mlp.up_proj.weight", "\ud800"):
        renamed = {name if key == names[3] else key: entry for key, entry in header.items()}
        yield f"a tensor called {short(name)}", packed(json.dumps(renamed).encode())
    for said in (0, 1, 2**31, 2**63, 2**64 - 1, 100_000_001):
        yield f"a header said to have {said} bytes", struct.pack("<Q", said) + whole[8:]
    for size in (0, 7, 8, 100, len(whole) - 1):
        yield f"{size} bytes", whole[:size]
    for bits in (b"\xff\xff", b"\x80\x7f", b"\x7f\x7f"):
        yield f"weights of {bits.hex()}", whole[: 8 + length] + bits * (len(data) // 2)


def _places() -> dict[str, Change]:
    """Folders, FIFOs and links in the place of files; licenses that are something else."""
    found: dict[str, Change] = {}
    for name in (CONFIG, WEIGHTS, "tokenizer.json", "LICENSE", "NOTICE", "LICENSES", "LICENCE.txt"):
        for kind, make in KINDS.items():
            found[f"{name} is {kind}"] = partial(_instead, name, make)
    found["a license of 200 MB"] = partial(_instead, "LICENSE.big", lambda path: _sparse(path, 200 << 20))
    found["1,000 licenses"] = _many_licenses
    found["a license called LICENSE-manifest.json"] = partial(
        _instead, "LICENSE-manifest.json", lambda p: p.write_text("x")
    )
    found["an index that names /etc/passwd"] = partial(_index, "/etc/passwd")
    found["an index that names a folder above"] = partial(_index, "../x.safetensors")
    found["an index that names nothing"] = partial(_index, "x.safetensors")
    found["an index that names numbers"] = partial(_index, 5)
    found["an index of 1,000,000 names"] = partial(
        _write,
        f"{WEIGHTS}.index.json",
        json.dumps({"weight_map": {str(i): WEIGHTS for i in range(1_000_000)}}).encode(),
    )
    return found


def _index(file: Any, folder: Path) -> None:
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"norm.weight": file}}))


def _instead(name: str, make: Callable[[Path], object], folder: Path) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    make(path)


def _many_licenses(folder: Path) -> None:
    for number in range(1000):
        (folder / f"LICENSE{number}").write_text("x")


def _sparse(path: Path, size: int) -> None:
    path.touch()
    os.truncate(path, size)


KINDS: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a FIFO": os.mkfifo,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to a secret": lambda path: path.symlink_to("../secret"),
    "a hidden link to a secret": lambda path: path.symlink_to(path.parent.parent / "secret"),
}
