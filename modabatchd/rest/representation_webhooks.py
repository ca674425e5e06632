"""Endpoints and notifications as the API tells them, and as it is told of endpoints.  Pure."""

from __future__ import annotations

from email.utils import formatdate
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from modabatchd.notifications.endpoint import Endpoint, Event
from modabatchd.notifications.message import Attempt, Told
from modabatchd.rest.representation_tasks import date

# What is refused beyond these schemas no schema can say.
_URL = {"pattern": "^https?://[A-Za-z0-9.-]{1,200}(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~/?=&%-]{0,1000})?$"}
_SECRET = {"pattern": "^whsec_([A-Za-z0-9+/]{4}){8,21}$"}
_LABEL = {"pattern": "^[^=]{1,255}(=.{0,255})?$"}

URL = Annotated[str, Meta(description="An http or https URL.", extra_json_schema=_URL)]
Events = Annotated[tuple[Event, ...], Meta(description="What to be told of; nothing: everything.")]
Label = Annotated[str, Meta(description="KEY=VALUE, or KEY: only jobs with this label are told of.", extra_json_schema=_LABEL)]
Secret = Annotated[str, Meta(description="whsec_ and the base64 of 24 to 64 bytes.", extra_json_schema=_SECRET)]


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    An endpoint to be registered.

    @ivar secret: what messages are signed with; one is made if it is not given.
    """

    url: URL
    events: Events = ()
    label: Label | None = None
    secret: Secret | None = None
    enabled: bool = True


class WebhookChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed; the rest stays."""

    url: URL | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    label: Label | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """
    An endpoint.  Dates are RFC 2822 in UTC.

    @ivar problem: why it was switched off, when the service did.
    @ivar old_secret_until: until when messages are signed with the secret before as well.
    """

    id: str
    url: str
    events: tuple[Event, ...]
    label: str | None
    enabled: bool
    problem: str | None
    created: str
    old_secret_until: str | None


class WebhookMade(msgspec.Struct, frozen=True, kw_only=True):
    """
    An endpoint that was registered, or has a new secret.

    @ivar secret: shown this once.
    """

    webhook: WebhookView
    secret: str


class Deleted(msgspec.Struct, frozen=True):
    """@ivar deleted: the id."""

    deleted: str


class Probed(msgspec.Struct, frozen=True):
    """What came of a test."""

    delivered: bool
    status: int | None
    problem: str | None


class AttemptView(msgspec.Struct, frozen=True):
    """
    A try.

    @ivar status: of the receiver's answer; null when there was none.
    @ivar problem: why it did not succeed.
    """

    at: str
    status: int | None
    problem: str | None


class NotificationView(msgspec.Struct, frozen=True, kw_only=True):
    """
    A notification, and what became of it.

    @ivar id: the receiver has it as webhook-id.
    @ivar job_id: null when it is about no job.
    @ivar webhook_id: the endpoint that it goes to; null for a job-notification.
    @ivar state: "waiting" for the next try, "delivered", or "dead": given up.
    @ivar attempts: each try, the first one first.
    """

    id: str
    event: str
    job_id: str | None
    url: str
    webhook_id: str | None
    created: str
    state: Literal["waiting", "delivered", "dead"]
    next_try: str | None
    attempts: tuple[AttemptView, ...]


def webhook_view(endpoint: Endpoint) -> WebhookView:
    """An endpoint, without its secrets."""
    key, value = endpoint.label or (None, None)
    return WebhookView(
        id=endpoint.id,
        url=endpoint.url,
        events=endpoint.events,
        label=key if value is None else f"{key}={value}",
        enabled=endpoint.enabled,
        problem=endpoint.problem,
        created=formatdate(endpoint.created),
        old_secret_until=date(endpoint.secrets[1].until) if len(endpoint.secrets) > 1 else None,
    )


def webhook_made(endpoint: Endpoint) -> WebhookMade:
    """An endpoint with its newest secret."""
    return WebhookMade(webhook=webhook_view(endpoint), secret=endpoint.secrets[0].text)


def notification_view(told: Told) -> NotificationView:
    """A notification."""
    message = told.message
    return NotificationView(
        id=message.id,
        event=message.event,
        job_id=message.job_id,
        url=message.url,
        webhook_id=message.endpoint,
        created=formatdate(message.created),
        state="waiting" if told.due is not None else "dead" if told.delivered is None else "delivered",
        next_try=date(told.due),
        attempts=tuple(_attempt(attempt) for attempt in told.attempts),
    )


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(formatdate(attempt.at), attempt.status, attempt.problem)
