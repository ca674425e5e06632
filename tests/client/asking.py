"""The real command, on a site in memory or on a daemon."""

from collections.abc import Callable
from typing import Any

import httpx
from click.testing import CliRunner, Result

from modabatchd.client.command import main
from tests.rest.in_memory import Client


class InMemory(httpx.BaseTransport):
    """Carries requests to a site that needs no network."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        names = ("content-type", "range", "if-range", "if-none-match", "accept-encoding")
        headers = {name: value for name, value in request.headers.items() if name in names}
        path = request.url.raw_path.decode()
        answer = self._client.request(request.method, path, data=request.read() or None, headers=headers)
        told = [(name.decode(), value.decode()) for name, values in answer.headers.getAllRawHeaders() for value in values]
        return httpx.Response(answer.status, headers=told, content=answer.content)


class Answering(httpx.BaseTransport):
    """Carries requests to a function."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)


def command(*arguments: object, transport: httpx.BaseTransport | None = None, server: str = "http://localhost") -> Result:
    """What came of a command line."""
    words = [str(argument) for argument in arguments]
    environment: dict[str, Any] = {"MODABATCH_SERVER": server}
    return CliRunner().invoke(main, words, obj=transport, env=environment)
