"""A web server on loopback that answers with what a function says, or in one of the ways in which real ones fail."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def form(self) -> dict[str, str]:
        """From the query and the body."""
        return dict(parse_qsl(self.query)) | dict(parse_qsl(self.body.decode()))


class Response(msgspec.Struct):
    """@ivar drip: seconds between two bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = {}
    drip: float = 0.0


class Dropped(Exception):
    """Instead of an answer: the connection is closed."""


def in_json(value: Any, status: int = 200, **headers: str) -> Response:
    return Response(msgspec.json.encode(value), status, {"Content-Type": "application/json"} | headers)


@contextmanager
def served(answer: Callable[[Request], Response]) -> Iterator[int]:
    """Serve on a port of loopback; yields the port.  Requests are answered in threads."""
    over = Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            parts = urlsplit(self.path)
            request = Request(self.command, parts.path, parts.query, dict(self.headers), self.rfile.read(length))
            try:
                self.send(answer(request))
            except (Dropped, ConnectionError):
                self.close_connection = True

        def handle(self) -> None:
            with suppress(ConnectionError):  # of a client that was killed
                super().handle()

        do_GET = do_POST = do_DELETE = do_PUT = do_HEAD = handle_any

        def send(self, response: Response) -> None:
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if not response.drip:
                self.wfile.write(response.body)
                return
            for index in range(len(response.body)):
                if over.wait(response.drip):
                    raise Dropped
                self.wfile.write(response.body[index : index + 1])

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
