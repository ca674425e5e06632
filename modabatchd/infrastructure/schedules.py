"""When a schedule holds.  Pure: the time is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from modabatchd.infrastructure.policy import Schedule

_MINUTE = 60


class Window(msgspec.Struct, frozen=True):
    """@ivar holds: whether the schedule does.  @ivar changes: when that changes, in seconds since the epoch."""

    holds: bool
    changes: float | None


def window(schedule: Schedule, now: float) -> Window:
    """
    Whether a schedule holds at a time.

    @raise ValueError: its cron expression, its end or its timezone is not one.
    """
    return _at_minute(schedule, int(now // _MINUTE))


# A schedule changes at whole minutes only, and is asked for many times in each.
@lru_cache(maxsize=256)
def _at_minute(schedule: Schedule, minute: int) -> Window:
    now = datetime.fromtimestamp(minute * _MINUTE, UTC).astimezone(ZoneInfo(schedule.timezone))
    try:
        # The iterators leave out the moment they start from.
        begun = next(CronSim(schedule.cron, now + timedelta(minutes=1), reverse=True), None)
        begins = next(CronSim(schedule.cron, now), None)
    except CronSimError as problem:
        raise ValueError(f"{schedule.cron!r} is not a cron expression: {problem}") from None
    end = None if begun is None else _end(begun, schedule.until)
    if end is not None and now < end:
        return Window(True, end.timestamp())
    return Window(False, None if begins is None else begins.timestamp())


def _end(begun: datetime, until: str) -> datetime:
    hour, minute = time_of_day(until)
    end = begun.replace(hour=hour, minute=minute, second=0)
    return end if end > begun else end + timedelta(days=1)


def time_of_day(text: str) -> tuple[int, int]:
    """
    The hour and minute of C{HH:MM}.

    @raise ValueError: it is not that.
    """
    moment = datetime.strptime(text, "%H:%M")
    return moment.hour, moment.minute
