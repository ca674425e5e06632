"""What goes wrong with the emulated accounts on request; the same things as with the cloud in memory."""

import time

import msgspec

from tests.clouds.loopback import Dropped, Request, Response


class Faults(msgspec.Struct):
    """
    @ivar away: every connection is closed without an answer, and nothing is done.
    @ivar refusal: what every create says instead of creating.
    @ivar throttled: whether every request is answered with that it came too early.
    @ivar lost_answers: so many creates to come happen, and are not answered.
    @ivar lost_requests: so many creates to come neither happen nor are answered.
    @ivar list_delay: seconds until a new machine is listed.
    @ivar misread: whether lists are answered with something else that looks like an answer.
    @ivar drip: seconds between two bytes of each answer.
    """

    away: bool = False
    refusal: str = ""
    throttled: bool = False
    lost_answers: int = 0
    lost_requests: int = 0
    list_delay: float = 0.0
    misread: bool = False
    drip: float = 0.0


class Account:
    """
    An account of an emulated provider.

    @ivar created: when a machine was, by its id.
    @ivar creates: how many machines were created through the interface.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.created: dict[str, float] = {}
        self.requests: list[Request] = []
        self.creates = 0

    def answer(self, request: Request) -> Response:
        self.requests.append(request)
        faults = self.faults
        if faults.away:
            raise Dropped
        if faults.throttled:
            return self.throttled()
        response = self.created_or_not(request) if self.is_create(request) else self.answered(request)
        response.drip = faults.drip
        return response

    def created_or_not(self, request: Request) -> Response:
        faults = self.faults
        if faults.refusal:
            return self.refused(faults.refusal)
        if faults.lost_requests:
            faults.lost_requests -= 1
            raise Dropped
        response = self.answered(request)
        if response.status < 300 and faults.lost_answers:
            faults.lost_answers -= 1
            raise Dropped
        return response

    def made(self, machine_id: str) -> None:
        self.creates += 1
        self.created[machine_id] = time.monotonic()

    def hidden(self, machine_id: str) -> bool:
        return time.monotonic() < self.created.get(machine_id, 0.0) + self.faults.list_delay

    def is_create(self, request: Request) -> bool:
        raise NotImplementedError

    def answered(self, request: Request) -> Response:
        raise NotImplementedError

    def throttled(self) -> Response:
        raise NotImplementedError

    def refused(self, refusal: str) -> Response:
        """@param refusal: C{capacity} or C{quota}."""
        raise NotImplementedError
