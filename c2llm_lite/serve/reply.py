"""Writes vectors in the format of OpenAI's API, in pieces, so that a large body is never whole in memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from ..pma import Array
from .request import EncodingFormat

ROWS = 16  # per piece


def pieces(vectors: Array, encoding_format: EncodingFormat, model: str, tokens: int) -> Iterator[bytes]:
    """The JSON body, in pieces. vectors: (n, d) float32."""
    yield b'{"object":"list","data":['
    for start in range(0, len(vectors), ROWS):
        rows = [
            f'{{"object":"embedding","index":{index},"embedding":{_encoded(row, encoding_format)}}}'
            for index, row in enumerate(vectors[start : start + ROWS], start)
        ]
        yield (("," if start else "") + ",".join(rows)).encode()
    usage = f'{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}'
    yield f'],"model":{json.dumps(model)},"usage":{usage}}}'.encode()


def _encoded(row: Array, encoding_format: EncodingFormat) -> str:
    if encoding_format == "base64":
        return f'"{base64.b64encode(row.astype("<f4").tobytes()).decode()}"'
    # Nine digits restore every float32 exactly, in half the bytes of a float64's.
    return "[" + ",".join(["%.9g"] * len(row)) % tuple(row.tolist()) + "]"
