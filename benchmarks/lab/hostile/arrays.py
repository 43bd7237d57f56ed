"""token_embeddings.npy, pma.safetensors and probes.safetensors with correct hashes and wrong contents."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from .crafted import ODD_VALUES, file_case, flips, short, to
from .fixtures import GGUF, Fixtures
from .forks import Case

PRELOAD: tuple[str, ...] = ("llama_cpp.llama_cpp",)
NPY, HEAD, PROBES = "token_embeddings.npy", "pma.safetensors", "probes.safetensors"
FLIPS = {NPY: 300, HEAD: 100, PROBES: 100}
# In the place of the dictionary that a .npy starts with.
NPY_HEADERS = (
    *(
        "",
        "{",
        "}",
        "{}",
        "[]",
        "1",
        "None",
        "{'descr': '<u2'}",
        "x",
        "\0",
        "\n",
        "\\",
        "'",
        '"""',
        "  {",
        "\t{}",
        "{}}",
    ),
    *("{'descr': '<u2', 'fortran_order': False, 'shape': (400, 64), }x", "(" * 200, "[" * 5000, "-" * 5000 + "1"),
    *("{'descr': " + "(" * 90 + ")" * 90 + "}", "{1: 2}", "__import__('os')", "9" * 5000, "1e999", "0x" * 9, "b'' ''"),
    *(
        "{'descr': '|O', 'fortran_order': False, 'shape': (400, 64), }",
        "lambda: 0",
        "{**{}}",
        "1 if 1 else 2",
        "f'{1}'",
    ),
)
DESCRIPTIONS = ("<f2", "<f4", ">u2", "<i2", "|u1", "<u4", "<f8", "|O", "|V2", "<U1", "x", "", "<u99", "<M8[D]", "<c8")
SHAPES: tuple[tuple[int, ...], ...] = (
    (),
    (0,),
    (400,),
    (64, 400),
    (400, 64, 1),
    (-400, -64),
    (2**31, 2**32),
    (2**63, 1),
    (10**30, 1),
    (400, 0),
)
SHAPES += ((25600,), (200, 64), (401, 64))


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    case = partial(file_case, fixtures=fixtures, target=GGUF, noticed="verify")
    rows = np.load(fixtures.bundle(GGUF) / NPY)
    for file, changes in (
        (NPY, _npy(rows)),
        (HEAD, _safetensors((fixtures.bundle(GGUF) / HEAD).read_bytes())),
        (PROBES, _safetensors((fixtures.bundle(GGUF) / PROBES).read_bytes())),
    ):
        for name, content in changes:
            yield case(f"{file}: {name}", to(content), file=file)
    for file, last in ((NPY, 128), (HEAD, 1000), (PROBES, 200)):
        for name, flip in flips(FLIPS[file], 0, last, seed=4):
            yield case(f"{file}: {name}", flip, file=file)


def _npy(rows: Any) -> Iterator[tuple[str, bytes]]:
    for text in NPY_HEADERS:
        yield f"header {short(text)} of {len(text)}", _with_header(text.encode(), rows)
    whole = {"descr": "<u2", "fortran_order": False, "shape": rows.shape}
    for key in whole:
        yield f"without {key}", _with_header(repr({k: v for k, v in whole.items() if k != key}).encode(), rows)
        for value in ODD_VALUES:
            yield f"{key} = {short(value)}", _with_header(repr(whole | {key: value}).encode("utf-8", "replace"), rows)
    for description in DESCRIPTIONS:
        yield f"descr = {description}", _with_header(repr(whole | {"descr": description}).encode(), rows)
    for shape in SHAPES:
        yield f"shape = {shape}", _with_header(repr(whole | {"shape": shape}).encode(), rows)
    yield "Fortran order", _with_header(repr(whole | {"fortran_order": True}).encode(), rows)
    yield "one key more", _with_header(repr(whole | {"x": 1}).encode(), rows)
    for version in ((0, 0), (1, 1), (2, 0), (3, 0), (9, 9), (255, 255)):
        yield f"version {version}", _with_header(repr(whole).encode(), rows, version)
    for length in (0, 1, 10, 65535):
        yield f"a header said to have {length} bytes", _with_header(repr(whole).encode(), rows, length=length)
    yield "a header of 60,000 spaces", _with_header(repr(whole).encode() + b" " * 60_000, rows)
    for name, array in (("object", np.array([{}], object)), ("structured", np.zeros(9, [("x", "<u2")]))):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        yield f"of {name}s", buffer.getvalue()
    archive = io.BytesIO()
    np.savez(archive, rows)
    yield "an .npz", archive.getvalue()
    yield "the beginning of an .npz", b"PK\3\4" + bytes(60_000)
    yield "a pickle", b"\x80\x04]\x94."
    yield "nothing", b""
    for size in (1, 6, 7, 8, 9, 10, 60, 128, 1000):
        yield f"{size} bytes", _with_header(repr(whole).encode(), rows)[:size]


