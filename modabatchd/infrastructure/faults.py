"""
What a provider's error means to us.  A table and pure functions: no libcloud.

The providers' errors are told apart by what they have in common: the name of the exception's class, an HTTP status, and a
text that begins, or does not, with a code of the provider's.  The first rule that fits decides.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from typing import Final

import msgspec

from modabatchd.infrastructure.errors import CloudAway, CloudError, CloudRefused, NoCapacity, QuotaReached, Throttled

_LONGEST: Final = 300


class Gone(CloudRefused):
    """What was asked about is not there."""


class Exists(CloudAway):
    """There is one already, by an earlier attempt."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """
    An exception of libcloud, in plain data.

    @ivar kind: the name of its class.
    @ivar status: of HTTP; 0 where there is none.
    @ivar text: what it says, with the provider's code before a colon where there is one.
    @ivar retry_after: seconds; 0 if the provider said nothing.
    """

    kind: str
    status: int = 0
    text: str = ""
    retry_after: float = 0.0


class Meaning(enum.Enum):
    """What a fault means."""

    THROTTLED = enum.auto()
    CAPACITY = enum.auto()
    QUOTA = enum.auto()
    EXISTS = enum.auto()
    GONE = enum.auto()
    REFUSED = enum.auto()
    AWAY = enum.auto()


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Fits a fault whose kind or status is among these, or whose text has the pattern."""

    meaning: Meaning
    kinds: frozenset[str] = frozenset()
    statuses: Collection[int] = ()
    pattern: str = "(?!)"

    def fits(self, fault: Fault) -> bool:
        """Whether it does."""
        known = fault.kind in self.kinds or fault.status in self.statuses
        return known or re.search(self.pattern, fault.text, re.IGNORECASE) is not None


#: In order: a limit of requests is called a limit, too, and EC2's lack of capacity comes with status 500.
RULES: Final = (
    Rule(
        meaning=Meaning.THROTTLED,
        kinds=frozenset({"RateLimitReachedError"}),
        statuses=[429],
        pattern=r"^(RequestLimitExceeded|\w*Throttl\w*|SlowDown|overLimit)\b|rate.?limit|too many requests",
    ),
    Rule(
        meaning=Meaning.CAPACITY,
        pattern=r"^(Insufficient\w*Capacity|InsufficientFreeAddressesInSubnet|SpotMaxPriceTooLow)\b"
        r"|ZONE_RESOURCE_POOL_EXHAUSTED|not have enough resources|insufficient capacity|no valid host|sold out"
        r"|(not|un)\s?available in (that|the selected|this|the) (region|zone|location|data ?center)",
    ),
    Rule(
        meaning=Meaning.QUOTA,
        kinds=frozenset({"QuotaExceededError"}),
        pattern=r"^(\w+LimitExceeded|MaxSpotInstanceCountExceeded)\b|quota"
        r"|limit (was |is )?(reached|exceeded)|exceed\w* .*limit",
    ),
    Rule(
        meaning=Meaning.EXISTS,
        kinds=frozenset({"ResourceExistsError", "IdempotentParamError"}),
        pattern=r"already ?exists|must be unique",
    ),
    Rule(
        meaning=Meaning.GONE,
        kinds=frozenset({"ResourceNotFoundError"}),
        statuses=[404, 410],
        pattern=r"^InvalidInstanceID\.NotFound",
    ),
    Rule(
        meaning=Meaning.AWAY,
        statuses=[408, 409, *range(500, 600)],
        pattern=r"^(Unavailable|InternalError|ServiceUnavailable)\b",
    ),
    Rule(
        meaning=Meaning.REFUSED,
        kinds=frozenset({"InvalidCredsError", "InvalidCredsException", "GoogleAuthError", "KeyPairDoesNotExistError"}),
        statuses=range(400, 500),
    ),
)


def meaning(fault: Fault) -> Meaning:
    """By the first rule that fits; what fits none may have happened or not."""
    return next((rule.meaning for rule in RULES if rule.fits(fault)), Meaning.AWAY)


def error(fault: Fault, provider: str) -> CloudError:
    """The error to raise for a fault."""
    text = re.sub(r"\s+", " ", fault.text).strip() or fault.kind
    cause = f"{provider}: {text[:_LONGEST]}"
    match meaning(fault):
        case Meaning.THROTTLED:
            return Throttled(cause, "The provider is asked less often for a while.", fault.retry_after)
        case Meaning.CAPACITY:
            return NoCapacity(cause, "Another size, zone or market of the pool is tried meanwhile.")
        case Meaning.QUOTA:
            return QuotaReached(cause, "Ask the provider for a higher limit, or lower the pool's.")
        case Meaning.EXISTS:
            return Exists(cause, "The list of machines will show it.")
        case Meaning.GONE:
            return Gone(cause, "Check the pool's ids of image, size and network.")
        case Meaning.REFUSED:
            return CloudRefused(cause, "Check the pool's credentials, image, size and network.")
        case Meaning.AWAY:
            return CloudAway(cause, "It is asked again; what was asked for may have happened.")
