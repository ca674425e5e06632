"""Errors as HTTP tells them: one table from classes to statuses, and problem documents after RFC 9457.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import msgspec

from modabatchd import errors
from modabatchd.errors import ModabatchError

CONTENT_TYPE: Final = "application/problem+json"

#: The status of each error; a class that is not listed takes the one of its nearest ancestor.
STATUSES: Final[Mapping[type[ModabatchError], int]] = MappingProxyType(
    {
        errors.BundleError: 422,
        errors.FieldError: 422,
        errors.TooLarge: 413,
        errors.NoSpace: 507,
        errors.StoreAway: 503,
        errors.UnknownJob: 404,
        errors.UnknownTask: 404,
        errors.UnknownOperation: 404,
        errors.UnknownAction: 400,
        errors.UnknownArtifact: 404,
        errors.IllegalAction: 409,
        errors.QueueAway: 503,
        errors.QueueRefused: 502,
        ModabatchError: 500,
    }
)

#: Seconds after which a client may ask again when the queue or the store is away.
_RETRY_AFTER: Final = "5"


class HTTPRefusal(ModabatchError):
    """
    A request that breaks a rule of HTTP itself, or of this front.

    @ivar status: of the response.
    @ivar headers: that the response must have, for instance C{Allow}.
    """

    def __init__(
        self, status: int, code: str, cause: str, cure: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(cause, cure)
        self.status = status
        # Of the instance here: the rules are many, the class is one.
        self.code = code  # type: ignore[misc]
        self.headers = headers


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A problem document.

    @ivar type: a stable URN, C{urn:modabatchd:problem:} and the error's code.
    @ivar title: the status in words.
    @ivar detail: one sentence on the cause.
    @ivar cure: one sentence on what the reader can do about it.
    @ivar rule: which rule of the bundle specification was broken.
    @ivar field: which field of the request is meant.
    @ivar state: the state that the job is in.
    @ivar incident: names the entry of the log that tells more.
    """

    type: str
    title: str
    status: int
    detail: str
    cure: str
    rule: str | None = None
    field: str | None = None
    state: str | None = None
    incident: str | None = None


def problem(error: ModabatchError) -> Problem:
    """The document about an error that was raised on purpose."""
    status = _status(error)
    return Problem(
        type=_type(error.code),
        title=_title(status),
        status=status,
        detail=error.cause,
        cure=error.cure,
        rule=getattr(error, "rule", None),
        field=getattr(error, "field", None),
        state=getattr(error, "state", None),
    )


def defect(incident: str) -> Problem:
    """The document about an error that nobody raised on purpose.  It tells no more than where to look."""
    return Problem(
        type=_type("defect"),
        title=_title(500),
        status=500,
        detail="The service failed in a way that it was not meant to.",
        cure="Tell the operator the incident; the log has the rest under it.",
        incident=incident,
    )


def headers(error: ModabatchError) -> Mapping[str, str]:
    """The headers that belong to an error's response, beside its content type."""
    if isinstance(error, HTTPRefusal):
        return error.headers
    return {"Retry-After": _RETRY_AFTER} if isinstance(error, errors.QueueAway | errors.StoreAway) else {}


def encode(document: Problem) -> bytes:
    """The body of a response, with a line's end, for terminals."""
    return msgspec.json.encode(document) + b"\n"


def _status(error: ModabatchError) -> int:
    if isinstance(error, HTTPRefusal):
        return error.status
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def _type(code: str) -> str:
    return f"urn:modabatchd:problem:{code}"


def _title(status: int) -> str:
    return HTTPStatus(status).phrase
