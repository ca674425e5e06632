"""What the owner of the nodes is told, because only he can mend it.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from modabatchd.infrastructure.money import month
from modabatchd.infrastructure.planning import Memory
from modabatchd.infrastructure.policy import Policy
from modabatchd.notifications.message import Message

_CLOSED: Final = "pool-closed"
_BUDGET: Final = "budget-reached"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """
    One of them.

    @ivar event: C{pool-closed} or C{budget-reached}.
    @ivar at: seconds since the epoch.
    @ivar reason: a sentence.
    @ivar facts: what it is about, by name.
    """

    event: str
    at: float
    reason: str
    facts: Mapping[str, str | float]

    def body(self) -> bytes:
        """As the JSON document that is posted."""
        return msgspec.json.encode({"event": self.event, "at": self.at, "reason": self.reason, **self.facts})


def notices(
    before: Memory, after: Memory, failed: Mapping[str, str], policy: Policy, spent: float, told: str, now: float
) -> Sequence[Notice]:
    """
    What has come to pass since the last plan.

    @param before: the memory of that one.
    @param failed: a node that has just been given up, by pool.
    @param spent: this month.
    @param told: the budget that was last told to be reached; see L{budget_key}.
    """
    return [*_closings(before, after, failed, now), *_exhaustion(policy, spent, told, now)]


def budget_key(found: Sequence[Notice]) -> str | None:
    """The month and the budget that were reached, if any were; another budget in the same month is reached anew."""
    facts = next((each.facts for each in found if each.event == _BUDGET), None)
    return None if facts is None else _key(str(facts["month"]), facts["budget"])


def messages(found: Sequence[Notice], url: str, new_id: Callable[[], str]) -> Sequence[Message]:
    """Notices, to be posted to a URL; none if it is empty."""
    return [
        Message(id=new_id(), job_id=None, url=url, body=each.body(), created=each.at, event=each.event) for each in found if url
    ]


def _closings(before: Memory, after: Memory, failed: Mapping[str, str], now: float) -> Iterator[Notice]:
    for pool in sorted(after.closed.keys() - before.closed.keys()):
        reason = f"Pool {pool} is closed: {after.closed[pool]}."
        yield Notice(event=_CLOSED, at=now, reason=reason, facts={"pool": pool, "node": failed.get(pool, "")})


def _exhaustion(policy: Policy, spent: float, told: str, now: float) -> Iterator[Notice]:
    budget, this = policy.limits.monthly_budget, month(now)
    if budget is None or spent < budget or told == _key(this, budget):
        return
    currency = f" {policy.currency}".rstrip()
    reason = f"{spent:.2f}{currency} were spent this month, and the budget is {budget:.2f}{currency}: no node is started."
    facts: dict[str, str | float] = {"month": this, "spent": round(spent, 6), "budget": budget, "currency": policy.currency}
    yield Notice(event=_BUDGET, at=now, reason=reason, facts=facts)


def _key(when: str, budget: float | str) -> str:
    return f"{when} {budget}"
