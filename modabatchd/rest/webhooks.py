"""The operations on receivers of notifications, and on what became of these."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET
from twisted.internet.interfaces import IReactorTime

from modabatchd.errors import FieldError
from modabatchd.notifications.delivery import Courier
from modabatchd.notifications.endpoint import Endpoint, Secret, rotated
from modabatchd.notifications.endpoints import Endpoints, UnknownWebhook
from modabatchd.notifications.interfaces import IWebhooks
from modabatchd.notifications.message import Told
from modabatchd.notifications.schedule import Delivered, judge
from modabatchd.notifications.signing import key, new_secret
from modabatchd.queue.form import read_url
from modabatchd.rest import asking
from modabatchd.rest.document import document
from modabatchd.rest.naming import canonical, unknown
from modabatchd.rest.operations import Answer, operation, query
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.rest.representation_webhooks import (
    Deleted,
    NewWebhook,
    NotificationView,
    Probed,
    WebhookChange,
    WebhookMade,
    WebhookView,
    notification_view,
    webhook_made,
    webhook_view,
)
from modabatchd.store.interfaces import IStore

T = TypeVar("T")
_TAG: Final = "webhooks"
_PAGE: Final = {"parameters": (asking.LIMIT, asking.CURSOR), "headers": {200: ("Link",)}, "tag": _TAG}


class Webhooks:
    """
    Receivers over HTTP.

    @param overlap: seconds for which an old secret goes on beside a new one.
    @param new_id: makes the ids of endpoints.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoints: Endpoints,
        store: IStore,
        outcomes: IWebhooks,
        courier: Courier,
        overlap: float,
        new_id: Callable[[], str],
    ) -> None:
        self._clock = clock
        self._endpoints = endpoints
        self._store = store
        self._outcomes = outcomes
        self._courier = courier
        self._overlap = overlap
        self._new_id = new_id

    @operation(
        "POST",
        "/webhooks",
        "Register an endpoint",
        tag=_TAG,
        changes=True,
        adds_up=True,
        takes=NewWebhook,
        takes_forms=False,
        answers={201: WebhookMade},
        headers={201: ("Location",)},
        problems=(415, 422, 503),
    )
    async def add_webhook(self, request: Any) -> Answer:
        """A URL that gets signed POSTs (Standard Webhooks 1.0) about jobs.  The secret is shown in this answer only."""
        asking.only(query(request))
        new = document(request, NewWebhook)
        endpoint = Endpoint(
            id=self._new_id(),
            url=read_url("url", new.url),
            secrets=(Secret(new_secret(secrets.token_bytes) if new.secret is None else _secret(new.secret)),),
            created=self._clock.seconds(),
            events=new.events,
            label=_label(new.label),
            enabled=new.enabled,
        )
        await self._endpoints.add(endpoint)
        return Answer(webhook_made(endpoint), 201, headers={"Location": f"/webhooks/{endpoint.id}"})

    @operation("GET", "/webhooks", "List the endpoints", tag=_TAG, answers={200: list[WebhookView]}, problems=(422, 503))
    async def list_webhooks(self, request: Any) -> Answer:
        """All of them, the oldest first, without their secrets."""
        asking.only(query(request))
        return Answer([webhook_view(endpoint) for endpoint in await self._endpoints.all()])

    @operation(
        "GET", "/webhooks/<webhook>", "Look at an endpoint", tag=_TAG, answers={200: WebhookView}, problems=(404, 422, 503)
    )
    async def get_webhook(self, request: Any, webhook: str) -> Answer:
        """Without its secrets."""
        asking.only(query(request))
        return Answer(webhook_view(await self._endpoint(webhook)))

    @operation(
        "PATCH",
        "/webhooks/<webhook>",
        "Change an endpoint",
        tag=_TAG,
        changes=True,
        takes=WebhookChange,
        takes_forms=False,
        answers={200: WebhookView},
        problems=(404, 415, 422, 503),
    )
    async def change_webhook(self, request: Any, webhook: str) -> Answer:
        """
        What waits for it goes to the new URL.  While it is switched off, nothing is told to it, and what waits is given up when
        its turn comes.
        """
        asking.only(query(request))
        change = document(request, WebhookChange)
        wanted = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        if "url" in wanted:
            read_url("url", wanted["url"])
        if "label" in wanted:
            wanted["label"] = _label(wanted["label"])
        if "enabled" in wanted:
            wanted["problem"] = None
        return Answer(webhook_view(await self._changed(webhook, lambda old: msgspec.structs.replace(old, **wanted))))

    @operation(
        "DELETE",
        "/webhooks/<webhook>",
        "Delete an endpoint",
        tag=_TAG,
        changes=True,
        answers={200: Deleted},
        problems=(404, 422, 503),
    )
    async def delete_webhook(self, request: Any, webhook: str) -> Answer:
        """With all that was told to it, or waits for it."""
        asking.only(query(request))
        await _found(self._endpoints.delete(webhook))
        return Answer(Deleted(webhook))

    @operation(
        "POST",
        "/webhooks/<webhook>/rotate",
        "Give an endpoint a new secret",
        tag=_TAG,
        changes=True,
        adds_up=True,
        answers={200: WebhookMade},
        problems=(404, 422, 503),
    )
    async def rotate_secret(self, request: Any, webhook: str) -> Answer:
        """Messages are signed with the old one as well for a while (notifications.secret_overlap)."""
        asking.only(query(request))
        now, secret = self._clock.seconds(), new_secret(secrets.token_bytes)
        return Answer(webhook_made(await self._changed(webhook, lambda old: rotated(old, secret, now, self._overlap))))

    @operation(
        "POST",
        "/webhooks/<webhook>/test",
        "Send a test to an endpoint",
        tag=_TAG,
        changes=True,
        adds_up=True,
        answers={200: Probed},
        problems=(404, 422, 503),
    )
    async def test_webhook(self, request: Any, webhook: str) -> Answer:
        """Sends a message of the type test, signed like all others, once, and tells what came of it."""
        asking.only(query(request))
        reply = await self._courier.probe(await self._endpoint(webhook), self._new_id())
        verdict = judge(reply, 1, 0.0, lambda: 0.0)
        taken = isinstance(verdict, Delivered)
        return Answer(Probed(taken, reply.status, None if isinstance(verdict, Delivered) else verdict.problem))

    @operation(
        "GET",
        "/webhooks/<webhook>/deliveries",
        "Read what was told to an endpoint",
        answers={200: list[NotificationView]},
        problems=(404, 422, 503),
        **_PAGE,
    )
    async def get_deliveries(self, request: Any, webhook: str) -> Answer:
        """Each message with all tries, the newest first.  A Link header leads to the next page."""
        await self._endpoint(webhook)
        return await self._page(request, lambda limit, before: self._outcomes.told_to(webhook, limit, before))

    @operation(
        "GET",
        "/webhooks/dead-letters",
        "Read what was given up",
        answers={200: list[NotificationView]},
        problems=(422, 503),
        **_PAGE,
    )
    async def get_dead_letters(self, request: Any) -> Answer:
        """Messages that no receiver took, to endpoints and to job-notification, the newest first."""
        return await self._page(request, self._outcomes.dead)

    @operation(
        "POST",
        "/webhooks/dead-letters/<message>/resend",
        "Send a message again that was given up",
        tag=_TAG,
        changes=True,
        answers={202: None},
        problems=(404, 422, 503),
    )
    async def resend(self, request: Any, message: str) -> Answer:
        """At once, and if that fails as often as a new one.  It keeps its id."""
        asking.only(query(request))
        if not (message.isprintable() and await self._outcomes.revive(message, self._clock.seconds())):
            cause = f"No message {message[:100]!r} was given up."
            raise HTTPRefusal(404, "unknown-dead-letter", cause, "List them with GET /webhooks/dead-letters.")
        self._courier.wake()
        return Answer(b"", 202)

    @operation(
        "GET",
        "/jobs/<job_id>/notifications",
        "Read what was told about a job",
        tag="jobs",
        answers={200: list[NotificationView]},
        problems=(404, 422, 503),
    )
    async def get_notifications(self, request: Any, job_id: str) -> Answer:
        """Each message with all tries, the first one first."""
        asking.only(query(request))
        known = canonical(job_id)
        if await self._store.get(known) is None:
            raise unknown(job_id)
        return Answer([notification_view(told) for told in await self._outcomes.told(known)])

    async def _endpoint(self, webhook: str) -> Endpoint:
        return await _found(self._endpoints.get(webhook))

    async def _changed(self, webhook: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        return await _found(self._endpoints.change(webhook, change))

    async def _page(self, request: Any, read: Callable[[int, int], Any]) -> Answer:
        asked = query(request)
        asking.only(asked, "limit", "cursor")
        limit = asking.number(asked, "limit", asking.PAGE, 1, asking.LARGEST_PAGE)
        found: Sequence[Told] = await read(limit + 1, asking.number(asked, "cursor", asking.NEWEST, 0, asking.NEWEST))
        shown = found[:limit]
        more = urlencode({"limit": limit, "cursor": shown[-1].seq}) if len(found) > limit else None
        headers = {} if more is None else {"Link": f'<{request.path.decode("ascii")}?{more}>; rel="next"'}
        return Answer([notification_view(told) for told in shown], headers=headers)


async def _found(work: Awaitable[T]) -> T:
    try:
        return await work
    except UnknownWebhook as problem:
        raise HTTPRefusal(404, problem.code, problem.cause, problem.cure) from None


def _label(text: str | None) -> tuple[str, str | None] | None:
    if text is None:
        return None
    key, equals, value = text.partition("=")
    if not 0 < len(key) <= 255 or len(value) > 255:
        raise FieldError("label", "The label is empty or too long.", "Send KEY=VALUE or KEY, 255 characters each at the most.")
    return key, value if equals else None


def _secret(text: str) -> str:
    try:
        key(text)
    except ValueError as problem:
        raise FieldError("secret", "The secret cannot be used.", f"Leave it out, or send one: {problem}.") from None
    return text
