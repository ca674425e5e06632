"""What an operation of the API is, and how a method becomes one.  Its route line holds all that a route must not forget."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

#: Answers a request; L{None} when it has written the response itself.
Serve = Callable[..., Coroutine[Deferred[Any], Any, "Answer | None"]]
F = TypeVar("F", bound=Serve)

JSON: Final = "application/json"
_MARK: Final = "_operation"


class Answer(msgspec.Struct, frozen=True):
    """
    A response.

    @ivar body: bytes as they are, or what is to be written as JSON.
    @ivar media: its content type.
    """

    body: Any
    status: int = 200
    media: str = JSON
    headers: Mapping[str, str] = MappingProxyType({})


class Either(msgspec.Struct, frozen=True):
    """One of several JSON bodies."""

    kinds: tuple[Any, ...]


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """
    A parameter in the query of a URL, or a header.

    @ivar schema: in JSON Schema.
    @ivar repeated: whether it may be given more than once.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    repeated: bool = False
    place: Literal["query", "header"] = "query"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """
    One operation of the API.

    @ivar name: stable; the description's C{operationId} begins with it.
    @ivar path: with C{<name>} where a segment of any text stands.
    @ivar changes: whether it changes something, so that a page of another site must not ask for it.
    @ivar takes_submission: whether its body is a submission; otherwise it needs none.  It sees to its own Idempotency-Key.
    @ivar adds_up: whether to do it twice is more than to do it once, so that its key must be written down before.
    @ivar takes: the type of its JSON body.
    @ivar takes_forms: whether that may come as a form with the same fields, too.
    @ivar answers: the statuses of success, each with the type of its JSON body, L{Either} of several, or its media types.
    @ivar headers: of those, the headers that tell something.
    @ivar problems: the statuses of the problems that it may answer with, beside those that every operation may.
    @ivar hidden: whether it is left out of the description.
    @ivar tag: the heading that it stands under there.
    """

    name: str
    methods: tuple[str, ...]
    path: str
    summary: str
    description: str = ""
    changes: bool = False
    takes_submission: bool = False
    adds_up: bool = False
    takes: Any = None
    takes_forms: bool = True
    parameters: tuple[Parameter, ...] = ()
    answers: Mapping[int, Any] = MappingProxyType({})
    headers: Mapping[int, tuple[str, ...]] = MappingProxyType({})
    problems: tuple[int, ...] = ()
    hidden: bool = False
    tag: str = "jobs"


def operation(methods: str, path: str, summary: str, **more: Any) -> Callable[[F], F]:
    """
    Make a method an operation of the API; its docstring describes it there.

    @param methods: separated by blanks.
    @param more: see L{Operation}.
    """

    def mark(serve: F) -> F:
        about = Operation(
            name=serve.__name__,
            methods=tuple(methods.split()),
            path=path,
            summary=summary,
            description=" ".join((serve.__doc__ or "").split()),
            **more,
        )
        setattr(serve, _MARK, about)
        return serve

    return mark


def operations(resource: object) -> Iterator[tuple[Operation, Serve]]:
    """The operations that the methods of an object are, in the order in which they were written."""
    for name, function in vars(type(resource)).items():
        if hasattr(function, _MARK):
            yield getattr(function, _MARK), getattr(resource, name)


def query(request: IRequest) -> Mapping[str, list[str]]:
    """The parameters of a request's URL as text; what is not UTF-8 is replaced."""
    return {_text(name): [_text(value) for value in values] for name, values in request.args.items()}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
