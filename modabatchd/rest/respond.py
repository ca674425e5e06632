"""Whole responses, written onto requests."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import ModabatchError
from modabatchd.rest import problems
from modabatchd.rest.problems import Problem

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_log = Logger()


def tell(error: BaseException, while_doing: str) -> Problem:
    """The document about an error; one that nobody raised on purpose is logged under its incident."""
    if isinstance(error, ModabatchError):
        return problems.problem(error)
    incident = str(uuid4())
    _log.failure("incident {incident} while {doing}", Failure(error), incident=incident, doing=while_doing)
    return problems.defect(incident)


def respond(request: Any, status: int, media: str, body: bytes, headers: Mapping[str, str] = _NONE) -> None:
    """
    Write a response and finish the request.

    @param request: when its client has gone, or part of a response was written, nothing happens.
    """
    if request.gone or request.startedWriting:
        return
    request.setResponseCode(status, HTTPStatus(status).phrase.encode("ascii"))
    for name, value in {**headers, "Content-Type": media, "Content-Length": str(len(body))}.items():
        request.setHeader(name.encode("ascii"), value.encode("utf-8"))
    request.write(body)
    request.finish()


def respond_problem(request: Any, error: BaseException) -> None:
    """Answer a request with the document about an error, and finish it."""
    document = tell(error, "a request was answered")
    headers = problems.headers(error) if isinstance(error, ModabatchError) else _NONE
    respond(request, document.status, problems.CONTENT_TYPE, problems.encode(document), headers)
