"""
Requests that are carried out once, however often they are sent.  See Note [A key and what it made] in
L{modabatchd.idempotency}.

Note [The same request twice at once]
=====================================
A key is taken before the store is asked for it, and let go when the answer is written down.  So of equal requests at the same
moment one goes on, and the others are told to ask again in a moment.  The daemon is the only one on its database, so its memory
is enough for that; what a crash interrupts is told by the store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import ModabatchError, QueueAway, StoreAway
from modabatchd.idempotency import Answered, IKeys, Key
from modabatchd.rest import keys
from modabatchd.rest.operations import Answer
from modabatchd.rest.problems import HTTPRefusal

_REPLAYED: Final = "Idempotent-Replayed"


class Once:
    """
    Gives first answers again.

    @param kept: where keys are kept.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, kept: IKeys) -> None:
        self._clock = clock
        self._kept = kept
        self._running: dict[tuple[str, str], bytes] = {}

    async def answer(
        self,
        request: Any,
        digest: bytes,
        work: Callable[[Key | None], Awaitable[Answer]],
        again: Callable[[str], Awaitable[Answer]] | None = None,
        first: bool = False,
    ) -> Answer:
        """
        The answer to a request: the first one, if its key is known.

        @param digest: of what was sent; it counts only with a key.
        @param work: carries the request out; is given its key.  When it raises, nothing was done.
        @param again: makes the answer for a job that was taken in, but not answered for.
        @param first: whether the key must be written down before the work begins.
        @raise HTTPRefusal: the key was used for something else, or it is not known what became of the request.
        """
        name = keys.key(request.requestHeaders)
        method = request.method.decode("ascii")
        if name is None or method not in keys.METHODS:
            return await work(None)
        scope = f"{method} {request.path.decode('ascii', 'backslashreplace')}"
        key = Key(scope=scope, name=name, digest=digest, at=self._clock.seconds())
        slot = (scope, name)
        if slot in self._running:
            raise _running() if self._running[slot] == digest else _reused()
        self._running[slot] = digest
        try:
            return await self._answer(key, work, again, first)
        finally:
            del self._running[slot]

    async def _answer(
        self,
        key: Key,
        work: Callable[[Key | None], Awaitable[Answer]],
        again: Callable[[str], Awaitable[Answer]] | None,
        first: bool,
    ) -> Answer:
        """See Note [The same request twice at once]."""
        found = await self._kept.find(key.scope, key.name)
        if found is None:
            answer = await (self._begun(key, work) if first else work(key))
            return await self._record(key, answer)
        known, answered = found
        if known.digest != key.digest:
            raise _reused()
        if answered is not None:
            location = {} if answered.location is None else {"Location": answered.location}
            return _replayed(Answer(answered.body, answered.status, headers=location))
        if known.job_id is None or again is None:
            raise _unknown()
        return _replayed(await self._record(known, await again(known.job_id)))

    async def _begun(self, key: Key, work: Callable[[Key | None], Awaitable[Answer]]) -> Answer:
        """Carry out what must not happen twice."""
        await self._kept.begin(key)
        try:
            return await work(key)
        except (QueueAway, StoreAway):
            # It may have happened.
            raise
        except ModabatchError:
            await self._kept.drop(key)
            raise

    async def _record(self, key: Key, answer: Answer) -> Answer:
        """The answer, written down as it goes out; if that fails it goes out all the same, for what was done is done."""
        body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body) + b"\n"
        try:
            await self._kept.answer(key, Answered(status=answer.status, location=answer.headers.get("Location"), body=body))
        except Exception:
            self._log.failure("the answer to {scope} is not written down; it is given", scope=key.scope)
        return answer


def _replayed(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, headers={**answer.headers, _REPLAYED: "true"})


def _running() -> HTTPRefusal:
    cause = f"A request with this {keys.HEADER} is being carried out."
    return HTTPRefusal(409, "key-in-use", cause, "Send it again in a moment.", {"Retry-After": "1"})


def _reused() -> HTTPRefusal:
    cause = f"This {keys.HEADER} was used for another request: its content was not the same."
    return HTTPRefusal(422, "key-reused", cause, "Use a new key for each request, and the same one only to send it again.")


def _unknown() -> HTTPRefusal:
    cause = "A request with this key was interrupted, and it is not known whether it was carried out."
    return HTTPRefusal(409, "outcome-unknown", cause, "See whether it was; if it was not, send it with a new key.")
