"""Vectors as OpenAI's API sends them, piece by piece: the body of a large request is never whole in memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from ..pma import Array
from .request import EncodingFormat

ROWS = 16  # in a piece


def pieces(vectors: Array, encoding_format: EncodingFormat, model: str, tokens: int) -> Iterator[bytes]:
    """The JSON body, in pieces. vectors: (n, d) float32."""
    yield b'{"object":"list","data":['
    for start in range(0, len(vectors), ROWS):
        rows = [
            f'{{"object":"embedding","index":{index},"embedding":{_encoded(row, encoding_format)}}}'
            for index, row in enumerate(vectors[start : start + ROWS], start)
        ]
        yield (("," if start else "") + ",".join(rows)).encode()
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    yield f'],"model":{json.dumps(model)},"usage":{json.dumps(usage)}}}'.encode()


def _encoded(row: Array, encoding_format: EncodingFormat) -> str:
    if encoding_format == "base64":
        return f'"{base64.b64encode(row.astype("<f4").tobytes()).decode()}"'
    # Nine digits give every float32 back exactly, in half the bytes that a float64 takes.
    return "[" + ",".join(["%.9g"] * len(row)) % tuple(row.tolist()) + "]"
