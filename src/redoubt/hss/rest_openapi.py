"""The description of the REST API (OpenAPI 3.1), made from the operations and their types."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from redoubt.hss.rest_types import Problem

REFERENCE = "#/components/schemas/{name}"
JSON = "application/json"
VERSION = "1.0.0"  # of the API, not of the program


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one resource: everything that is told of it, and by whose name its handler goes."""

    method: str
    path: str
    name: str
    summary: str
    answer: Any = None
    status: int = 200
    body: Any = None
    body_kinds: tuple[str, ...] = (JSON,)
    other_bodies: Mapping[str, str] | None = None  # media type: what it holds
    query: Mapping[str, tuple[Any, str]] | None = None  # name: type and description
    problems: tuple[int, ...] = ()


PROBLEMS = {
    400: "The body is no JSON.",
    401: "The token is missing or wrong.",
    404: "No such subscriber.",
    405: "The resource has no such method.",
    409: "An identity belongs to a subscriber already.",
    413: "The body is too large.",
    415: "The body's media type is none of those described.",
    422: "A field is wrong: `field` names it, `detail` says what to write.",
    429: "Too many requests without the token.",
    503: "The store can't be written at the moment; nothing was changed.",
}


def description(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document."""
    operations = tuple(operations)
    types = [one for operation in operations for one in (operation.answer, operation.body) if one is not None]
    schemas, components = msgspec.json.schema_components(
        [Problem, *types], schema_hook=lambda kind: {}, ref_template=REFERENCE
    )
    schema_of = {repr(kind): schema for kind, schema in zip([Problem, *types], schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Redoubt HSS provisioning",
            "version": VERSION,
            "description": "Subscribers of an IMS core. Keys go in and never come out.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": schema_of[repr(Problem)]}}
    responses: dict[str, Any] = {
        str(operation.status): {
            "description": operation.summary,
            "content": {JSON: {"schema": {} if operation.answer is None else schema_of[repr(operation.answer)]}},
        }
    }
    for status in sorted({401, 429, *operation.problems}):
        responses[str(status)] = {"description": PROBLEMS[status], "content": problem}
    told: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary, "responses": responses}
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": "private identity, or a public one (sip:, tel:)",
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    for name, (kind, text) in (operation.query or {}).items():
        parameters.append(
            {"name": name, "in": "query", "description": text, "required": False, "schema": msgspec.json.schema(kind)}
        )
    if parameters:
        told["parameters"] = parameters
    if operation.body is not None:
        content = {kind: {"schema": schema_of[repr(operation.body)]} for kind in operation.body_kinds}
        for kind, text in (operation.other_bodies or {}).items():
            content[kind] = {"schema": {"type": "string", "description": text}}
        told["requestBody"] = {"required": True, "content": content}
    return told
