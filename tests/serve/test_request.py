"""Valid request bodies, and the responses to invalid ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2llm_lite.serve import json_fields
from c2llm_lite.serve.failures import ApiError
from c2llm_lite.serve.request import Offer, parse

OFFER = Offer("m", 16, {"query": "q:", "document": "d:", "CosQA-query": "c:"}, vocab=100, max_tokens=10)
IDS = Offer("m", 16, OFFER.prompts, vocab=100, max_tokens=10, token_ids=True)


def body(**fields):
    return json.dumps({"model": "m", "input": "x"} | fields).encode()


def test_a_string_and_a_list():
    assert parse(body(), OFFER).texts == ["x"]
    asked = parse(body(input=["a", "b"], dimensions=4, encoding_format="base64", user="u"), OFFER)
    assert (asked.texts, asked.dim, asked.encoding_format, asked.prompt_name) == (["a", "b"], 4, "base64", None)
    assert parse(body(dimensions=4.0), OFFER).dim == 4
    nothing = parse(body(dimensions=None, encoding_format=None, user=None, prompt_name=None), OFFER)
    assert (nothing.dim, nothing.encoding_format) == (16, "float")


def test_unknown_fields_that_are_null_are_skipped():
    assert parse(body(instruction=None, truncate=None), OFFER).texts == ["x"]
    assert parse(b'{"a":null,"model":"m","b": null , "input":"x"}', OFFER).texts == ["x"]


WHITE = st.sampled_from(["", " ", "\n\t", "\r\n "])
INPUT = st.one_of(st.text(), st.lists(st.text()), st.lists(st.integers()), st.lists(st.lists(st.integers())))
KNOWN = {"input": INPUT, "model": st.text(), "dimensions": st.one_of(st.none(), st.integers(), st.floats(-1e9, 1e9))}


@given(st.fixed_dictionaries({}, optional=KNOWN), WHITE, WHITE, st.booleans())
def test_what_is_read_is_what_json_reads(fields, before, after, ascii_only):
    separators = (f"{before},{after}", f"{after}:{before}")
    text = before + json.dumps(fields, separators=separators, ensure_ascii=ascii_only) + after
    assert json_fields.read(text, list(KNOWN), items=1000) == json.loads(text) == fields


@given(st.text(alphabet='{}[]",:1-nul e\\', max_size=30))
def test_what_json_refuses_is_refused(text):
    try:
        found = json_fields.read(text, ["", "n", "l"], items=1000)
    except (ValueError, ApiError):
        return
    assert {name: value for name, value in json.loads(text).items() if name in {"", "n", "l"}} == found


def test_prompts_by_field_and_by_alias():
    assert parse(body(prompt_name="CosQA-query"), OFFER).prompt_name == "CosQA-query"
    assert parse(body(model="m:query"), OFFER).prompt_name == "query"
    assert parse(body(model="m:document"), OFFER).prompt_name == "document"
    assert parse(body(model="m:document", prompt_name="query"), OFFER).prompt_name == "query"


def test_token_ids_where_they_are_accepted():
    assert parse(body(input=[1, 2, 3]), IDS).ids == [[1, 2, 3]]
    assert parse(body(input=[[1], [2, 99]]), IDS).ids == [[1], [2, 99]]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"input": None}, "input", "missing or empty"),
        ({"input": []}, "input", "missing or empty"),
        ({"input": 5}, "input", "missing or empty"),
        ({"input": {"a": 1}}, "input", "input is or contains a JSON object"),
        ({"input": ["a", {}]}, "input", "input is or contains a JSON object"),
        ({"input": [[["a"]]]}, "input", "lists of lists of lists"),
        ({"input": ["a", 1]}, "input", "input 1 is not a string"),
        ({"input": ["a", None]}, "input", "input 1"),
        ({"input": [True]}, "input", "input 0"),
        ({"input": [1.5]}, "input", "input 0"),
        ({"input": ["a"] * 2049}, "input", "over 2,048 items"),
        ({"input": [1] * 2049}, "input", "over 2,048 items"),
        ({"input": [[1] * 2049]}, "input", "over 2,048 items"),
        ({"input": ["a", "b" * 641]}, "input", "text 1 has 641 characters"),
        ({"input": [1, 2]}, "input", "check_embedding_ctx_length=False"),
        ({"input": [[1], [2]]}, "input", "--accept-token-ids"),
        ({"input": [[]]}, "input", "input 0"),
        ({"input": [[1], ["a"]]}, "input", "token ids"),
        ({"model": None}, "model", "missing"),
        ({"model": 3}, "model", "missing"),
        ({"dimensions": 0}, "dimensions", "1 to 16"),
        ({"dimensions": 17}, "dimensions", "1 to 16"),
        ({"dimensions": True}, "dimensions", "1 to 16"),
        ({"dimensions": 4.5}, "dimensions", "1 to 16"),
        ({"dimensions": 1e300}, "dimensions", "1 to 16"),
        ({"dimensions": "4"}, "dimensions", "1 to 16"),
        ({"encoding_format": "int8"}, "encoding_format", "float, base64"),
        ({"encoding_format": ["float"]}, "encoding_format", "float, base64"),
        ({"prompt_name": "qurey"}, "prompt_name", "document, query"),
        ({"prompt_name": []}, "prompt_name", "document, query"),
        ({"prompt_name": {}}, "prompt_name", "prompt_name is or contains a JSON object"),
        ({"user": 1}, "user", "string"),
        ({"promt_name": "query"}, "promt_name", "unknown field"),
        ({"\ud800": 1}, "?", "unknown field"),
        ({"none": None, "extra_body": {}}, "extra_body", "unknown field"),
        ({str(i): None for i in range(63)}, None, "more than 64 fields"),
    ],
)
def test_a_wrong_field_is_named(fields, param, words):
    with pytest.raises(ApiError, match=words) as refused:
        parse(body(**fields), OFFER)
    assert (refused.value.status, refused.value.param) == (400, param)
    refused.value.response()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": [100]}, "below 100"),
        ({"input": [-1]}, "below 100"),
        ({"input": [1] * 11}, "11 tokens"),
        ({"input": [[1], [10**30]]}, "input 1"),
        ({"input": [[1], "a"]}, "input 1"),
        ({"input": [1], "prompt_name": "query"}, "prompt's own ids"),
        ({"input": [1], "model": "m:query"}, "prompt's own ids"),
    ],
)
def test_wrong_token_ids(fields, words):
    with pytest.raises(ApiError, match=words) as refused:
        parse(body(**fields), IDS)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"input": ' + b"[" * 100_000, "lists of lists of lists"),
        (b'{"input": NaN, "model": "m"}', "not JSON"),
        (b'{"input": "x", "model": "m", "dimensions": -Infinity}', "not JSON"),
        (b'{"input": "x", "model": "m"', "not JSON"),
        (b'{"input": "x" "model": "m"}', "not JSON"),
        (b'{"input": "x", "model": "m",}', "not JSON"),
        (b'{"input": "x", "model": "m"} {}', "not JSON"),
        (b'{"input" "x"}', "not JSON"),
        (b"{input: 1}", "not JSON"),
        (b'{"input": ["a",]}', "not JSON"),
        (b'{"input": [1,]}', "not JSON"),
        (b'{"input": [-]}', "not JSON"),
        (b'{"input": [,1]}', "not JSON"),
        (b'{"input": ["a" "b"]}', "not JSON"),
        (b'{"other": nul}', "not JSON"),
        (b'{"input": "a\nb"}', "not JSON"),
        (b'{"input": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"input": "\xff", "model": "m"}', "not UTF-8: byte 11"),
        ('{"input": "x", "model": "m"}'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_body_that_is_no_json_object(raw, words):
    with pytest.raises(ApiError, match=words) as refused:
        parse(raw, OFFER)
    assert refused.value.status == 400


@pytest.mark.parametrize("model", ["other", "m:", "m:CosQA-query", "M", ""])
def test_an_unknown_model_is_404_and_those_that_are_there_are_named(model):
    with pytest.raises(ApiError, match="m, m:query, m:document") as refused:
        parse(body(model=model), OFFER)
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")
