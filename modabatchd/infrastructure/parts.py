"""The parts of scaling, put together from what is outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from twisted.internet.interfaces import IReactorTime

from modabatchd.infrastructure.book import Book
from modabatchd.infrastructure.by_hand import ByHand
from modabatchd.infrastructure.carrying import Carrier, Tell
from modabatchd.infrastructure.hands import Hands
from modabatchd.infrastructure.interfaces import ICloud, IPoolStatus
from modabatchd.infrastructure.observing import Observer
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.register import IRegister
from modabatchd.infrastructure.scaling import Scaling


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the rest of the daemon has to do with.

    @ivar scaling: a service; nothing happens before it is started.
    """

    scaling: Scaling
    by_hand: ByHand
    book: Book


def put_together(
    clock: IReactorTime,
    pool: IPoolStatus,
    clouds: Mapping[str, ICloud],
    register: IRegister,
    policy: Policy,
    tell: Tell,
    new_id: Callable[[], str],
    broken: Mapping[str, str] = {},
    interval: float = 5.0,
    owner: str = "",
) -> Parts:
    """
    All of it.

    @param clock: tells the time of day.
    @param clouds: by pool; services, which somebody else starts and stops.
    @param policy: without the pools that are broken.
    @param broken: pools that cannot be used, each with the reason.
    @param interval: see L{Scaling}.
    @param owner: see L{Scaling}.
    """
    observer = Observer(clock, pool, clouds, broken)
    book = Book(clock, register, policy)
    hands = Hands(pool, clouds, tied=policy.dry_run)

    def wake() -> None:
        scaling.wake()

    carrier = Carrier(clock, book, hands, tell, wake)
    scaling = Scaling(clock, observer, book, hands, carrier, new_id, interval, owner)
    by_hand = ByHand(clock, observer, book, hands, carrier, new_id, wake)
    return Parts(scaling=scaling, by_hand=by_hand, book=book)
