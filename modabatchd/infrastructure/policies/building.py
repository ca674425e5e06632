"""From the tables of a policy to the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.policies import tables
from modabatchd.infrastructure.policies.kinds import Money
from modabatchd.infrastructure.policies.lines import Way
from modabatchd.infrastructure.policies.page import Page, meant
from modabatchd.infrastructure.policy import Limits, Objective, Policy, Pool, Schedule, Size, Spot

_TOP = ("scaling", "pool", "schedule")


class Building:
    """
    Reads one document.

    @param page: takes the mistakes.
    @ivar places: where the pools and the schedules that could be used stand among all of them, by C{pool} and C{schedule}.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._currency = ""
        self.places: dict[str, list[int]] = {"pool": [], "schedule": []}

    def policy(self, document: Mapping[str, Any]) -> Policy:
        """The policy; whatever cannot be used is left out, and is a mistake on the page."""
        for name in document.keys() - set(_TOP):
            self._page.wrong((name,), f"there is no such table{meant(name, _TOP)}")
        scaling = document.get("scaling", {})
        values = self._page.values(tables.SCALING, scaling, ("scaling",), inner=("limits",))
        limits = self._limits(scaling)
        pools = self._pools(document)
        schedules = self._schedules(document, pools)
        if "objective" in values:
            values["objective"] = Objective(values["objective"])
        return Policy(pools=pools, limits=limits, schedules=schedules, currency=self._currency, **values)

    def _limits(self, scaling: object) -> Limits:
        found = scaling.get("limits", {}) if isinstance(scaling, Mapping) else {}
        way: Way = ("scaling", "limits")
        return Limits(**self._priced(self._page.values(tables.LIMITS, found, way), way))

    def _pools(self, document: Mapping[str, Any]) -> tuple[Pool, ...]:
        if "pool" not in document:
            self._page.wrong((), "there is no pool (expected [[pool]], with name, driver and sizes)")
        pools: dict[str, Pool] = {}
        for index, found in enumerate(self._page.tables(document.get("pool", []), ("pool",))):
            before = len(self._page.mistakes)
            given = found.get("name") if isinstance(found, Mapping) else None
            self._page.pool = given if isinstance(given, str) else f"number {index + 1}"
            pool = self._pool(found, ("pool", index))
            if pool is not None and pool.name in pools:
                self._page.wrong(("pool", index, "name"), f"there are two pools {pool.name!r}")
            if pool is not None and len(self._page.mistakes) == before:
                pools[pool.name] = pool
                self.places["pool"].append(index)
            self._page.pool = None
        return tuple(pools.values())

    def _pool(self, found: object, way: Way) -> Pool | None:
        before = len(self._page.mistakes)
        values = self._page.values(tables.POOL, found, way, inner=("sizes",))
        given = found.get("sizes", []) if isinstance(found, Mapping) else []
        sizes = self._sizes(given, (*way, "sizes"))
        if "spot" in values:
            values["spot"] = Spot(values["spot"])
        if len(self._page.mistakes) > before:
            return None
        pool = Pool(sizes=sizes, **values)
        self._check(pool, way)
        return pool

    def _sizes(self, found: object, way: Way) -> tuple[Size, ...]:
        sizes: dict[str, Size] = {}
        for index, given in enumerate(self._page.tables(found, way)):
            before = len(self._page.mistakes)
            values = self._priced(self._page.values(tables.SIZE, given, (*way, index)), (*way, index))
            if len(self._page.mistakes) > before:
                continue
            if values["name"] in sizes:
                self._page.wrong((*way, index), f"there are two sizes {values['name']!r}")
            sizes[values["name"]] = _size(values)
        return tuple(sizes.values())

    def _check(self, pool: Pool, way: Way) -> None:
        """What is right alone and wrong together."""
        if not pool.sizes:
            self._page.wrong((*way, "sizes"), "there is no size")
        if pool.max_nodes is not None and pool.min_nodes > pool.max_nodes:
            self._page.wrong((*way, "min_nodes"), f"{pool.min_nodes} is more than max_nodes, which is {pool.max_nodes}")
        if pool.spot is not Spot.NEVER and all(size.spot_price is None for size in pool.sizes):
            self._page.wrong((*way, "spot"), "no size has a spot_price, so none is to be had on the spot market")

    def _schedules(self, document: Mapping[str, Any], pools: tuple[Pool, ...]) -> tuple[Schedule, ...]:
        schedules = []
        for index, found in enumerate(self._page.tables(document.get("schedule", []), ("schedule",))):
            way: Way = ("schedule", index)
            before = len(self._page.mistakes)
            values = self._page.values(tables.SCHEDULE, found, way)
            if "pool" not in values and (only := _names(document)) and len(only) == 1:
                values["pool"] = only[0]
            if len(self._page.mistakes) > before:
                continue
            if (problem := _unknown(values.get("pool"), _names(document))) is not None:
                self._page.wrong((*way, "pool"), problem)
            elif any(pool.name == values["pool"] for pool in pools):
                schedules.append(Schedule(**values))
                self.places["schedule"].append(index)
        return tuple(schedules)

    def _priced(self, values: dict[str, Any], way: Way) -> dict[str, Any]:
        """Amounts without their currency, which must be the same everywhere."""
        for name, value in values.items():
            if isinstance(value, Money):
                self._currency = self._currency or value.currency
                if value.currency and value.currency != self._currency:
                    problem = f"this is in {value.currency}, and what came before in {self._currency} (expected one currency)"
                    self._page.wrong((*way, name), problem)
                values[name] = value.amount
        return values


def _size(values: Mapping[str, Any]) -> Size:
    capacity = Capacity(cpus=values["cpus"], memory=values["memory"], disk=values.get("disk", 0), gpus=values.get("gpus", 0))
    return Size(id=values["name"], capacity=capacity, price=values["price"], spot_price=values.get("spot_price"))


def _names(document: Mapping[str, Any]) -> list[str]:
    """The pools that were written down, whether they can be used or not."""
    pools = document.get("pool", [])
    names = [pool.get("name") for pool in pools if isinstance(pool, Mapping)] if isinstance(pools, list) else []
    return [name for name in names if isinstance(name, str)]


def _unknown(pool: str | None, known: list[str]) -> str | None:
    if pool is None:
        return "the key pool is missing, and there are several pools"
    return None if pool in known else f"there is no pool {pool!r}{meant(pool, known)}"
