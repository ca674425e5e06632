"""
What could not be had is left alone for a while, longer each time; then it is tried once.

An offering is I{open}, or I{backing off} until some time, or, after that, I{half open}: one node is tried, and what comes of
it decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from modabatchd.infrastructure.node import Offering
from modabatchd.infrastructure.planning.memory import BackOff
from modabatchd.infrastructure.planning.snapshot import Outcome, OutcomeKind
from modabatchd.infrastructure.policy import Policy


class _Rule(msgspec.Struct, frozen=True):
    first: float
    longest: float
    cause: str
    everywhere: bool = False


#: How long the first wait is, and the longest; whether it concerns all offerings of the pool.
_RULES: Final[Mapping[OutcomeKind, _Rule]] = {
    OutcomeKind.NO_CAPACITY: _Rule(60.0, 1800.0, "the provider has none at the moment"),
    OutcomeKind.QUOTA: _Rule(300.0, 3600.0, "the account's quota is reached"),
    OutcomeKind.THROTTLED: _Rule(10.0, 600.0, "the provider wants to be asked less often", everywhere=True),
    OutcomeKind.AWAY: _Rule(15.0, 300.0, "the provider does not answer", everywhere=True),
    OutcomeKind.REFUSED: _Rule(600.0, 21600.0, "the provider refuses it"),
    OutcomeKind.DIED: _Rule(60.0, 1800.0, "its last machine ended before it joined the pool"),
}

#: For how many seconds the result of a probe is waited for.
_PROBED: Final = 600.0

BackOffs = dict[Offering, BackOff]


def learn(back_offs: BackOffs, outcomes: Iterable[Outcome], policy: Policy, now: float) -> None:
    """Note what came of the last starts."""
    for outcome in outcomes:
        rule = _RULES.get(outcome.kind)
        if rule is None:
            back_offs.pop(outcome.offering, None)
            continue
        for offering in _concerned(outcome, rule, policy):
            _fail(back_offs, offering, rule, max(outcome.retry_after, 0.0), now)


def _fail(back_offs: BackOffs, offering: Offering, rule: _Rule, retry_after: float, now: float) -> None:
    known = back_offs.get(offering)
    if known is not None and now < known.until and not known.probing:
        # Several starts were under way when the first of them failed: that is one failure.
        back_offs[offering] = msgspec.structs.replace(known, until=max(known.until, now + retry_after))
        return
    failures = 1 if known is None else known.failures + 1
    wait = min(rule.longest, rule.first * 2.0 ** min(failures - 1, 16))
    back_offs[offering] = BackOff(offering, failures, now + max(wait, retry_after), rule.cause)


def probe(back_offs: BackOffs, offering: Offering, now: float) -> None:
    """One node of a half open offering is tried; if nobody tells what came of it, another one after a while."""
    back_offs[offering] = msgspec.structs.replace(back_offs[offering], until=now + _PROBED, probing=True)


def _concerned(outcome: Outcome, rule: _Rule, policy: Policy) -> list[Offering]:
    """The offerings that a failure tells something of; one that was never in the policy is remembered all the same."""
    pool = policy.pool(outcome.offering.pool)
    if not rule.everywhere or pool is None:
        return [outcome.offering]
    markets = {outcome.offering.market}
    found = {
        Offering(pool=pool.name, size=size.id, zone=zone, market=market)
        for size in pool.sizes
        for zone in pool.zones
        for market in markets
    }
    return sorted(found | {outcome.offering}, key=order)


def order(offering: Offering) -> tuple[str, str, str, str]:
    """To sort them by."""
    return offering.pool, offering.size, offering.zone, offering.market
