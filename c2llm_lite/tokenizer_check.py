"""Checks a tokenizer.json before the tokenizers library reads it: byte-level BPE, bounded in size and count.

The library aborts, hangs or panics on some components and sizes. A byte-level BPE tokenizer needs few of them; all
others are refused by name.

Parsing the file in Python takes a quarter of the time in which a small model loads. So load() remembers which files
have passed, by their sha256, in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .cache import cache_folder
from .errors import ArgumentError

Json = dict[str, Any]
RULES = 1  # raise it when anything that passed is to be refused: files are checked again
MOST_BYTES = 64 << 20  # Qwen2.5's file has 7 MB
MOST_TOKENS = 1 << 20
MOST_ADDED = 4096
LONGEST_TOKEN = 1024  # characters
MOST_STEPS = 8  # of a sequence
_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
# Other patterns may take exponential time in a regular expression engine that backtracks.
WORD_PATTERNS = {
    f"{_CONTRACTIONS}| ?\\p{{L}}+| ?\\p{{N}}+| ?[^\\s\\p{{L}}\\p{{N}}]+|\\s+(?!\\S)|\\s+": "GPT-2",
    **{
        f"(?i:{_CONTRACTIONS})|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|{digits}| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*"
        "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+": name
        for digits, name in (("\\p{N}", "Qwen2"), ("\\p{N}{1,3}", "Llama 3"))
    },
}
_BYTE_LEVEL = {"add_prefix_space", "trim_offsets", "use_regex"}
# Components, by the field that holds them, with the fields that each may have beside its type.
_COMPONENTS: dict[str, dict[str, set[str]]] = {
    "normalizer": {"NFC": set()},
    "pre_tokenizer": {
        "Split": {"pattern", "behavior", "invert"},
        "Digits": {"individual_digits"},
        "ByteLevel": _BYTE_LEVEL,
    },
    "post_processor": {"ByteLevel": _BYTE_LEVEL, "TemplateProcessing": {"single", "pair", "special_tokens"}},
    "decoder": {"ByteLevel": _BYTE_LEVEL},
}
_SEQUENCES = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "post_processor": "processors"}
_MODEL_FLAGS = {"fuse_unk", "byte_fallback", "ignore_merges"}
_MODEL_EMPTY = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}


def read_tokenizer(path: Path, *, remember: bool = False) -> bytes:
    """A tokenizer.json's content. Raises ValueError as check_tokenizer, and OSError.

    remember: a content that has passed before is not checked again, and one that passes now is noted in the cache.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if not remember:
        check_tokenizer(content)
        return content
    mark = Path("tokenizers") / f"rules-{RULES}" / hashlib.sha256(content).hexdigest()
    with contextlib.suppress(OSError):  # a cache that cannot be read or written only costs time
        if (cache_folder() / mark).is_file():
            return content
    check_tokenizer(content)
    with contextlib.suppress(OSError):
        passed = cache_folder() / mark
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()  # empty: it is there or not, and no process reads half of it
    return content


