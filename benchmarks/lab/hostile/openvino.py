"""openvino_model.xml and .bin with correct hashes and wrong contents, and a cache filled by a damaged bundle."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

import c2llm_lite
from c2llm_lite.errors import BundleError

from .crafted import TOLERANCE, file_case, flips, to
from .fixtures import OPENVINO, Fixtures
from .forks import Case
from .outcome import DifferentError, is_ours
from .tiny import TEXTS

PRELOAD: tuple[str, ...] = ("openvino", "openvino._offline_transformations")
XML, BIN = "openvino_model.xml", "openvino_model.bin"
FLIPS, ATTRIBUTES = 120, 150
ODD_ATTRIBUTES = ("", "x", "-1", "0", "1", "3", "2147483648", "18446744073709551615", "1e40", "nan", "..", "f64", "i4")


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    case = partial(file_case, fixtures=fixtures, target=OPENVINO, noticed="verify")
    whole = (fixtures.bundle(OPENVINO) / XML).read_text(encoding="utf-8")
    for name, text in _crafted(whole):
        content = text.encode()
        yield case(f"{XML}: {name}", to(content), file=XML)
    for number in range(ATTRIBUTES):
        yield case(f"{XML}: odd attribute {number}", partial(_odd_attribute, number), file=XML)
    for name, flip in flips(FLIPS, 0, None, seed=5):
        yield case(f"{XML}: {name}", flip, file=XML)
        yield case(f"{BIN}: {name}", flip, file=BIN)
    changes: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda _: b"",
        "cut": lambda content: content[:-64],
        "half": lambda content: content[: len(content) // 2],
        "longer": lambda content: content + bytes(64),
        "zeros": lambda content: bytes(len(content)),
        "ones": lambda content: b"\xff" * len(content),
    }
    for name, change in changes.items():
        yield case(f"{BIN}: {name}", change, file=BIN)
    for file in (BIN, XML):
        yield Case(f"a damaged {file} fills the cache", partial(_poison, fixtures, file))


def _crafted(whole: str) -> Iterator[tuple[str, str]]:
    yield "empty", ""
    yield "no XML", "x" * 1000
    yield "an empty net", '<?xml version="1.0"?><net name="x" version="11"><layers/><edges/></net>'
    yield "elements 100,000 deep", "<a>" * 100_000 + "</a>" * 100_000
    entities = '<!DOCTYPE net [<!ENTITY a "x">' + "".join(
        f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    )
    yield "entities that grow", whole.replace("<net", f"{entities}]>\n<net", 1).replace('name="', 'name="&j;', 1)
    yield "an outer entity", whole.replace("<net", '<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]><net', 1)
    yield "a name of 10 MB", whole.replace('name="', f'name="{"x" * 10_000_000}', 1)
    for version in ("0", "9", "10", "12", "-1", "x"):
        yield f"version {version}", re.sub(r'(<net [^>]*version=)"\d+"', rf'\1"{version}"', whole)
    for kind in ("MatMul", "Add", "Const", "Parameter", "Result", "ScaledDotProductAttention", "Concat"):
        for other in ("Loop", "If", "Assign", "x", "TensorIterator", "Parameter", "ReadValue", "NonZero"):
            if other != kind:
                yield f"the first {kind} is {other}", whole.replace(f'type="{kind}"', f'type="{other}"', 1)
    for attribute in ("offset", "size", "shape", "element_type"):
        for value in ODD_ATTRIBUTES:
            changed = re.sub(rf'(<data [^>]*\b{attribute}=)"[^"]*"', rf'\1"{value}"', whole, count=1)
            yield f"the first {attribute} = {value!r}", changed
            yield f"every {attribute} = {value!r}", re.sub(rf'(\b{attribute}=)"[^"]*"', rf'\1"{value}"', whole)
    for value in ODD_ATTRIBUTES:
        yield f"the first dim = {value!r}", re.sub(r"<dim>[^<]*</dim>", f"<dim>{value}</dim>", whole, count=1)
    yield "an edge to nowhere", re.sub(r'to-layer="\d+"', 'to-layer="99999"', whole, count=1)
    yield (
        "an edge to itself",
        re.sub(r'from-layer="(\d+)"([^>]*)to-layer="\d+"', r'from-layer="\1"\2to-layer="\1"', whole),
    )
    yield "no edges", re.sub(r"<edges>.*</edges>", "<edges/>", whole, flags=re.DOTALL)
    yield "every layer twice", re.sub(r"(<layers>)(.*)(</layers>)", r"\1\2\2\3", whole, flags=re.DOTALL)


def _odd_attribute(number: int, content: bytes) -> bytes:
    """One attribute or dimension anywhere, with another value."""
    draw = random.Random(number)
    text = content.decode()
    found = draw.choice(list(re.finditer(r'="([^"]*)"|<dim>([^<]*)</dim>', text)))
    group = 1 if found[1] is not None else 2
    value = draw.choice((*ODD_ATTRIBUTES, found[group] + "0", found[group][:-1]))
    return (text[: found.start(group)] + value + text[found.end(group) :]).encode()


def _poison(fixtures: Fixtures, file: str, scratch: Path) -> None:
    """A bundle is damaged (its size as before), loaded with the cache, repaired, and loaded again."""
    os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
    folder = shutil.copytree(fixtures.bundle(OPENVINO), scratch / "bundle")
    whole = (folder / file).read_bytes()
    if file == BIN:
        damaged = bytearray(whole)
        draw = random.Random(0)
        weights = _weights((folder / XML).read_text(encoding="utf-8"))
        for _ in range(1000):
            damaged[draw.choice(draw.choice(weights))] ^= 64
    else:
        damaged = bytearray(whole.replace(b'type="Sin"', b'type="Cos"', 1))
    (folder / file).write_bytes(damaged)
    try:
        with c2llm_lite.load(folder, threads=1) as model:
            model.embed("def")
    except Exception as error:
        if not is_ours(error):
            raise
    (folder / file).write_bytes(whole)
    try:
        with c2llm_lite.load(folder, threads=1) as model:
            found = model.embed(TEXTS)
    except BundleError:
        raise DifferentError("the repaired bundle is refused") from None
    if not np.allclose(found, fixtures.vectors(OPENVINO), atol=TOLERANCE):
        raise DifferentError("the repaired bundle gives the damaged one's vectors")


def _weights(xml: str) -> list[range]:
    """The places of 8-bit weights in the .bin: other constants are shapes, and damage to them is noticed at once."""
    found = re.finditer(r'<data element_type="[iu]8"[^>]* offset="(\d+)" size="(\d+)"', xml)
    return [range(int(match[1]), int(match[1]) + int(match[2])) for match in found]
