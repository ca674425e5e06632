"""One server, asked in blocking calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self

import httpx

from modabatchd import __version__
from modabatchd.client.errors import ServerAway, ServerRefused, Unusable

#: Seconds: to connect, and between two pieces of what is sent or received.
_CONNECT: Final = 10.0
_SILENCE: Final = 60.0
#: The answer to a bundle comes once all of it has been checked.
CHECKING: Final = 900.0
_URN: Final = "urn:modabatchd:problem:"
_START: Final = "Start the daemon, or name another server with --server or MODABATCH_SERVER."
_CHECK: Final = "Check --server or MODABATCH_SERVER."


class Server:
    """
    Asks a server.  Every method fails with L{ServerAway} or L{ServerRefused}.

    @param url: C{http://HOST:PORT}, or C{unix:PATH} where it listens on a socket.
    @param transport: what carries the requests; by default the network.
    @raise Unusable: the URL is none.
    """

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._shown = url
        base = url
        if url.startswith("unix:"):
            base, transport = "http://localhost", httpx.HTTPTransport(uds=url.removeprefix("unix:"))
        elif not url.startswith(("http://", "https://")):
            raise Unusable(f"{url!r} is no server.", "Give http://HOST:PORT, https://HOST:PORT or unix:PATH.")
        timeout = httpx.Timeout(_SILENCE, connect=_CONNECT)
        headers = {"User-Agent": f"modabatch/{__version__}"}
        with self._translated():
            self._client = httpx.Client(base_url=base, timeout=timeout, headers=headers, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Let its connections go; leaving a C{with} does it, too."""
        self._client.close()

    def ask(self, method: str, path: str, timeout: float = _SILENCE, **more: Any) -> Any:
        """
        The document that an operation answers.

        @param timeout: how many seconds the server may be silent.
        @param more: as httpx takes it: C{params}, C{data}, C{files}.
        """
        with self._translated():
            answer = self._client.request(method, path, timeout=httpx.Timeout(timeout, connect=_CONNECT), **more)
            return self._document(answer)

    def pages(self, path: str, params: Mapping[str, Any]) -> Iterator[list[Any]]:
        """The pages of a list, one after the other."""
        following: httpx.URL | str | None = path
        with self._translated():
            while following is not None:
                answer = self._client.get(following, params=None if following is not path else params)
                yield self._document(answer)
                following = answer.links.get("next", {}).get("url")

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], allowed: tuple[int, ...] = ()) -> Iterator[httpx.Response]:
        """
        An answer that is read piece by piece.

        @param allowed: statuses that are no errors here.
        """
        plain = {"Accept-Encoding": "identity", **headers}
        with self._translated(), self._client.stream("GET", path, headers=plain) as answer:
            if answer.status_code not in allowed:
                _check(answer)
            yield answer

    def _document(self, answer: httpx.Response) -> Any:
        _check(answer)
        try:
            return answer.json()
        except ValueError:
            cause = f"What {self._shown} answers is no JSON, so it may not be modabatchd at all."
            raise ServerAway(cause, _CHECK) from None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as problem:
            raise ServerAway(f"Nobody answers at {self._shown}: {problem}.", _START) from None
        except httpx.TimeoutException:
            cause = f"{self._shown} has not answered in time."
            raise ServerAway(cause, "See whether it is well with GET /health, and try again.") from None
        except httpx.TransportError as problem:
            cause = f"The connection to {self._shown} has broken: {str(problem).rstrip('.') or type(problem).__name__}."
            raise ServerAway(cause, "Try again.") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as problem:
            raise Unusable(f"{self._shown!r} is no server: {problem}.", "Give http://HOST:PORT or unix:PATH.") from None


def _check(answer: httpx.Response) -> None:
    """@raise ServerRefused: it is an error."""
    if answer.is_success:
        return
    answer.read()
    try:
        said = answer.json()
        kind, cause, cure = said["type"].removeprefix(_URN), said["detail"], said["cure"]
        incident = f" (incident {said['incident']})" if "incident" in said else ""
    except (ValueError, TypeError, KeyError, AttributeError):
        status = f"{answer.status_code} {answer.reason_phrase}".strip()
        kind, cause, cure, incident = "", f"The server answers {status}, and does not say why.", _CHECK, ""
    raise ServerRefused(answer.status_code, kind, cause + incident, cure)