def _with_header(
    header: bytes, rows: NDArray[Any], version: tuple[int, int] = (1, 0), length: int | None = None
) -> bytes:
    padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
    size = struct.pack("<H" if version[0] < 2 else "<I", min(65535, len(padded) if length is None else length))
    return b"\x93NUMPY" + bytes(version) + size + padded + rows.tobytes()


def _safetensors(content: bytes) -> Iterator[tuple[str, bytes]]:
    tensors = load(content)
    for name in tensors:
        yield f"without {name}", save({k: v for k, v in tensors.items() if k != name})
        for other, change in _ARRAYS.items():
            changed = tensors | {name: np.ascontiguousarray(change(tensors[name]))}
            yield f"{name} {other}", save(changed)
    (length,) = struct.unpack_from("<Q", content)
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    first = next(name for name in header if name != "__metadata__")
    for field, entry in header[first].items():
        for value in ODD_VALUES:
            wrong = header | {first: header[first] | {field: value}}
            yield f"{first}.{field} = {short(value)}", _packed(json.dumps(wrong).encode(), data)
        yield (
            f"{first} without {field}",
            _packed(
                json.dumps(header | {first: {k: v for k, v in header[first].items() if v is not entry}}).encode(), data
            ),
        )
    for dtype in ("BF16", "F16", "F64", "I32", "U8", "F8_E5M2", "BOOL", "F4", "C64", "x"):
        # Twice the length, or half of it: the entry fits its own bytes.
        yield f"all {dtype}", _packed(json.dumps(header).replace('"F32"', f'"{dtype}"').encode(), data)
    halved = {
        k: v if k == "__metadata__" else v | {"dtype": "BF16", "shape": _doubled(v["shape"])} for k, v in header.items()
    }
    yield "all BF16, twice as wide", _packed(json.dumps(halved).encode(), data)
    yield "bf16 of the right shape", _bf16(tensors)
    for text in (b"", b"{}", b"[]", b"null", b"[" * 100_000, b'{"x":' * 100_000, b"\xff", b"{" + b" " * 100_000 + b"}"):
        yield f"header {text[:9]!r} of {len(text)}", _packed(text, data)
    for said in (0, 1, 2**31, 2**32, 2**63, 2**64 - 1):
        yield f"a header said to have {said} bytes", struct.pack("<Q", said) + content[8:]
    for size in (0, 4, 8, 100, len(content) - 1):
        yield f"{size} bytes", content[:size]
    many = {f"x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(300_000)}
    yield "300,000 tensors more", _packed(json.dumps(header | many).encode(), data)


_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "NaN": lambda a: np.full_like(a, np.nan),
    "infinite": lambda a: np.full_like(a, np.inf),
    "zero": np.zeros_like,
    "times 10^30": lambda a: a * np.float32(1e30),
    "empty": lambda a: a[:0],
    "of one number": lambda a: a.reshape(-1)[0],
    "one axis more": lambda a: a[None],
    "cut": lambda a: a[:, :-1] if a.ndim > 1 else a[:-1],
    "twice": lambda a: np.concatenate([a, a]),
    "float64": lambda a: a.astype(np.float64),
    "float16": lambda a: a.astype(np.float16),
    "int32": lambda a: a.astype(np.int32),
    "bool": lambda a: a > 0,
    "transposed": lambda a: a.T,
}


def _bf16(tensors: dict[str, Any]) -> bytes:
    header: dict[str, Any] = {}
    parts, end = [], 0
    for name, array in tensors.items():
        bits = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [end, end + len(bits)]}
        parts.append(bits)
        end += len(bits)
    return _packed(json.dumps(header).encode(), b"".join(parts))


def _doubled(shape: list[int]) -> list[int]:
    return [*shape[:-1], 2 * shape[-1]] if shape else [2]


def _packed(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data
