"""tokenizer.json with components outside byte-level BPE, excessive sizes, and odd JSON; at load and at convert."""

from __future__ import annotations

import base64
import json
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from c2llm_lite.convert import convert

from .crafted import ODD_VALUES, Noticed, file_case, flips, json_leaves, replaced, short, to
from .fixtures import GGUF, Fixtures
from .forks import Case

PRELOAD: tuple[str, ...] = ("llama_cpp.llama_cpp",)
FILE = "tokenizer.json"
FLIPS, ODD_LEAVES = 150, 250
MB = 1_000_000

# These have parts that byte-level BPE lacks, and are refused whatever vectors they give.
REFUSED: tuple[str, ...] = (
    "normalizer",
    "model",
    "pre_tokenizer Whitespace",
    "pre_tokenizer Metaspace",
    "pre_tokenizer Bert",
)
REFUSED += ("pre_tokenizer Punctuation", "pre_tokenizer Unicode", "pre_tokenizer Char", "BPE with dropout")
_REPLACE = {"type": "Replace", "pattern": {"String": "x"}, "content": "xx"}
NORMALIZERS: dict[str, Any] = {
    "Prepend of 1 MB x 50": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "x" * MB}] * 50},
    "Replace x by xx x 40": {"type": "Sequence", "normalizers": [_REPLACE] * 40},
    "Replace by a slow expression": {"type": "Replace", "pattern": {"Regex": "(a*)*b|(.*)*$"}, "content": ""},
    "Replace nothing by x": {"type": "Replace", "pattern": {"String": ""}, "content": "x"},
    "Precompiled, short": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(b"\1\0\0\0abc").decode()},
    "Precompiled, random": {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(b"\0\4\0\0" + random.Random(0).randbytes(4096)).decode(),
    },
    "Precompiled, empty": {"type": "Precompiled", "precompiled_charsmap": ""},
    "Lowercase": {"type": "Lowercase"},
    "NFKC": {"type": "NFKC"},
    "NFD": {"type": "NFD"},
    "Strip": {"type": "Strip", "strip_left": True, "strip_right": True},
    "StripAccents": {"type": "StripAccents"},
    "Nmt": {"type": "Nmt"},
    "ByteLevel": {"type": "ByteLevel"},
    "BertNormalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "Prepend x": {"type": "Prepend", "prepend": "x"},
    "an empty sequence": {"type": "Sequence", "normalizers": []},
    "NFC x 100,000": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 100_000},
}
_SPLIT = {"type": "Split", "pattern": {"Regex": "x"}, "behavior": "Isolated", "invert": False}
PRE_TOKENIZERS: dict[str, Any] = {
    "Whitespace": {"type": "Whitespace"},
    "WhitespaceSplit": {"type": "WhitespaceSplit"},
    "Metaspace": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True},
    "BertPreTokenizer": {"type": "BertPreTokenizer"},
    "Punctuation": {"type": "Punctuation", "behavior": "Removed"},
    "UnicodeScripts": {"type": "UnicodeScripts"},
    "CharDelimiterSplit": {"type": "CharDelimiterSplit", "delimiter": "e"},
    "FixedLength 0": {"type": "FixedLength", "length": 0},
    "none": None,
    "Split by a slow expression": {
        "type": "Sequence",
        "pretokenizers": [_SPLIT | {"pattern": {"Regex": r"(\w*)*(\s*\w*)*[^\x00-\U0010ffff]"}}],
    },
    "Split by look-behind": {**_SPLIT, "pattern": {"Regex": "(?<=a*)b"}},
    "Split by back-references": {**_SPLIT, "pattern": {"Regex": r"((((((.*)*)*)*)*)*)\1\2\3\4!"}},
    "Split x 50,000": {"type": "Sequence", "pretokenizers": [_SPLIT] * 50_000},
    "Split by 5 MB": {**_SPLIT, "pattern": {"Regex": "(a|b)" * MB}},
    "Split by nested groups": {**_SPLIT, "pattern": {"Regex": "(" * 100_000 + ")" * 100_000}},
    "Split by nested counts": {**_SPLIT, "pattern": {"Regex": "(((a{1,9999}){1,9999}){1,9999}){1,9999}"}},
}
POST_PROCESSORS: dict[str, Any] = {
    "TemplateProcessing without its token": {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {},
    },
    "TemplateProcessing of sequence B": {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "B", "type_id": 0}}],
        "pair": [],
        "special_tokens": {},
    },
    "TemplateProcessing, A x 100,000": {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 100_000,
        "pair": [],
        "special_tokens": {},
    },
    "BertProcessing": {"type": "BertProcessing", "sep": ["x", 2**31], "cls": ["y", 2**32 - 1]},
    "RobertaProcessing": {
        "type": "RobertaProcessing",
        "sep": ["x", 1],
        "cls": ["y", 2],
        "trim_offsets": True,
        "add_prefix_space": False,
    },
}
MODELS: dict[str, Any] = {
    "WordLevel": {"type": "WordLevel", "vocab": {"?": 0, "def": 1}, "unk_token": "?"},
    "WordPiece": {
        "type": "WordPiece",
        "unk_token": "?",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"?": 0},
    },
    "Unigram": {"type": "Unigram", "unk_id": 0, "vocab": [["?", 0.0], ["a", -1.0]], "byte_fallback": False},
    "Unigram without an unknown": {"type": "Unigram", "unk_id": 9, "vocab": [["a", -1.0]], "byte_fallback": True},
    "Unigram, empty": {"type": "Unigram", "unk_id": None, "vocab": [], "byte_fallback": False},
}


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    case = partial(file_case, fixtures=fixtures, target=GGUF, file=FILE)
    whole: dict[str, Any] = json.loads((fixtures.bundle(GGUF) / FILE).read_text(encoding="utf-8"))
    for name, text in _crafted(whole):
        content = text.encode("utf-8", "surrogatepass")
        # What is still byte-level BPE is another model's tokenizer: only the probes can tell.
        noticed: Noticed = "load" if name.startswith(REFUSED) else "verify"
        yield case(f"load: {name}", to(content), noticed=noticed)
        yield Case(f"convert: {name}", partial(_convert, fixtures, content))
    paths = list(json_leaves(whole))
    draw = random.Random(3)
    for number in range(ODD_LEAVES):
        path, value = draw.choice(paths), draw.choice(ODD_VALUES)
        wrong = json.dumps(replaced(whole, path, value)).encode()
        name = f"odd value {number}: {'.'.join(map(str, path))[:40]} = {short(value)}"
        yield case(name, to(wrong), noticed="verify")
    for name, flip in flips(FLIPS, 0, None, seed=3):
        yield case(name, flip, noticed="verify")


