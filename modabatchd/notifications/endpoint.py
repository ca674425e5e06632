"""Registered receivers of notifications, and what they can be told.  Values only."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from modabatchd.queue.job import JobState


class Event(enum.StrEnum):
    """What receivers can be told of; C{job.idle} is a job that waits again, after a release or a lost run."""

    COMPLETED = "job.completed"
    HELD = "job.held"
    IDLE = "job.idle"
    REMOVED = "job.removed"
    STARTED = "job.started"
    SUBMISSION_ERROR = "job.submission_error"
    SUSPENDED = "job.suspended"
    TEST = "test"


#: What is told when a job enters a state.
EVENTS: Final[Mapping[JobState, Event]] = MappingProxyType(
    {
        JobState.IDLE: Event.IDLE,
        JobState.RUNNING: Event.STARTED,
        JobState.SUSPENDED: Event.SUSPENDED,
        JobState.HELD: Event.HELD,
        JobState.COMPLETED: Event.COMPLETED,
        JobState.REMOVED: Event.REMOVED,
        JobState.SUBMISSION_ERROR: Event.SUBMISSION_ERROR,
    }
)


class Secret(msgspec.Struct, frozen=True):
    """
    What messages are signed with.

    @ivar text: C{whsec_} and base64.
    @ivar until: when it ends, in seconds since the epoch; L{None} for the one that stays.
    """

    text: str
    until: float | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    A registered receiver.

    @ivar events: what it wants to hear of; nothing stands for everything.
    @ivar label: C{(key, value)} that a job must have; a value of L{None} means "any".  L{None}: any job.
    @ivar secrets: those that messages to it are signed with, the newest first.
    @ivar problem: why it was switched off, when it was not its owner who did.
    @ivar created: seconds since the epoch.
    """

    id: str
    url: str
    secrets: tuple[Secret, ...]
    created: float
    events: tuple[Event, ...] = ()
    label: tuple[str, str | None] | None = None
    enabled: bool = True
    problem: str | None = None

    def hears(self, event: Event) -> bool:
        """Whether it may have to be told, depending on the job."""
        return self.enabled and (not self.events or event in self.events)

    def wants(self, event: Event, labels: Mapping[str, str]) -> bool:
        """Whether it is to be told of this event of a job with these labels."""
        if not self.hears(event) or self.label is None:
            return self.hears(event)
        key, value = self.label
        return key in labels and value in (None, labels[key])

    def keys(self, now: float) -> tuple[str, ...]:
        """The secrets that count now, in seconds since the epoch."""
        return tuple(secret.text for secret in self.secrets if secret.until is None or now < secret.until)


def rotated(endpoint: Endpoint, secret: str, now: float, overlap: float) -> Endpoint:
    """The endpoint with a new secret; those that it had go on for C{overlap} seconds at the most."""
    until = now + overlap
    old = [Secret(old.text, until if old.until is None else min(old.until, until)) for old in endpoint.secrets]
    current = [secret for secret in old if secret.until is None or now < secret.until]
    return msgspec.structs.replace(endpoint, secrets=(Secret(secret), *current))
