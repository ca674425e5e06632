"""The operations on nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from modabatchd.client.errors import ServerRefused
from modabatchd.client.http import Server
from modabatchd.client.jobs import Document

_PAGE = 1000


class Nodes:
    """The nodes of a server.  Every method fails with L{modabatchd.client.errors.ServerAway} or C{ServerRefused}."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def all(self) -> Document:
        """Pools and nodes, limits and money."""
        return self._ask("GET", "")

    def node(self, name: str) -> Document:
        """All about one, also one that is gone."""
        return self._ask("GET", f"/nodes/{_segment(name)}")

    def plan(self) -> Document:
        """What would be done now."""
        return self._ask("GET", "/plan")

    def decisions(self) -> Iterator[Document]:
        """The journal, the newest first."""
        try:
            for page in self._server.pages("/infrastructure/decisions", {"limit": _PAGE}):
                yield from page
        except ServerRefused as problem:
            raise _explained(problem) from None

    def costs(self, month: str | None, label: str | None) -> Document:
        """
        What a month has cost, and for whom.

        @param month: as C{2026-11}; L{None} for this one.
        @param label: L{None}, or the key of a label whose values are told.
        """
        asked = {"month": month, "label": label}
        return self._ask("GET", "/costs", {name: value for name, value in asked.items() if value is not None})

    def pause(self) -> None:
        """Stop all scaling."""
        self._ask("POST", "/pause")

    def resume(self) -> None:
        """Let it go on."""
        self._ask("POST", "/resume")

    def start(self, pool: str, count: int) -> Document:
        """Order nodes."""
        return self._ask("POST", f"/pools/{_segment(pool)}/start", {"count": str(count)})

    def open(self, pool: str) -> Document:
        """Use a closed pool again."""
        return self._ask("POST", f"/pools/{_segment(pool)}/open")

    def drain(self, node: str, undo: bool = False) -> Document:
        """Let it take no new jobs, and go when the last one is done."""
        return self._ask("DELETE" if undo else "POST", f"/nodes/{_segment(node)}/drain")

    def pin(self, node: str, undo: bool = False) -> Document:
        """Never stop it."""
        return self._ask("DELETE" if undo else "POST", f"/nodes/{_segment(node)}/pin")

    def stop(self, node: str) -> Document:
        """End one that runs no job."""
        return self._ask("POST", f"/nodes/{_segment(node)}/stop")

    def limit(self, limits: Mapping[str, str]) -> Document:
        """Change limits while it runs."""
        return self._ask("PUT", "/limits", limits)

    def unlimit(self) -> Document:
        """Let the policy's limits count again."""
        return self._ask("DELETE", "/limits")

    def _ask(self, method: str, path: str, params: Mapping[str, str] | None = None) -> Document:
        try:
            answer: Document = self._server.ask(method, f"/infrastructure{path}", params=params)
        except ServerRefused as problem:
            raise _explained(problem) from None
        return answer


def _explained(problem: ServerRefused) -> ServerRefused:
    if problem.type != "unknown-resource":
        return problem
    cure = "Set scaling.policy in the daemon's configuration."
    return ServerRefused(problem.status, problem.type, "This server has no nodes to start or stop: it does not scale.", cure)


def _segment(text: str) -> str:
    return quote(text, safe="")
