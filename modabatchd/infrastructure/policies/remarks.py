"""What there is to say of a policy that can be read.  A value."""

from __future__ import annotations

import msgspec

from modabatchd.infrastructure.policies.lines import Way


class Remark(msgspec.Struct, frozen=True):
    """
    Something that is allowed, or looks as if it were, and can hardly be meant.

    @ivar way: to what it is about.
    @ivar problem: half a sentence.
    @ivar error: whether the pool cannot be used because of it.
    """

    way: Way
    problem: str
    error: bool = False
