"""The statements on receivers, and on what became of messages."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, delete, insert, select, update
from sqlalchemy.sql.elements import UnaryExpression

from modabatchd.store.schema import attempts, endpoints, jobs, messages

_SEQ: Final = messages.c.seq
_THIS: Final = endpoints.c.id == bindparam("of")
_TO: Final[ColumnElement[bool]] = messages.c.endpoint == bindparam("to")

ENDPOINTS: Final = select(endpoints.c.entry).order_by(endpoints.c.created, endpoints.c.id)
ADD: Final = insert(endpoints)
CHANGE: Final = update(endpoints).where(_THIS).values(entry=bindparam("text"))
DELETE: Final = delete(endpoints).where(_THIS)
DELETE_MESSAGES: Final = delete(messages).where(_TO)

REVIVE: Final = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"), messages.c.abandoned.is_not(None))
    .values(due=bindparam("time"), abandoned=None, attempts=0)
)


def _told(which: Select[Any], order: UnaryExpression[Any] | ColumnElement[Any]) -> Select[Any]:
    """Messages with their tries, a row for each try; messages that C{which} gives the C{seq} of."""
    found = which.subquery()
    return (
        select(
            _SEQ,
            messages.c.id,
            jobs.c.id,
            messages.c.url,
            messages.c.body,
            messages.c.created,
            messages.c.event,
            messages.c.endpoint,
            messages.c.due,
            messages.c.delivered,
            messages.c.abandoned,
            attempts.c.at,
            attempts.c.status,
            attempts.c.problem,
        )
        .join(found, found.c.seq == _SEQ)
        .outerjoin(jobs, jobs.c.seq == messages.c.job)
        .outerjoin(attempts, attempts.c.message == _SEQ)
        .order_by(order, attempts.c.seq)
    )


def _newest(condition: ColumnElement[bool]) -> Select[Any]:
    newest = select(_SEQ).where(condition, bindparam("before") > _SEQ).order_by(_SEQ.desc()).limit(bindparam("limit"))
    return _told(newest, _SEQ.desc())


TOLD: Final = _told(select(_SEQ).join(jobs, jobs.c.seq == messages.c.job).where(jobs.c.id == bindparam("job_id")), _SEQ)
TOLD_TO: Final = _newest(_TO)
DEAD: Final = _newest(messages.c.abandoned.is_not(None))
