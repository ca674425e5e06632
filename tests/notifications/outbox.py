"""The part of a store that the courier uses, in memory."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed

from modabatchd.notifications.endpoint import Endpoint, Event
from modabatchd.notifications.message import Attempt, Delivery, Message


class Outbox:
    """Messages with their next time and number of tries; every write is noted in C{log}."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[float, Delivery]] = {}
        self.log: list[tuple[object, ...]] = []
        self.attempts: list[tuple[str, Attempt]] = []
        self.sizes: list[int] = []
        self.answer: Callable[[Sequence[Delivery]], Deferred[Sequence[Delivery]]] = succeed

    def put(self, id: str, url: str, at: float = 0.0, endpoint: str | None = None) -> Message:
        message = Message(
            id=id,
            job_id=f"job-{id}",
            url=url,
            body=b'{"job-uuid":"x","retcode":0}',
            created=at,
            event=Event.COMPLETED,
            endpoint=endpoint,
        )
        self.waiting[id] = (at, Delivery(message, 0))
        return message

    def due(self, now: float, limit: int) -> Deferred[Sequence[Delivery]]:
        self.sizes.append(limit)
        ready = sorted((entry for entry in self.waiting.values() if entry[0] <= now), key=lambda entry: entry[0])
        return self.answer([delivery for _, delivery in ready[:limit]])

    def delivered(self, message_id: str, attempt: Attempt) -> Deferred[None]:
        self.attempts.append((message_id, attempt))
        self.log.append(("delivered", message_id, attempt.at))
        del self.waiting[message_id]
        return succeed(None)

    def postpone(self, message_id: str, attempt: Attempt, until: float) -> Deferred[None]:
        self.attempts.append((message_id, attempt))
        self.log.append(("postpone", message_id, until, attempt.problem))
        _, delivery = self.waiting[message_id]
        self.waiting[message_id] = (until, Delivery(delivery.message, delivery.attempts + 1))
        return succeed(None)

    def abandon(self, message_id: str, attempt: Attempt) -> Deferred[None]:
        self.attempts.append((message_id, attempt))
        self.log.append(("abandon", message_id, attempt.at, attempt.problem))
        del self.waiting[message_id]
        return succeed(None)


class Registered:
    """The part of a record of endpoints that the courier uses, in memory."""

    def __init__(self) -> None:
        self.known: dict[str, Endpoint] = {}

    def endpoints(self) -> Deferred[Sequence[Endpoint]]:
        return succeed(list(self.known.values()))

    def write(self, endpoint: Endpoint) -> Deferred[None]:
        self.known[endpoint.id] = endpoint
        return succeed(None)
