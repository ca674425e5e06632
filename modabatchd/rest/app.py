"""
The operations as a Klein application: each request is checked, served, and its errors are told as problem documents.

Note [Clients that leave]
=========================
Klein cancels what a request waits for when its client disconnects.  An action half taken or a job half accepted would be worse
than an answer that nobody reads, so operations run shielded, and what they answer is thrown away if nobody is there any more.

Note [Two checks]
=================
A request with a body is checked before the body is read, so that nobody sends gigabytes in vain; one without is checked when it
is served.  Both happen here, by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from modabatchd.rest import keys, problems
from modabatchd.rest.body import ShortBody
from modabatchd.rest.front import Head, check
from modabatchd.rest.interfaces import IBody
from modabatchd.rest.once import Once
from modabatchd.rest.operations import Answer, Operation, Serve, operations, query
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.rest.respond import respond_answer, respond_problem, tell
from modabatchd.shielding import shielded


class Application:
    """
    The API.

    @param resources: their operations are served.
    @param allowed_hosts: names that a Host header may hold beside those of loopback.
    @param receive: makes the one who takes a submission's body.
    @param once: what changes something and is sent again goes through it.
    """

    def __init__(
        self, resources: Iterable[object], allowed_hosts: Collection[str], receive: Callable[[Head], IBody], once: Once
    ) -> None:
        self._allowed_hosts = allowed_hosts
        self._receive = receive
        self._once = once
        self._klein = Klein()
        self._table: dict[str, Operation] = {}
        for resource in resources:
            for about, serve in operations(resource):
                self._add(about, serve)
        self._klein.handle_errors(HTTPException)(_unrouted)

    def resource(self) -> IResource:
        """What a site serves."""
        resource: IResource = self._klein.resource()
        return resource

    def reception(self, head: Head) -> IBody | None:
        """See L{modabatchd.rest.interfaces.Reception} and Note [Two checks]."""
        if head.length == 0:
            return None
        about = self._match(head)
        self._check(head, about)
        if about.takes is not None:
            return ShortBody(head, about.takes_forms)
        return self._receive(head) if about.takes_submission else None

    def _add(self, about: Operation, serve: Serve) -> None:
        def served(request: Any, **segments: str) -> Deferred[Any]:
            return shielded(self._serve(about, serve, request, segments), about.name)

        self._table[about.name] = about
        self._klein.route(about.path, methods=list(about.methods), endpoint=about.name)(served)

    def _match(self, head: Head) -> Operation:
        try:
            path = head.path.decode("utf-8", "replace")
            name, _ = self._klein.url_map.bind("").match(path, head.method.decode("ascii", "replace"))
        except HTTPException as problem:
            raise _refusal(problem) from None
        return self._table[name]

    def _check(self, head: Head, about: Operation) -> None:
        check(head, self._allowed_hosts, about.changes)
        if about.changes:
            keys.key(head.headers)
        if head.method == b"HEAD" and about.changes:
            # Whatever takes GET takes HEAD as well, says werkzeug; but HEAD must change nothing.
            raise _not_allowed(about.methods)

    async def _serve(self, about: Operation, serve: Serve, request: Any, segments: Mapping[str, str]) -> None:
        """See Note [Clients that leave]."""
        try:
            self._check(Head(request.method, request.path, request.requestHeaders), about)
            answer = await self._served(about, lambda: serve(request, **segments), request)
        except Exception as problem:
            if request.startedWriting:
                tell(problem, f"{about.name} was answered")
                request.break_off()
            else:
                respond_problem(request, problem)
        else:
            if answer is not None:
                respond_answer(request, answer)

    async def _served(self, about: Operation, work: Callable[[], Any], request: Any) -> Answer | None:
        if not about.changes or about.takes_submission:
            answer: Answer | None = await work()
            return answer
        sent = b"" if about.takes is None or request.body is None else request.body.sent()
        digest = keys.of_query(query(request), sent)
        return await self._once.answer(request, digest, lambda _: work(), first=about.adds_up)


def _unrouted(request: Any, failure: Failure) -> bytes:
    """Klein found no operation for a request; it writes what this returns, and finishes the request itself."""
    refusal = _refusal(failure.value)
    body = problems.encode(problems.problem(refusal))
    request.setResponseCode(refusal.status, HTTPStatus(refusal.status).phrase.encode("ascii"))
    for name, value in {**refusal.headers, "Content-Type": problems.CONTENT_TYPE, "Content-Length": str(len(body))}.items():
        request.setHeader(name, value)
    return body


def _refusal(problem: BaseException | None) -> HTTPRefusal:
    if isinstance(problem, MethodNotAllowed):
        return _not_allowed(problem.valid_methods or ())
    return HTTPRefusal(404, "unknown-resource", "There is nothing at this path.", "GET /api/spec.html shows what there is.")


def _not_allowed(methods: Iterable[str]) -> HTTPRefusal:
    allowed = ", ".join(sorted(set(methods)))
    cause = "The path is right, but this method is not for it."
    return HTTPRefusal(405, "method-not-allowed", cause, f"Use {allowed}.", {"Allow": allowed})
