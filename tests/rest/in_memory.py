"""
The whole front in memory, for tests.

    site = Site(application.klein.resource(), reception, HTTPSettings(), clock)     # clock: a Clock of the test's own
    client = Client(site)
    response = client.post("/jobs", form={"job-name": "x"}, files={"job-bundle": b"..."})
    assert response.status == 201
    assert response.json()["job_id"]

Requests go through L{modabatchd.rest.site.Site} as bytes, one connection each, so the reception, the upload and the deadlines
are the real ones.  With L{tests.run_now.RunNow} as workers an answer is there at once; if something answers later, take
C{waiting = client.begin(...)}, let it happen, then C{client.flush()} and C{now(waiting)}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent, _SynchronousProducer
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource

from modabatchd.rest.site import Site
from tests.deferreds import now

BOUNDARY = "boundary-of-the-test"
Fields = Mapping[str, str | Sequence[str]]


class Agent(RequestTraversalAgent):
    """An agent whose server side is our own site."""

    def __init__(self, site: Site) -> None:
        super().__init__(Resource())
        self._serverFactory = site


class Response:
    """A response that was read to its end."""

    def __init__(self, status: int, headers: Headers, content: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content = content

    def json(self) -> Any:
        return msgspec.json.decode(self.content)

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return values[-1] if values else None


class Client:
    """Asks the site."""

    def __init__(self, site: Site, base: str = "http://localhost:5000") -> None:
        self._base = base
        self._agent = Agent(site)
        self._client = HTTPClient(self._agent, data_to_body_producer=_SynchronousProducer)

    def get(self, path: str, **more: Any) -> Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> Response:
        return self.request("POST", path, **more)

    def put(self, path: str, **more: Any) -> Response:
        return self.request("PUT", path, **more)

    def delete(self, path: str, **more: Any) -> Response:
        return self.request("DELETE", path, **more)

    def request(self, method: str, path: str, **more: Any) -> Response:
        """Ask, and read the answer, which must be there at once.  See L{begin}."""
        return now(self.begin(method, path, **more))

    def begin(
        self,
        method: str,
        path: str,
        *,
        form: Fields | None = None,
        files: Mapping[str, bytes] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[Response]:
        """
        Ask.

        @param form: sent url-encoded, or as multipart if there are files; a value may be a list.
        @param data: sent as it is.
        """
        sent = dict(headers or {})
        if files is not None:
            data = multipart(form or {}, files)
            sent.setdefault("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        elif form is not None:
            data = urlencode(form, doseq=True).encode()
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        waiting = self._client.request(
            method, self._base + path, headers=sent, data=data, allow_redirects=False, unbuffered=False
        )
        return Deferred.fromCoroutine(self._read(waiting))

    def flush(self) -> None:
        """Carry what was written meanwhile to the other side."""
        self._agent.flush()

    async def _read(self, waiting: Deferred[Any]) -> Response:
        response = await waiting
        return Response(response.code, response.headers, await response.content())


def multipart(form: Fields, files: Mapping[str, bytes]) -> bytes:
    """A body of multipart/form-data, its parts parted by L{BOUNDARY}."""
    parts = [
        (f'Content-Disposition: form-data; name="{name}"', value.encode())
        for name, values in form.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    parts += [
        (f'Content-Disposition: form-data; name="{name}"; filename="{name}.bin"', content) for name, content in files.items()
    ]
    body = b"".join(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts)
    return body + f"--{BOUNDARY}--\r\n".encode()
