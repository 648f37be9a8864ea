"""The description of the server for programs (OpenAPI 3.1), made of the same tables as the server itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import ucdir
from ucdir.server.fields import IMAGE, Field
from ucdir.server.formats import FORMATS
from ucdir.server.settings import Settings

JOB_NAME: Final = r"[A-Za-z0-9_-]{16,64}"
"""Names that a client may give to a request."""

_PROBLEMS: Final = {
    400: "The request or its form is malformed.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site, or names another host.",
    404: "There is no such address, or no such request.",
    406: "None of the formats that `Accept` names is written.",
    408: "The request came too slowly.",
    409: "The X-Request-ID was used before.",
    413: "The request is too long.",
    415: "The request is no form, or the image of a kind that is not read.",
    422: "The image is damaged, a field out of range, or what is asked for is not possible.",
    429: "Too many requests wait.",
    500: "A fault of the program.",
    503: "The server is stopping, or its memory is full.",
    507: "The disk is full.",
}


def description(fields: Mapping[str, Field], settings: Settings) -> dict[str, Any]:
    """The description of a server with these fields of forms."""
    operations = {
        "/v1/restore": {"post": _restore(fields)},
        "/v1/inspect": {"post": _inspect(fields)},
        "/v1/models": {"get": _models()},
        "/v1/progress/{id}": {"get": _progress()},
        "/metrics": {
            "get": _get("Figures for Prometheus.", {"text/plain": {"schema": {"type": "string"}}}, 401, 403)
        },
        "/healthz": {
            "get": {**_get("Whether the server takes requests.", _json(_STATUS), 403, 503), "security": []}
        },
        "/openapi.json": {
            "get": {**_get("This description.", _json({"type": "object"}), 403), "security": []}
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ucdir", "version": ucdir.__version__, "description": "Restores photographs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": operations,
        "components": {
            "schemas": {"Problem": _PROBLEM, "Inspection": _INSPECTION, "Models": _MODELS, "Result": _RESULT},
            "responses": {str(status): _problem(status) for status in _PROBLEMS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}] if settings.token is not None else [],
    }  # fmt: skip


def _restore(fields: Mapping[str, Field]) -> dict[str, Any]:
    headers = {
        "X-Ucdir-Result": {
            "description": "What was done, in JSON.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Result"}}},
        },
        "X-Request-ID": {"schema": {"type": "string"}},
    }
    image: dict[str, Any] = {kind: {} for kind in FORMATS}
    return {
        "operationId": "restore",
        "summary": "Restore a photo.",
        "description": "The header `Accept` chooses the format; by default it is the photo's own, or PNG.",
        "parameters": [_NAME],
        "requestBody": _form(fields),
        "responses": {
            "200": {"description": "The restored photo.", "headers": headers, "content": image},
            **_refusals(400, 401, 403, 406, 408, 409, 413, 415, 422, 429, 500, 503, 507),
        },
    }


def _inspect(fields: Mapping[str, Field]) -> dict[str, Any]:
    return {
        "operationId": "inspect",
        "summary": "What is known of a photo, and what would be done with it.",
        "parameters": [_NAME],
        "requestBody": _form(fields),
        "responses": {
            "200": {
                "description": "What is known.",
                "content": _json({"$ref": "#/components/schemas/Inspection"}),
            },
            **_refusals(400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503, 507),
        },
    }


def _models() -> dict[str, Any]:
    return {
        **_get("Models, tasks and limits.", _json({"$ref": "#/components/schemas/Models"}), 401, 403),
        "operationId": "models",
    }


def _progress() -> dict[str, Any]:
    data = {**_TEXT, "contentMediaType": "application/json"}
    event = _object(event={"enum": ["progress", "done", "failed", "cancelled"]}, data=data)
    stream = {"text/event-stream": {"schema": event}}
    return {
        **_get("How far a request is, as server-sent events.", stream, 401, 403, 404, 429),
        "operationId": "progress",
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{JOB_NAME}$"}}
        ],
    }  # fmt: skip


def _get(summary: str, content: dict[str, Any], *problems: int) -> dict[str, Any]:
    answer = {"description": summary, "content": content}
    return {"summary": summary, "responses": {"200": answer, **_refusals(*problems)}}


def _form(fields: Mapping[str, Field]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": [IMAGE],
        "additionalProperties": False,
        "properties": {
            IMAGE: {"type": "string", "format": "binary", "description": "The file of the photo."},
            **{name: dict(field.schema) for name, field in fields.items()},
        },
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answer: dict[str, Any] = {"description": _PROBLEMS[status], "content": content}
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return answer


def _object(required: bool = True, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties) if required else []}


_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_WHOLE: Final = {"type": "integer", "minimum": 0}
_NUMBERS: Final = {"type": "object", "additionalProperties": {"type": "number"}}
_MAYBE_WHOLE: Final = {"type": ["integer", "null"]}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_STATUS: Final = _object(status={"const": "ok"})
_PROBLEM: Final = _object(status=_WHOLE, title=_TEXT, detail=_TEXT)
_RESULT: Final = _object(
    task=_MAYBE_TEXT, scalars=_NUMBERS, steps=_WHOLE, seconds={"type": "number"}, width=_WHOLE, height=_WHOLE,
    notes=_TEXTS,
)  # fmt: skip
_NUMBER: Final = {"type": "number"}
_MAYBE_NUMBER: Final = {"type": ["number", "null"]}
_FINDINGS: Final = _object(
    verdict={"enum": ["nothing wrong", "jpeg", "blur", "noise"]}, confidence=_NUMBER, task=_MAYBE_TEXT,
    scalars=_NUMBERS, reason=_TEXT,
    jpeg=_object(
        quality=_MAYBE_WHOLE, tables=_MAYBE_WHOLE, grid={"type": ["array", "null"], "items": _WHOLE},
        compressions=_WHOLE, confidence=_NUMBER,
    ),
    noise=_object(
        std=_MAYBE_NUMBER, correlated={"type": ["boolean", "null"]}, dark={"type": ["boolean", "null"]},
        confidence=_NUMBER,
    ),
    blur=_object(
        kind={"enum": ["none", "motion", "defocus"]}, length=_MAYBE_NUMBER, angle=_MAYBE_NUMBER, confidence=_NUMBER
    ),
    exposure=_object(
        kind={"enum": ["normal", "dark", "bright"]}, light=_NUMBER, ratio=_NUMBER, black=_NUMBER, white=_NUMBER,
        confidence=_NUMBER,
    ),
)  # fmt: skip
"""As `inspection.Inspection` is."""
_INSPECTION: Final = _object(
    format=_TEXT, width=_WHOLE, height=_WHOLE, channels=_WHOLE, bits=_WHOLE, alpha={"type": "boolean"},
    jpeg_quality=_object(tables=_MAYBE_WHOLE, pixels=_MAYBE_WHOLE), metadata=_TEXTS, inspection=_FINDINGS,
    plan=_object(task=_MAYBE_TEXT, model=_MAYBE_TEXT, reason=_TEXT, scalars=_NUMBERS), notes=_TEXTS,
)  # fmt: skip
_MODELS: Final = _object(
    version=_TEXT,
    models={
        "type": "array",
        "items": _object(name=_TEXT, task=_TEXT, steps=_WHOLE, default={"type": "boolean"}, scalars=_TEXTS),
    },
    tasks={"type": "object", "additionalProperties": _TEXT},
    scalars={
        "type": "object",
        "additionalProperties": _object(
            help=_TEXT, unit=_TEXT, minimum={"type": "number"}, maximum={"type": "number"}
        ),
    },
    formats=_TEXTS,
    max_upload_bytes=_WHOLE,
    max_pixels=_WHOLE,
)
_NAME: Final = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "A new random name, by which /v1/progress says how far the request is.",
    "schema": {"type": "string", "pattern": f"^{JOB_NAME}$"},
}
