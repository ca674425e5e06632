"""The OpenAPI 3.1 description of the API, made from its operations.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec

from modabatchd import __version__
from modabatchd.queue.job import Action, Artifact
from modabatchd.rest import keys
from modabatchd.rest.fields import FIELDS
from modabatchd.rest.operations import Either, Operation, Parameter
from modabatchd.rest.problems import CONTENT_TYPE, Problem

_ABOUT: Final = """A batch queue over HTTP: send a bundle, get its output back.

Errors are problem documents (RFC 9457) with a stable `type`, the cause in `detail` and what to do about it in `cure`."""

_FORM: Final = "application/x-www-form-urlencoded"
_SEGMENT: Final = re.compile(r"<([a-z_]+)>")
_REFERENCE: Final = "#/components/schemas/{name}"

#: What the parts of paths are.
_SEGMENTS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "job_id": {"description": "The id of a job.", "schema": {"type": "string", "format": "uuid"}},
        "operation_id": {"description": "The id of an operation.", "schema": {"type": "string"}},
        "action": {"description": "What to do.", "schema": {"type": "string", "enum": [str(action) for action in Action]}},
        "artifact": {
            "description": "Which file of the job.",
            "schema": {"type": "string", "enum": [str(artifact) for artifact in Artifact]},
        },
        "task": {"description": "The index of a task.", "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}},
        "pool": {"description": "The name of a pool.", "schema": {"type": "string"}},
        "node": {"description": "The name of a node.", "schema": {"type": "string"}},
        "webhook": {"description": "The id of an endpoint.", "schema": {"type": "string"}},
        "message": {"description": "The id of a message, as receivers have it in webhook-id.", "schema": {"type": "string"}},
        "name": {"description": "The name of a file.", "schema": {"type": "string"}},
    }
)

_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Accept-Ranges": "bytes: parts can be asked for.",
        "Allow": "The methods that are for this path.",
        "Content-Range": "Which part this is.",
        "ETag": "Tells this answer from others. Of a file: there once the job is over.",
        "Link": "Leads to the next page, if there is one.",
        "Location": "The path of what was made.",
        "Retry-After": "Seconds after which to try again.",
    }
)
_PROBLEM_HEADERS: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {405: ("Allow",), 409: ("Retry-After",), 503: ("Retry-After",)}
)

#: Whatever is asked may meet with these: a bad request, a foreign page, an unknown host, a defect.
_ALWAYS: Final = (400, 403, 404, 405, 408, 413, 421, 431, 500)


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """The description of these operations, ready to be encoded as JSON."""
    shown = [operation for operation in operations if not operation.hidden]
    paths: dict[str, dict[str, Any]] = {}
    for operation in shown:
        path = paths.setdefault(_SEGMENT.sub(r"{\1}", operation.path), {})
        for method in operation.methods:
            path[method.lower()] = _described(operation, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "modabatchd", "version": __version__, "description": _ABOUT, "license": _LICENSE},
        "paths": paths,
        "components": {"schemas": _schemas(shown)},
    }


_LICENSE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}


def _described(operation: Operation, method: str) -> dict[str, Any]:
    alone = len(operation.methods) == 1
    marked = operation.changes and method in keys.METHODS
    parameters = (*operation.parameters, keys.PARAMETER) if marked else operation.parameters
    described: dict[str, Any] = {
        "operationId": operation.name if alone else f"{operation.name}_{method.lower()}",
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [*map(_segment, _SEGMENT.findall(operation.path)), *map(_parameter, parameters)],
        "responses": _responses(operation, (409, 422) if marked else ()),
    }
    if operation.takes_submission:
        described["requestBody"] = _submission()
    if operation.takes is not None:
        described["requestBody"] = _body(operation.takes, operation.takes_forms)
    return described


def _segment(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, **_SEGMENTS[name]}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": parameter.schema} if parameter.repeated else parameter.schema
    return {"name": parameter.name, "in": parameter.place, "description": parameter.description, "schema": schema}


def _submission() -> dict[str, Any]:
    schema = {"type": "object", "properties": dict(FIELDS), "required": ["job-bundle"], "additionalProperties": False}
    packed = {name: {"contentType": field["contentMediaType"]} for name, field in FIELDS.items() if "contentMediaType" in field}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": schema, "encoding": packed},
            "application/x-www-form-urlencoded": {"schema": schema},
        },
    }


def _body(kind: Any, forms: bool) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return {
        "required": True,
        "content": {media: {"schema": schema} for media in ("application/json", *([_FORM] if forms else []))},
    }


def _responses(operation: Operation, more: Sequence[int]) -> dict[str, Any]:
    good = {
        str(status): _response(status, kind, operation.headers.get(status, ())) for status, kind in operation.answers.items()
    }
    bad = {str(status): _problem(status) for status in sorted({*_ALWAYS, *operation.problems, *more})}
    return good | bad


def _response(status: int, kind: Any, headers: Sequence[str]) -> dict[str, Any]:
    described = _told(status, headers)
    if isinstance(kind, tuple):
        described["content"] = {media: {} for media in kind}
    elif kind is not None:
        schemas, _ = msgspec.json.schema_components(_kinds(kind), ref_template=_REFERENCE)
        described["content"] = {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": [*schemas]}}}
    return described


def _kinds(kind: Any) -> Sequence[Any]:
    """The types of a JSON body."""
    return kind.kinds if isinstance(kind, Either) else (kind,)


def _problem(status: int) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(name="Problem")}}}
    return _told(status, _PROBLEM_HEADERS.get(status, ())) | {"content": content}


def _told(status: int, headers: Sequence[str]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if headers:
        described["headers"] = {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers}
    return described


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    bodies = [kind for operation in operations for kind in operation.answers.values() if not isinstance(kind, tuple | None)]
    kinds = [kind for body in bodies for kind in _kinds(body)]
    taken = [operation.takes for operation in operations if operation.takes is not None]
    _, schemas = msgspec.json.schema_components([*kinds, *taken, Problem], ref_template=_REFERENCE)
    return schemas