def check_tokenizer(content: bytes) -> None:
    """Raises ValueError, naming what is not byte-level BPE or too large, for a tokenizer.json's content."""
    if len(content) > MOST_BYTES:
        raise ArgumentError(f"it has more than {MOST_BYTES:,} bytes")
    try:
        data = json.loads(content, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ArgumentError("it is nested too deeply") from None
    _check_fields("the file", data, {"version", "truncation", "padding", "added_tokens", "model", *_COMPONENTS})
    for field in ("truncation", "padding"):  # not used
        _check_small(field, data.get(field))
    for field in _COMPONENTS:
        _check_component(field, data.get(field))
    _check_added(data.get("added_tokens"))
    _check_model(data.get("model"))


def _check_component(field: str, component: Any) -> None:
    kinds = []
    for step in _steps(field, component):
        kind = step.get("type") if isinstance(step, dict) else None
        if not isinstance(kind, str) or kind not in _COMPONENTS[field]:
            raise ArgumentError(f"its {field} {_name(kind)} is not one of {', '.join(_COMPONENTS[field])}")
        _check_fields(f"its {field} {kind}", step, {"type"} | _COMPONENTS[field][kind])
        if kind == "Split":
            pattern = step.get("pattern")
            if not isinstance(pattern, dict) or set(pattern) != {"Regex"} or pattern["Regex"] not in [*WORD_PATTERNS]:
                known = ", ".join(WORD_PATTERNS.values())
                raise ArgumentError(f"its Split has a pattern other than those of {known}")
        elif kind == "TemplateProcessing":
            _check_small(kind, step.get("single"), step.get("pair"), step.get("special_tokens"))
        kinds.append(kind)
    if field == "pre_tokenizer" and kinds.count("ByteLevel") != 1:
        raise ArgumentError("its pre_tokenizer does not have one ByteLevel")


def _steps(field: str, component: Any) -> list[Any]:
    if component is None:
        return []
    if not isinstance(component, dict) or component.get("type") != "Sequence" or field not in _SEQUENCES:
        return [component]
    steps = component.get(_SEQUENCES[field])
    _check_fields(f"its {field} Sequence", component, {"type", _SEQUENCES[field]})
    if not isinstance(steps, list) or len(steps) > MOST_STEPS:
        raise ArgumentError(f"its {field} Sequence is not a list of at most {MOST_STEPS}")
    return steps


def _check_added(tokens: Any) -> None:
    if not isinstance(tokens, list) or len(tokens) > MOST_ADDED:
        raise ArgumentError(f"its added_tokens are not a list of at most {MOST_ADDED}")
    for token in tokens:
        flags = {"single_word", "lstrip", "rstrip", "normalized", "special"}
        _check_fields("an added token", token, {"id", "content"} | flags)
        content = token.get("content")
        if not isinstance(content, str) or not 0 < len(content) <= LONGEST_TOKEN:
            raise ArgumentError(f"an added token is not a text of 1 to {LONGEST_TOKEN} characters")
        _check_ids("an added token's id", [token.get("id")])


def _check_model(model: Any) -> None:
    if not isinstance(model, dict) or model.get("type") != "BPE":
        raise ArgumentError(f"its model {_name(model.get('type') if isinstance(model, dict) else model)} is not BPE")
    _check_fields("its model", model, {"type", "unk_token", "vocab", "merges"} | _MODEL_FLAGS | _MODEL_EMPTY)
    for field in _MODEL_EMPTY:
        if model.get(field) not in (None, "", 0):
            raise ArgumentError(f"its model has {field} {_name(model[field])}")
    _check_small("unk_token", model.get("unk_token"))
    vocab, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocab, dict) or not isinstance(merges, list):
        raise ArgumentError("its model lacks a vocab or merges")
    if max(len(vocab), len(merges)) > MOST_TOKENS:
        raise ArgumentError(f"its vocab or merges have more than {MOST_TOKENS:,} entries")
    if max(map(len, vocab), default=0) > LONGEST_TOKEN:
        raise ArgumentError(f"its vocab has a token of more than {LONGEST_TOKEN} characters")
    _check_ids("its vocab", vocab.values())


def _check_ids(what: str, ids: Collection[Any]) -> None:
    if set(map(type, ids)) - {int} or not 0 <= min(ids, default=0) <= max(ids, default=0) < 2**31:
        raise ArgumentError(f"{what} is not an integer from 0 to 2^31")


def _check_fields(what: str, found: Any, known: set[str]) -> None:
    if not isinstance(found, Mapping):
        raise ArgumentError(f"{what} is not an object")
    if unknown := set(found) - known:
        raise ArgumentError(f"{what} has an unknown field, {_name(min(unknown))}")


def _check_small(what: str, *values: Any) -> None:
    if len(json.dumps(values)) > 4 * LONGEST_TOKEN:
        raise ArgumentError(f"its {what} is too long")


def _without_repeats(pairs: list[tuple[str, Any]]) -> Json:
    """Of a repeated key the tokenizers library may take another value than the json module."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ArgumentError("a key occurs twice in one object")
    return found


def _name(value: Any) -> str:
    """A short form of a value that may be anything, for an error."""
    return f"{value!a:.60}"
