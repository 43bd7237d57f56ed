"""The API's description at /openapi.json, for this server's models, dimensions, prompts, limits and keys."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from . import json_fields, limits
from .request import Offer

Json = dict[str, Any]


def document(offer: Offer, *, keys: bool) -> Json:
    """An OpenAPI 3.1 document. keys: whether all paths but the probes require one."""
    security: Json = {"security": [{"key": []}]} if keys else {}
    denied: Json = {"401": _error("No API key, or an unknown one.", "WWW-Authenticate")} if keys else {}
    schemes: Json = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}} if keys else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "c2llm-lite",
            "version": version("c2llm-lite"),
            "description": "C2LLM code embeddings behind OpenAI's embeddings API.",
        },
        "paths": {
            "/v1/embeddings": {"post": _embeddings() | security | {"responses": _answers() | denied}},
            "/v1/models": {
                "get": {"summary": "The model and its aliases", "operationId": "listModels"}
                | security
                | {"responses": {"200": _json("The models.", _ref("Models"))} | denied}
            },
            "/healthz": {"get": _probe("healthz", "Whether the process answers", ["ok"])},
            "/readyz": {"get": _probe("readyz", "Whether a request would be accepted now", ["ready"], ["busy"])},
            "/metrics": {
                "get": {
                    "summary": "What Prometheus reads",
                    "operationId": "metrics",
                    "responses": {
                        "200": {
                            "description": "Prometheus' text format.",
                            "content": {"text/plain": {"schema": {"type": "string"}}},
                        }
                    }
                    | denied,
                }
                | security
            },
        },
        "components": {"schemas": _schemas(offer)} | schemes,
    }


def _embeddings() -> Json:
    return {
        "summary": "Embed texts",
        "operationId": "createEmbeddings",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("EmbeddingRequest")}}},
    }


def _answers() -> Json:
    return {
        "200": _json("The vectors, in the texts' order.", _ref("EmbeddingResponse")),
        "400": _error("What is wrong with the request, and what to do about it."),
        "404": _error("No such model."),
        "408": _error("The body came too slowly."),
        "413": _error(f"The body is over {limits.BODY_BYTES >> 20} MiB."),
        "429": _error("The queue is full: try again after Retry-After seconds.", "Retry-After"),
        "500": _error("The server failed."),
        "503": _error("The server is stopping.", "Retry-After"),
    }


def _schemas(offer: Offer) -> Json:
    text: Json = {"type": "string", "minLength": 1, "maxLength": offer.max_tokens * limits.CHARACTERS_A_TOKEN}
    forms: list[Json] = [text, {"type": "array", "items": text, "minItems": 1, "maxItems": limits.TEXTS}]
    if offer.token_ids:
        token: Json = {"type": "integer", "minimum": 0, "maximum": offer.vocab - 1}
        ids: Json = {"type": "array", "items": token, "minItems": 1, "maxItems": offer.max_tokens}
        forms += [ids, {"type": "array", "items": ids, "minItems": 1, "maxItems": limits.TEXTS}]
    prompts = sorted(offer.prompts)
    return {
        "EmbeddingRequest": {
            "type": "object",
            "required": ["input", "model"],
            "additionalProperties": {"type": "null"},  # clients send unset fields as null
            "maxProperties": json_fields.FIELDS,
            "properties": {
                "input": {"anyOf": forms},
                "model": {
                    "enum": offer.models(),
                    "description": "An alias, NAME:query or NAME:document, chooses that prompt.",
                },
                "prompt_name": {
                    "enum": [*prompts, None],
                    "description": "The prompt that texts get; it goes before the alias's.",
                },
                "dimensions": {"type": ["integer", "null"], "minimum": 1, "maximum": offer.dim},
                "encoding_format": {"enum": ["float", "base64", None], "description": "float where it is not given."},
                "user": {"type": ["string", "null"], "description": "Not used."},
            },
        },
        "EmbeddingResponse": _object(
            object={"const": "list"},
            data={
                "type": "array",
                "items": _object(
                    object={"const": "embedding"},
                    index={"type": "integer", "minimum": 0},
                    embedding={
                        "anyOf": [
                            {"type": "array", "items": {"type": "number"}, "maxItems": offer.dim},
                            {"type": "string", "description": "base64 of little-endian float32"},
                        ]
                    },
                ),
            },
            model={"enum": offer.models()},
            usage=_object(prompt_tokens={"type": "integer"}, total_tokens={"type": "integer"}),
        ),
        "Models": _object(
            object={"const": "list"},
            data={
                "type": "array",
                "items": _object(
                    id={"enum": offer.models()},
                    object={"const": "model"},
                    created={"type": "integer"},
                    owned_by={"type": "string"},
                ),
            },
        ),
        "Error": _object(
            error=_object(
                message={"type": "string"},
                type={"type": "string"},
                param={"type": ["string", "null"]},
                code={"type": ["string", "null"]},
            )
        ),
    }


def _object(**properties: Json) -> Json:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }


def _probe(name: str, summary: str, good: list[str], bad: list[str] | None = None) -> Json:
    answers = {"200": _json("Yes.", _object(status={"enum": good}))}
    if bad:
        answers["503"] = _json("No.", _object(status={"enum": bad}))
    return {"summary": summary, "operationId": name, "responses": answers}


def _error(description: str, *headers: str) -> Json:
    told: Json = {"headers": {name: {"schema": {"type": "string"}} for name in headers}} if headers else {}
    return _json(description, _ref("Error")) | told


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
