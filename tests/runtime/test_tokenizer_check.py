"""A tokenizer.json may only contain bounded byte-level BPE: other components crash or hang the library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import tokenizer_json, write_checkpoint

from c2llm_lite import bundle as bundles
from c2llm_lite import load, tokenizer_check
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.errors import BundleError, CheckpointError
from c2llm_lite.text import TextTokenizer
from c2llm_lite.tokenizer_check import WORD_PATTERNS, check_tokenizer

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def added(content: str, number: int = 0) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": number, "content": content} | flags


def split(pattern: Any) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def sequence(*steps: Any) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def nested(depth: int) -> dict[str, Any]:
    return json.loads('{"type": "Sequence", "pretokenizers": [' * depth + json.dumps(BYTES) + "]}" * depth)


REFUSED: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (
        lambda d: d.update(normalizer={"type": "Prepend", "prepend": "x" * 100}),
        "normalizer 'Prepend' is not one of NFC",
    ),
    (
        lambda d: d.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "normalizer 'Precompiled'",
    ),
    (
        lambda d: d.update(
            normalizer={
                "type": "Sequence",
                "normalizers": 40 * [{"type": "Replace", "pattern": {"String": "x"}, "content": "xx"}],
            }
        ),
        "normalizer Sequence is not a list of at most 8",
    ),
    (lambda d: d.update(normalizer={"type": "Replace"}), "normalizer 'Replace'"),
    (lambda d: d.update(normalizer={"type": ["NFC"]}), "normalizer "),
    (lambda d: d.update(normalizer={"type": "x" * 10_000}), "normalizer 'x"),
    (lambda d: d.update(normalizer="NFC"), "normalizer None"),
    (lambda d: d.update(normalizer={"type": "NFC", "more": 1}), "unknown field, 'more'"),
    (lambda d: d.update(pre_tokenizer=None), "does not have one ByteLevel"),
    (lambda d: d.update(pre_tokenizer=sequence(BYTES, BYTES)), "does not have one ByteLevel"),
    (lambda d: d.update(pre_tokenizer=nested(2)), "pre_tokenizer 'Sequence' is not one of"),
    (lambda d: d.update(pre_tokenizer={"type": "Metaspace"}), "pre_tokenizer 'Metaspace' is not one of Split, Digits"),
    (lambda d: d.update(pre_tokenizer=sequence(split({"Regex": "(a+)+$"}), BYTES)), "its Split has a pattern other"),
    (lambda d: d.update(pre_tokenizer=sequence(split({"String": "x"}), BYTES)), "its Split has a pattern other"),
    (lambda d: d.update(pre_tokenizer=sequence(split({"Regex": ["x"]}), BYTES)), "its Split has a pattern other"),
    (lambda d: d.update(decoder={"type": "CTC"}), "decoder 'CTC' is not one of ByteLevel"),
    (lambda d: d.update(post_processor={"type": "BertProcessing"}), "post_processor 'BertProcessing' is not one of"),
    (
        lambda d: d.update(post_processor={"type": "TemplateProcessing", "single": 5000 * [{}]}),
        "TemplateProcessing is too long",
    ),
    (lambda d: d.update(added_tokens=[added("x" * 1_000_000)]), "an added token is not a text of 1 to 1024"),
    (lambda d: d.update(added_tokens=[added("")]), "an added token is not a text"),
    (
        lambda d: d.update(added_tokens=[added(f"a{i}", i) for i in range(5000)]),
        "added_tokens are not a list of at most",
    ),
    (lambda d: d.update(added_tokens=[added("a", -1)]), "added token's id is not an integer"),
    (lambda d: d.update(added_tokens=[added("a", True)]), "added token's id is not an integer"),
    (lambda d: d.update(added_tokens={}), "added_tokens are not a list"),
    (lambda d: d["model"].update(type="WordLevel"), "model 'WordLevel' is not BPE"),
    (lambda d: d.update(model=None), "model None is not BPE"),
    (lambda d: d["model"].update(dropout=0.5), "model has dropout 0.5"),
    (lambda d: d["model"].update(continuing_subword_prefix="##"), "continuing_subword_prefix '##'"),
    (lambda d: d["model"]["vocab"].update(a=2**40), "vocab is not an integer"),
    (lambda d: d["model"]["vocab"].update(a=1.5), "vocab is not an integer"),
    (lambda d: d["model"]["vocab"].update({"x" * 5000: 1}), "vocab has a token of more than 1024"),
    (lambda d: d["model"].update(merges=None), "lacks a vocab or merges"),
    (lambda d: d["model"].update(more=1), "model has an unknown field, 'more'"),
    (lambda d: d.update(more=1), "the file has an unknown field, 'more'"),
    (lambda d: d.update(truncation=["x" * 10_000]), "its truncation is too long"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_byte_level_bpe_does_not_need_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    data = json.loads(tokenizer_json())
    change(data)
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match=message) as error:
        TextTokenizer(tmp_path / "tokenizer.json", 99)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff\xfe{",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"normalizer": null, "normalizer": null}',
        b'{"version": ' + b"1" * 10_000 + b"}",
        b" " * (65 << 20),
    ],
)
def test_a_file_that_is_not_such_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(BundleError, match="is not a byte-level BPE tokenizer"):
        TextTokenizer(tmp_path / "tokenizer.json", 99)


def test_a_repeated_key_is_refused_though_the_last_value_is_fine() -> None:
    harmless = tokenizer_json()
    with pytest.raises(ValueError, match="a key occurs twice"):
        check_tokenizer(harmless.replace('"normalizer"', '"normalizer": {"type": "Prepend"}, "normalizer"', 1).encode())


@pytest.mark.parametrize("pattern", WORD_PATTERNS)
def test_the_patterns_of_known_models_are_taken(tmp_path: Path, pattern: str) -> None:
    data = json.loads(tokenizer_json())
    bytes_alone = BYTES | {"use_regex": False}
    data["pre_tokenizer"] = sequence(
        {"type": "Digits", "individual_digits": True}, split({"Regex": pattern}), bytes_alone
    )
    data["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
    data["post_processor"] = data["decoder"] = BYTES
    data["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": "", "unk_token": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    assert TextTokenizer(tmp_path / "tokenizer.json", 99).encode(["def f(x):\n    return 123\n"])


def test_a_panic_of_the_library_is_an_error_of_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    class Panics:
        def __getattr__(self, name: str) -> Any:
            raise PanicException("index out of bounds")

    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    tokenizer = TextTokenizer(tmp_path / "tokenizer.json", 99)
    tokenizer._tokenizer = Panics()  # type: ignore[assignment]
    with pytest.raises(BundleError, match="tokenizer failed: index out of bounds"):
        tokenizer.encode(["text"])
    monkeypatch.setattr("c2llm_lite.text.Tokenizer", Panics())
    with pytest.raises(BundleError, match="the tokenizers library cannot read this tokenizer"):
        TextTokenizer(tmp_path / "tokenizer.json", 99)


def test_convert_and_load_refuse_alike(f32_bundle: Path, tmp_path: Path) -> None:
    data = json.loads(tokenizer_json())
    data["normalizer"] = {"type": "Lowercase"}
    source = write_checkpoint(tmp_path / "source")
    (source / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=r"source: tokenizer\.json .* normalizer 'Lowercase' is not one of NFC"):
        open_checkpoint(source)
    folder = shutil.copytree(f32_bundle, tmp_path / "bundle")
    (folder / "tokenizer.json").write_text(json.dumps(data))
    bundles.seal(folder, bundles.open_bundle(f32_bundle).manifest)
    with pytest.raises(BundleError, match="normalizer 'Lowercase' is not one of NFC"):
        load(folder)


# What has passed is remembered.


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents that are checked; the cache is in tmp_path / "cache"."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found: list[bytes] = []

    def check(content: bytes) -> None:
        found.append(content)
        check_tokenizer(content)

    monkeypatch.setattr(tokenizer_check, "check_tokenizer", check)
    return found


def test_a_bundles_tokenizer_is_checked_once(
    f32_bundle: Path, checks: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        load(f32_bundle, threads=1).close()
    assert len(checks) == 1
    load(f32_bundle, threads=1, cache=False).close()
    assert len(checks) == 2
    monkeypatch.setattr(tokenizer_check, "RULES", tokenizer_check.RULES + 1)
    load(f32_bundle, threads=1).close()
    assert len(checks) == 3


def test_only_what_has_passed_is_remembered(tmp_path: Path, checks: list[bytes]) -> None:
    path = tmp_path / "tokenizer.json"
    for content in (tokenizer_json(), '{"pre_tokenizer": null}', tokenizer_json() + " "):
        path.write_text(content)
        for _ in range(2):
            if "null}" in content:
                with pytest.raises(BundleError, match="does not have one ByteLevel"):
                    TextTokenizer(path, 99, remember=True)
            else:
                TextTokenizer(path, 99, remember=True)
    assert len(checks) == 4
    assert len(list((tmp_path / "cache").rglob("*"))) == 5  # three folders and two names


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, checks: list[bytes]) -> None:
    (tmp_path / "cache").write_text("a file where a folder is due")
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    for _ in range(2):
        TextTokenizer(tmp_path / "tokenizer.json", 99, remember=True)
    assert len(checks) == 2


def test_convert_trusts_no_cache(tmp_path: Path, checks: list[bytes], checkpoint_folder: Path) -> None:
    TextTokenizer(checkpoint_folder / "tokenizer.json", 99, remember=True)
    open_checkpoint(checkpoint_folder)
    assert len(checks) == 2
    assert list((tmp_path / "cache").rglob("*")) != []
