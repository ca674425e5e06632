"""C{modabatch nodes}."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from modabatchd.client.commands.connected import connected, in_json, print_json
from modabatchd.client.commands.showing import console, duration, facts, money, table, word
from modabatchd.client.http import Server
from modabatchd.client.jobs import Document
from modabatchd.client.nodes import Nodes

_POOLS: Final = ("pool", "driver", "state", "nodes", " per hour", " this month", "reason")
_NODES: Final = ("node", "pool", "size", "state", " age", " jobs", " cost", "reason")


@click.command("nodes")
@click.argument("node", required=False)
@in_json
@connected
def nodes(server: Server, node: str | None, raw: bool) -> None:
    """Show pools and nodes: what they run and cost.  With NODE, all about that one, also if it is gone."""
    asked = Nodes(server)
    found = asked.all() if node is None else asked.node(node)
    if raw:
        print_json(found)
        return
    shown = console()
    if node is not None:
        shown.print(facts(_about(found)))
        return
    shown.print(facts(_summary(found)))
    shown.print()
    shown.print(table(_POOLS, (_pool(pool) for pool in found["pools"])))
    if found["nodes"]:
        shown.print()
        shown.print(table(_NODES, (_row(each) for each in found["nodes"])))


def _summary(found: Document) -> Iterator[tuple[str, Any]]:
    currency, limits = found["currency"], found["limits"]
    yield "scaling", "paused" if found["paused"] else "dry run" if found["dry_run"] else "on"
    yield "objective", found["objective"]
    yield "not believed", found["stale"]
    yield "waiting jobs", found["waiting"]
    yield "per hour", _of(found["hourly_cost"], limits["max_hourly_cost"], currency)
    yield "this month", _of(found["spent"], limits["monthly_budget"], currency)
    yield "nodes", f"{len(found['nodes'])} of {limits['max_nodes']}"
    yield "limits", "changed by hand" if found["own_limits"] else None


def _of(amount: float, limit: float | None, currency: str) -> str:
    most = "" if limit is None else f" of {limit:.2f}"
    return f"{money(amount)}{most} {currency}".strip()


def _pool(pool: Document) -> tuple[Any, ...]:
    costs = (money(pool["hourly_cost"]), money(pool["spent"]))
    return (pool["name"], pool["driver"], word(pool["state"]), pool["nodes"], *costs, pool["reason"] or "")


def _row(node: Document) -> tuple[Any, ...]:
    state = word(node["state"] + (" (pinned)" if node["pinned"] else " (leaving)" if node["retiring"] else ""))
    facts = (duration(node["age"]), len(node["jobs"]), money(node["cost"]), node["reason"] or "")
    return (node["name"], node["pool"], node["size"], state, *facts)


def _about(node: Document) -> Iterator[tuple[str, Any]]:
    capacity = node["capacity"]
    yield "node", node["name"]
    yield "state", word(node["state"])
    yield "reason", node["reason"]
    yield "pool", node["pool"]
    yield "size", f"{node['size']} ({capacity['cpus']} cores, {capacity['memory']} MiB, {capacity['gpus']} GPUs)"
    yield "zone", node["zone"]
    yield "market", node["market"]
    yield "machine", node["machine"]
    yield "jobs", node["jobs"]
    yield "price", f"{money(node['price'])} per hour"
    yield "cost", money(node["cost"])
    yield "ordered", node["requested"]
    yield "joined", node["joined"]
    yield "stopped", node["stopped"]
    yield "pinned", "yes" if node["pinned"] else None
    yield "console", node["console"]


COMMANDS: Final = {"nodes": nodes}
