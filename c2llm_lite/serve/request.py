"""Checks a request's body field by field. Errors name the field and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from . import json_fields, limits
from .failures import ApiError

EncodingFormat = Literal["float", "base64"]
FIELDS = ("input", "model", "dimensions", "encoding_format", "user", "prompt_name")
ALIASES = ("query", "document")  # NAME:query and NAME:document select a prompt for clients that can only select a model

TOKENS_REFUSED = (
    "input is token ids. Ids are particular to a tokenizer: another model's look valid here and give wrong vectors, so "
    "this server takes text. Send the texts themselves (LangChain's OpenAIEmbeddings does with "
    "check_embedding_ctx_length=False); if the ids are this model's own, start the server with --accept-token-ids"
)


@dataclass(frozen=True)
class Offer:
    """What this server offers: the model's name, dimensions, prompts by name, and vocabulary size.

    token_ids: whether input may be token ids.
    """

    name: str
    dim: int
    prompts: Mapping[str, str]
    vocab: int
    max_tokens: int
    token_ids: bool = False

    def models(self) -> list[str]:
        """The name, and its aliases."""
        return [self.name, *(f"{self.name}:{alias}" for alias in ALIASES if alias in self.prompts)]


@dataclass(frozen=True)
class EmbeddingRequest:
    """texts, or token ids instead. model: the name as the client wrote it."""

    model: str
    texts: list[str]
    ids: list[list[int]]
    prompt_name: str | None
    dim: int
    encoding_format: EncodingFormat


def parse(body: bytes | bytearray, offer: Offer) -> EmbeddingRequest:
    """Raises ApiError 400, or 404 for an unknown model."""
    try:
        data = json_fields.read(body.decode(), FIELDS, items=max(limits.TEXTS, offer.max_tokens))
    except UnicodeDecodeError as error:
        raise ApiError(400, f"the body is not UTF-8: byte {error.start} is invalid") from None
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not JSON") from None
    model, alias = _model(data, offer)
    texts, ids = _input(data, offer)
    prompt_name = _one_of(data, "prompt_name", tuple(sorted(offer.prompts))) or alias
    if ids and prompt_name is not None:
        raise ApiError(
            400,
            "token ids take no prompt; put the prompt's own ids first and choose no prompt, or send text",
            param="prompt_name" if data.get("prompt_name") is not None else "model",
        )
    if not isinstance(data.get("user"), str | None):
        raise ApiError(400, "user is not a string", param="user")
    encoding_format = _one_of(data, "encoding_format", get_args(EncodingFormat)) or "float"
    return EmbeddingRequest(
        model, texts, ids, prompt_name, _dimensions(data, offer), cast(EncodingFormat, encoding_format)
    )


def _model(data: Mapping[str, Any], offer: Offer) -> tuple[str, str | None]:
    """The name as the client wrote it, and the prompt that it selects."""
    model = data.get("model")
    if not isinstance(model, str):
        raise ApiError(400, f"model is missing or not a string; use {offer.name!r}", param="model")
    if model not in offer.models():
        raise ApiError(
            404, f"no such model; the models are {', '.join(offer.models())}", param="model", code="model_not_found"
        )
    return model, None if model == offer.name else model.removeprefix(f"{offer.name}:")


def _input(data: Mapping[str, Any], offer: Offer) -> tuple[list[str], list[list[int]]]:
    """Texts, or token ids; one of the two lists is empty."""
    given = data.get("input")
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise ApiError(400, "input is missing or empty; send a string or a list of strings", param="input")
    if all(_is_id(item) for item in items):
        items = [items]
    if len(items) > limits.TEXTS:
        raise ApiError(
            400,
            f"input has {len(items):,} texts; a request may have {limits.TEXTS:,}, so send several requests",
            param="input",
        )
    if isinstance(items[0], list):
        return [], [_ids(i, item, offer) for i, item in enumerate(items)]
    longest = offer.max_tokens * limits.CHARACTERS_A_TOKEN
    for i, item in enumerate(items):
        if not isinstance(item, str):
            raise ApiError(400, f"input {i} is not a string", param="input")
        if len(item) > longest:
            message = f"text {i} has {len(item):,} characters, and this server takes {longest:,}: cut it into pieces"
            raise ApiError(400, message, param="input", code="context_length_exceeded")
    return items, []


def _ids(index: int, item: object, offer: Offer) -> list[int]:
    if not isinstance(item, list) or not item or not all(map(_is_id, item)):
        raise ApiError(400, f"input {index} is not a non-empty list of token ids", param="input")
    if not offer.token_ids:
        raise ApiError(400, TOKENS_REFUSED, param="input", code="token_ids_refused")
    if max(item) >= offer.vocab or min(item) < 0:
        raise ApiError(
            400,
            f"input {index} has a token id that this model does not have; ids are below {offer.vocab:,}",
            param="input",
        )
    if len(item) > offer.max_tokens:
        message = f"input {index} has {len(item):,} tokens, and this model takes {offer.max_tokens:,}: cut it"
        raise ApiError(400, message, param="input", code="context_length_exceeded")
    return item


def _is_id(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def _one_of(data: Mapping[str, Any], field: str, choices: tuple[str, ...]) -> str | None:
    value = data.get(field)
    if value is None or value in choices:  # choices is a tuple, so that unhashable values can be compared
        return value
    raise ApiError(400, f"{field} must be one of {', '.join(choices)}", param=field)


def _dimensions(data: Mapping[str, Any], offer: Offer) -> int:
    value = data.get("dimensions")
    if value is None:
        return offer.dim
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # to JSON Schema, 6.0 is an integer
    if not _is_id(value) or not 1 <= value <= offer.dim:
        raise ApiError(400, f"dimensions must be 1 to {offer.dim}", param="dimensions")
    return cast(int, value)
