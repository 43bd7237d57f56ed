"""Rows of which some cannot be embedded: the others get their vectors, and these a reason, so that no job stops."""

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

# Of texts tokenized at a time: some 300,000 tokens of code, which fill hundreds of packs (embed() packs by tokens), so
# that the last, part-full one costs nothing; and token ids in Python's lists take about 10 bytes a character, so that
# very long texts do not fill the memory.
GROUP_CHARACTERS = 1 << 20


class Embedded(NamedTuple):
    """vectors: (kept, d), of the texts at the indices `kept`. left_out: why, by index, for every other text."""

    vectors: NDArray[Any]
    kept: list[int]
    left_out: dict[int, str]


def checked_prompt(bundle: Bundle, prompt_name: str | None, prompt: str | None, dim: int | None, precision: str) -> str:
    """The prefix asked for. Raises ValueError for what embed() would refuse, before any machine loads the bundle."""
    vectors.check(dim, precision, bundle.manifest.width)
    return choose_prompt(bundle.manifest.prompts, prompt_name, prompt)


def embed_rows(
    model: Embedder, texts: Sequence[object], *, prompt: str = "", dim: int | None = None, precision: Precision
) -> Embedded:
    """Vectors of what can be embedded, in the texts' order, as Embedder.embed() gives them.

    texts: anything; one that is not a string, is empty without a prompt or is not valid Unicode is left out, and so is
    one that could not be read, in whose place its TextError stands.
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
    """An Arrow array's values; a TextError in place of a string that is not UTF-8, which Arrow does not check."""
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
    """Indices of neighbors that hold about GROUP_CHARACTERS together."""
    start = held = 0
    for i, text in enumerate(texts):
        held += len(text) if isinstance(text, str) else 0
        if held >= GROUP_CHARACTERS:
            yield range(start, i + 1)
            start, held = i + 1, 0
    if start < len(texts):
        yield range(start, len(texts))


def unfit(model: Embedder, texts: Sequence[object], group: range, prompt: str) -> dict[int, str]:
    """Why, by index, for each text of the group that embed() would refuse. Tokenizing is a hundredth of the work."""
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
