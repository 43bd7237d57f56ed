"""Embeds rows. Rows that cannot be embedded get a reason instead of stopping the job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import vectors
from ..bundle import Bundle
from ..embedder import Embedder
from ..errors import TextError
from ..text import choose_prompt
from ..vectors import Precision

# Characters of texts tokenized at a time: some 300,000 tokens of code, which fill hundreds of packs (embed() packs by
# tokens), so that the partly empty last one costs nothing. Token ids in Python lists take about 10 bytes per character,
# so that very long texts do not exhaust the memory.
GROUP_CHARACTERS = 1 << 20


class Embedded(NamedTuple):
    """vectors: (kept, d), of the texts at the indices `kept`. left_out: the reason, by index, of every other text."""

    vectors: NDArray[Any]
    kept: list[int]
    left_out: dict[int, str]


def checked_prompt(bundle: Bundle, prompt_name: str | None, prompt: str | None, dim: int | None, precision: str) -> str:
    """The selected prefix. Raises ArgumentError for what embed() would refuse, before any machine loads the bundle."""
    vectors.check(dim, precision, bundle.manifest.width)
    return choose_prompt(bundle.manifest.prompts, prompt_name, prompt)


def embed_rows(
    model: Embedder, texts: Sequence[object], *, prompt: str = "", dim: int | None = None, precision: Precision
) -> Embedded:
    """Vectors of the texts that can be embedded, in order, as Embedder.embed() returns them.

    texts: any values. Those that are not strings, empty without a prompt, or not valid Unicode are skipped, and so are
    TextErrors in place of texts that could not be read.
    """
    left_out: dict[int, str] = {}
    found = [model.embed([], prompt=prompt, dim=dim, precision=precision)]  # (0, d), of the right type
    for group in _groups(texts):
        left_out |= unfit(model, texts, group, prompt)
        fit = [text for i in group if i not in left_out and isinstance(text := texts[i], str)]
        found.append(model.embed(fit, prompt=prompt, dim=dim, precision=precision))
    kept = [i for i in range(len(texts)) if i not in left_out]
    return Embedded(np.concatenate(found), kept, left_out)


def values(column: Any) -> list[object]:
    """An Arrow array's values. Strings that are not UTF-8, which Arrow does not check, become TextErrors."""
    try:
        listed: list[object] = column.to_pylist()
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]
    return listed


def _value(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return TextError(f"is not valid Unicode: not UTF-8 at byte {error.start}")


def _groups(texts: Sequence[object]) -> Iterator[range]:
    """Indices of neighbors with about GROUP_CHARACTERS together."""
    start = held = 0
    for i, text in enumerate(texts):
        held += len(text) if isinstance(text, str) else 0
        if held >= GROUP_CHARACTERS:
            yield range(start, i + 1)
            start, held = i + 1, 0
    if start < len(texts):
        yield range(start, len(texts))


def unfit(model: Embedder, texts: Sequence[object], group: range, prompt: str) -> dict[int, str]:
    """The reason, by index, of each text of the group that embed() would refuse. Tokenizing is 1% of the work."""
    if _refusal(model, [texts[i] for i in group], prompt) is None:
        return {}
    reasons = {i: _refusal(model, [texts[i]], prompt) for i in group}
    return {i: reason.removeprefix("text 0 ") for i, reason in reasons.items() if reason is not None}


def _refusal(model: Embedder, texts: list[Any], prompt: str) -> str | None:
    unread = next((text for text in texts if isinstance(text, TextError)), None)
    if unread is not None:
        return str(unread)
    try:
        model.tokenize(texts, prompt=prompt)
    except TextError as error:
        return str(error)
    return None
