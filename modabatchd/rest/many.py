"""The operations on many jobs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from modabatchd.errors import FieldError
from modabatchd.queue.bulk import BulkControl, Matching
from modabatchd.queue.job import Action, JobState
from modabatchd.rest import listing
from modabatchd.rest.asking import only
from modabatchd.rest.operations import Answer, Parameter, operation, query
from modabatchd.rest.representation_tasks import date
from modabatchd.store.interfaces import Bulk, Outcome, Selection

_MOST_IDS: Final = 10_000


class ManyAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One action for many jobs: those named by their ids, or those that fit all of the conditions.

    @ivar dry_run: only tell which jobs that are.
    @ivar label: KEY, or KEY=VALUE, each.
    @ivar submitted_since: RFC 3339, or seconds since 1970.
    """

    action: Action
    dry_run: bool = False
    ids: list[str] = []
    status: list[JobState] = []
    name: str | None = None
    name_prefix: str | None = None
    label: list[str] = []
    submitted_since: str | float | None = None
    submitted_until: str | float | None = None


class DryRun(msgspec.Struct, frozen=True):
    """
    What an action on many jobs would do.

    @ivar count: on how many jobs it would be taken: those whose state allows it.
    @ivar by_status: the same by state.
    @ivar jobs: the ids of the first hundred of them.
    @ivar unfit: how many of the jobs that were named it would not be taken on.
    """

    action: Action
    count: int
    by_status: dict[str, int]
    jobs: tuple[str, ...]
    unfit: int


class Exceptional(msgspec.Struct, frozen=True):
    """A job of which something else became than was asked for."""

    id: str
    result: str


class OperationView(msgspec.Struct, frozen=True, kw_only=True):
    """
    An action on many jobs, and how far it has come.  Dates are RFC 2822 in UTC.

    @ivar count: how many jobs there were when it was asked for.
    @ivar acted_on: how many of them it has come to.
    @ivar results: how many of these met with which result; "done" and "already done" are as good.
    @ivar exceptions: the first hundred that met with another one.
    """

    id: str
    action: Action
    state: Literal["running", "done"]
    created: str
    ended: str | None
    count: int
    acted_on: int
    results: dict[str, int]
    exceptions: tuple[Exceptional, ...]


_FIELDS: Final = (
    *(Parameter(name=name, description="", schema={}, repeated=name == "ids") for name in ("action", "dry_run", "ids")),
    *(parameter for parameter in listing.CONDITIONS if not parameter.name.startswith("ended")),
)


class Many:
    """Actions on many jobs over HTTP."""

    def __init__(self, control: BulkControl) -> None:
        self._control = control

    @operation(
        "POST",
        "/jobs/actions",
        "Hold, release, suspend, continue or remove many jobs",
        changes=True,
        adds_up=True,
        takes=ManyAsked,
        answers={200: DryRun, 202: OperationView},
        headers={202: ("Location",)},
        problems=(415, 422, 503, 507),
    )
    async def act_on_many(self, request: Any) -> Answer:
        """
        Takes an action on all jobs that are named, or that fit the conditions, as far as their state allows it; at least one
        condition must be given.  With dry_run it only tells which they are.  Otherwise it is done step by step, also across
        restarts, and Location tells where to ask how far it has come.
        """
        if request.body is None:
            raise FieldError("action", "The request has no body.", "Send JSON or a form with the field action.")
        asked = request.body.fields(ManyAsked)
        listing.check(asked, _FIELDS)
        action, wanted = _action(asked), _wanted(asked)
        if _is_dry(asked):
            return Answer(_dry(action, await self._control.matching(action, wanted)))
        bulk = await self._control.begin(action, wanted)
        return Answer(_view(bulk, Outcome()), 202, headers={"Location": f"/operations/{bulk.id}"})

    @operation(
        "GET",
        "/operations/<operation_id>",
        "How far an action on many jobs has come",
        answers={200: OperationView},
        problems=(422,),
    )
    async def get_operation(self, request: Any, operation_id: str) -> Answer:
        """It is remembered for a week after its end."""
        only(query(request))
        progressed = await self._control.get(operation_id)
        return Answer(_view(progressed.bulk, progressed.outcome))


def _action(asked: Mapping[str, Sequence[str]]) -> Action:
    text = asked.get("action", [""])[0]
    if text not in set(Action):
        raise FieldError("action", f"There is no action {text[:100]!r}.", f"The actions are {', '.join(Action)}.")
    return Action(text)


def _is_dry(asked: Mapping[str, Sequence[str]]) -> bool:
    text = asked.get("dry_run", ["false"])[0]
    if text not in ("true", "false"):
        raise FieldError("dry_run", f"dry_run is {text[:100]!r}.", "Send true or false.")
    return text == "true"


def _wanted(asked: Mapping[str, Sequence[str]]) -> Selection | Sequence[str]:
    conditions = {name: values for name, values in asked.items() if name not in ("action", "dry_run", "ids")}
    if bool(conditions) == ("ids" in asked):
        cause = "There are both ids and conditions." if conditions else "There are neither ids nor conditions."
        raise FieldError("ids", cause, "Send ids, or at least one of status, name, name_prefix, label and times of submission.")
    return listing.selection(conditions) if conditions else _ids(asked["ids"])


def _ids(texts: Sequence[str]) -> Sequence[str]:
    if len(texts) > _MOST_IDS:
        raise FieldError("ids", f"There are {len(texts)} ids.", f"Send {_MOST_IDS} at the most, or a condition.")
    try:
        return tuple(dict.fromkeys(str(UUID(text)) for text in texts))
    except ValueError:
        raise FieldError("ids", "Not all ids are UUIDs.", "Send ids as GET /jobs tells them.") from None


def _dry(action: Action, found: Matching) -> DryRun:
    states = {state.value: count for state, count in found.states.items()}
    return DryRun(action, found.count, states, found.first, found.unfit)


def _view(bulk: Bulk, outcome: Outcome) -> OperationView:
    return OperationView(
        id=bulk.id,
        action=bulk.action,
        state="running" if outcome.ended is None else "done",
        created=date(bulk.created) or "",
        ended=date(outcome.ended),
        count=bulk.count,
        acted_on=sum(outcome.results.values()),
        results=outcome.results,
        exceptions=tuple(Exceptional(job_id, result) for job_id, result in outcome.exceptions),
    )
