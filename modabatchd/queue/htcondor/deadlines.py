"""How long HTCondor may take."""

from __future__ import annotations

import msgspec


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """
    Seconds that the scheduler may take.

    @ivar query: for an answer to a question.
    @ivar submit: for taking jobs (without their files), for an action, for a search of its history, for showing all jobs.
    @ivar transfer: for the files of one job, in or out, or for those of several small ones.
    """

    query: float = 5.0
    submit: float = 15.0
    transfer: float = 3600.0