def _convert(fixtures: Fixtures, content: bytes, scratch: Path) -> None:
    """Converts the checkpoint with this tokenizer, its probes run as ever."""
    source = shutil.copytree(fixtures.checkpoint, scratch / "checkpoint")
    (source / FILE).write_bytes(content)
    convert(source, scratch / "bundle", GGUF, target_probes=False)


def _crafted(whole: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for part, choices in (
        ("normalizer", NORMALIZERS),
        ("pre_tokenizer", PRE_TOKENIZERS),
        ("post_processor", POST_PROCESSORS),
        ("model", MODELS),
    ):
        for name, value in choices.items():
            yield f"{part} {name}", json.dumps(whole | {part: value})
    depth = 5_000
    deep = '{"type": "Sequence", "pretokenizers": [' * depth + "]}" * depth
    yield (
        "pre_tokenizer sequences nested 5,000 deep",
        json.dumps(whole | {"pre_tokenizer": "@"}).replace('"@"', deep),
    )
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    many = [token | {"id": 400 + i, "content": f"<{i}>"} for i in range(200_000)]
    yield "200,000 added tokens", json.dumps(whole | {"added_tokens": many})
    normalized = [token | {"normalized": True, "id": 400 + i, "content": f"<{i}>"} for i in range(20_000)]
    yield "20,000 added tokens, normalized", json.dumps(whole | {"added_tokens": normalized})
    for name, content in (("of 1 MB", "x" * MB), ("empty", ""), ("of one letter", "e"), ("NUL", "\0")):
        added = [token | {"id": 0, "content": content}]
        yield f"an added token {name}", json.dumps(whole | {"added_tokens": added})
    for id_ in (2**31, 2**32 - 1, 399, 5):
        added = [token | {"id": id_, "content": "def", "special": False}]
        yield f"an added token with id {id_}", json.dumps(whole | {"added_tokens": added})
    stripping = [token | {"id": 0, "content": "def", "lstrip": True, "rstrip": True}]
    yield "an added token that strips", json.dumps(whole | {"added_tokens": stripping})
    model = whole["model"]
    for name, changed in (
        ("no merges", {"merges": []}),
        ("merges of unknown words", {"merges": [["q", "qqq"]]}),
        ("an empty vocabulary", {"vocab": {}, "merges": []}),
        ("one id for all", {"vocab": dict.fromkeys(model["vocab"], 0)}),
        ("an id of 2^32 - 1", {"vocab": model["vocab"] | {"q": 2**32 - 1}}),
        ("an id beyond the backbone's rows", {"vocab": {word: 10_000 + i for word, i in model["vocab"].items()}}),
        ("dropout 1", {"dropout": 1.0}),
        ("dropout 0.5", {"dropout": 0.5}),
        ("an unknown token", {"unk_token": "?", "fuse_unk": True}),
        ("a prefix of 1 MB", {"continuing_subword_prefix": "x" * MB}),
        ("a suffix of 1 MB", {"end_of_word_suffix": "x" * MB}),
        ("byte fallback", {"byte_fallback": True}),
        ("whole words", {"ignore_merges": True}),
        ("a vocabulary of a million", {"vocab": model["vocab"] | {f"{i:x}": 1000 + i for i in range(MB)}}),
    ):
        yield f"BPE with {name}", json.dumps(whole | {"model": model | changed})
    direction = {"direction": "Right", "stride": 0, "strategy": "LongestFirst", "max_length": 2}
    yield "truncation", json.dumps(whole | {"truncation": direction})
    yield "truncation with a stride too long", json.dumps(whole | {"truncation": direction | {"stride": 99}})
    padding: dict[str, Any] = {"strategy": {"Fixed": 2**40}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "x"}
    yield "padding to 2^40", json.dumps(whole | {"padding": padding})
    for decoder in ({"type": "Fuse"}, {"type": "WordPiece", "prefix": "#", "cleanup": True}, {"type": "x"}, 5):
        yield f"decoder {short(decoder)}", json.dumps(whole | {"decoder": decoder})
    for text in ("", "{}", "[]", "null", "[" * 100_000, '{"x":' * 100_000, "\ud800", '{"version": "9"}'):
        yield f"text {short(text)} of {len(text)}", text
