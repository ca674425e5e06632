"""Whole responses, written onto requests."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import ModabatchError
from modabatchd.rest import problems
from modabatchd.rest.coding import WORTHWHILE, gzipped, wants_gzip
from modabatchd.rest.operations import JSON, Answer
from modabatchd.rest.problems import Problem
from modabatchd.rest.revalidation import coded

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_log = Logger()


def tell(error: BaseException, while_doing: str) -> Problem:
    """The document about an error; one that nobody raised on purpose is logged under its incident."""
    if isinstance(error, ModabatchError):
        return problems.problem(error)
    incident = str(uuid4())
    _log.failure("incident {incident} while {doing}", Failure(error), incident=incident, doing=while_doing)
    return problems.defect(incident)


def respond_answer(request: Any, answer: Answer) -> None:
    """Write what an operation answers, gzip'ed if that is wanted and worth it, and finish the request."""
    body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body) + b"\n"
    headers = dict(answer.headers)
    if answer.media == JSON and (len(body) >= WORTHWHILE or "ETag" in headers):
        headers["Vary"] = "Accept-Encoding"
    if answer.media == JSON and len(body) >= WORTHWHILE and wants_gzip(request.requestHeaders):
        body = gzipped(body)
        headers["Content-Encoding"] = "gzip"
        if "ETag" in headers:
            headers["ETag"] = coded(headers["ETag"])
    respond(request, answer.status, answer.media, body, headers)


def respond(request: Any, status: int, media: str, body: bytes, headers: Mapping[str, str] = _NONE) -> None:
    """
    Write a response and finish the request.

    @param request: when its client has gone, or part of a response was written, nothing happens.
    """
    if request.gone or request.startedWriting:
        return
    request.setResponseCode(status, HTTPStatus(status).phrase.encode("ascii"))
    about = {} if status == 304 else {"Content-Type": media, "Content-Length": str(len(body))}
    for name, value in {**headers, **about}.items():
        request.setHeader(name.encode("ascii"), value.encode("utf-8"))
    request.write(body)
    request.finish()


def respond_problem(request: Any, error: BaseException) -> None:
    """Answer a request with the document about an error, and finish it."""
    document = tell(error, "a request was answered")
    headers = problems.headers(error) if isinstance(error, ModabatchError) else _NONE
    respond(request, document.status, problems.CONTENT_TYPE, problems.encode(document), headers)
