"""The operations that tell what nodes and jobs cost."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IReactorTime

from modabatchd.errors import FieldError
from modabatchd.infrastructure import money
from modabatchd.infrastructure.book import Book
from modabatchd.infrastructure.costs import Charged, ICosts, RunCost
from modabatchd.rest import asking
from modabatchd.rest.looking import found
from modabatchd.rest.naming import canonical
from modabatchd.rest.operations import Answer, Parameter, operation, query
from modabatchd.store.interfaces import IStore

_MONTH: Final = r"[0-9]{4}-(0[1-9]|1[0-2])"
_PARAMETERS: Final = (
    Parameter(
        name="month",
        description="Which calendar month (UTC); this one if it is not given.",
        schema={"type": "string", "pattern": f"^{_MONTH}$"},
    ),
    Parameter(
        name="label",
        description="Of which label the values are told.",
        schema={"type": "string", "minLength": 1, "maxLength": 255},
    ),
)


class SumView(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was spent on nodes.

    @ivar jobs: what of it was for jobs.
    @ivar rest: what of it was for nobody: nodes that boot, idle, or run jobs that did not come from here.
    """

    spent: float
    jobs: float
    rest: float


class CostsView(SumView, frozen=True, kw_only=True):
    """
    What a month has cost.

    @ivar until: up to when jobs are charged (RFC 2822, UTC); the seconds since then are in C{rest}.
    @ivar pools: the same by pool.
    @ivar label: the one that was asked for.
    @ivar values: what was for jobs with its values; those of jobs without it are missing.
    @ivar unlabelled: what was for jobs without it.
    @ivar months: all that there are, the last one first.
    """

    month: str
    currency: str
    until: str | None
    pools: dict[str, SumView]
    label: str | None
    values: dict[str, float] | None
    unlabelled: float | None
    months: tuple[str, ...]


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a job on a node of ours.  Dates are RFC 2822 in UTC."""

    node: str
    started: str
    ended: str | None
    cost: float


class JobCostView(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a job has cost.

    @ivar until: up to when it is charged; null before the first time.
    @ivar runs: those on nodes that were started by the policy; others cost nothing.
    """

    job_id: str
    cost: float
    currency: str
    until: str | None
    runs: tuple[RunView, ...]


class Costs:
    """Costs over HTTP.  @param clock: tells the time of day."""

    def __init__(self, clock: IReactorTime, store: IStore, costs: ICosts, book: Book) -> None:
        self._clock = clock
        self._store = store
        self._costs = costs
        self._book = book

    @operation(
        "GET",
        "/infrastructure/costs",
        "Ask what a month has cost",
        tag="infrastructure",
        parameters=_PARAMETERS,
        answers={200: CostsView},
        problems=(422, 503),
    )
    async def get_costs(self, request: Any) -> Answer:
        """What was spent on nodes, and for which jobs: by pool, and by the values of a label.  The sums add up."""
        asked = query(request)
        asking.only(asked, "month", "label")
        month = asked.get("month", [money.month(self._clock.seconds())])[0]
        if not re.fullmatch(_MONTH, month, re.ASCII):
            raise FieldError("month", f"month is {month[:100]!r}.", "Send a year and a month: 2026-11.")
        label = asked.get("label", [""])[0]
        if "\0" in label:
            raise FieldError("label", "The label holds a NUL.", "Send the key of a label that jobs have.")
        return Answer(await self._view(month, label))

    @operation("GET", "/jobs/<job_id>/cost", "What a job has cost", answers={200: JobCostView}, problems=(404, 503))
    async def get_job_cost(self, request: Any, job_id: str) -> Answer:
        """Its share of its nodes' prices while it ran, by the largest of its shares of cores, memory and GPUs."""
        asking.only(query(request))
        job = await found(self._store, canonical(job_id))
        runs = await self._costs.runs(job.seq)
        until = await self._costs.until()
        return Answer(
            JobCostView(
                job_id=job.request.id,
                cost=round(sum(run.cost for run in runs), 6),
                currency=self._book.policy.currency,
                until=_date(until),
                runs=tuple(map(_run, runs)),
            )
        )

    async def _view(self, month: str, label: str) -> CostsView:
        charged, until, months = await self._costs.charged(month, label), await self._costs.until(), await self._costs.months()
        alive = await self._book.turn(lambda: self._alive(month))
        spent = {name: charged.spent.get(name, 0.0) + alive.get(name, 0.0) for name in {*charged.spent, *alive}}
        whole = _sum(sum(spent.values()), sum(charged.pools.values()))
        return CostsView(
            month=month,
            currency=self._book.policy.currency,
            until=_date(until),
            spent=whole.spent,
            jobs=whole.jobs,
            rest=whole.rest,
            pools={name: _sum(spent.get(name, 0.0), charged.pools.get(name, 0.0)) for name in sorted({*spent, *charged.pools})},
            label=label or None,
            values=_values(charged) if label else None,
            unlabelled=round(max(0.0, whole.jobs - sum(charged.values.values())), 6) if label else None,
            months=tuple(sorted({*months, money.month(self._clock.seconds())}, reverse=True)),
        )

    async def _alive(self, month: str) -> dict[str, float]:
        """What nodes that are alive have cost in a month, beyond what is booked, by pool."""
        found: dict[str, float] = {}
        for entry in self._book.entries.values():
            pool = entry.node.offering.pool
            found[pool] = found.get(pool, 0.0) + money.unbooked([entry], self._clock.seconds(), month)
        return found


def _values(charged: Charged) -> dict[str, float]:
    return {value: round(amount, 6) for value, amount in sorted(charged.values.items())}


def _sum(spent: float, jobs: float) -> SumView:
    spent, jobs = round(spent, 6), round(jobs, 6)
    return SumView(spent=spent, jobs=jobs, rest=round(spent - jobs, 6))


def _run(run: RunCost) -> RunView:
    return RunView(node=run.node, started=formatdate(run.started), ended=_date(run.ended), cost=round(run.cost, 6))


def _date(at: float | None) -> str | None:
    return None if at is None else formatdate(at)
