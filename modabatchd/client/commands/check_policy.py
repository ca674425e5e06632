"""C{modabatch check-policy}."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click
from twisted.internet import task
from twisted.internet.defer import Deferred

from modabatchd.client.commands.policy_file import FILE, many
from modabatchd.infrastructure.catalogue import Catalogue
from modabatchd.infrastructure.policies import Mistake, Reading, Remark, examine, load_text
from modabatchd.infrastructure.policies.drivers import drivers
from modabatchd.infrastructure.policies.sense import sense
from modabatchd.infrastructure.policy import Policy, Pool
from modabatchd.infrastructure.providing import driver_maker
from modabatchd.infrastructure.requirements import requirements

_CURE: Final = "conf/policies/complete.toml explains every key."


@click.command("check-policy")
@click.argument("file", type=FILE)
@click.option(
    "--online/--offline", default=None, help="Ask providers for sizes and images; by default those with readable credentials."
)
def check_policy(file: Path, online: bool | None) -> None:
    """Tell everything that is wrong with a policy.

    Every mistake with its line, and warnings of what can hardly be meant: a pool that no job could ever match, limits
    that are never reached, a budget of less than an hour.  Requirements are read by HTCondor's own library where it
    is installed.
    Exit status: 0 if it can be used, also with warnings; 1 if not.
    """
    reading = examine(load_text(file))
    remarks = [] if reading.policy is None else [*_remarks(reading.policy, online)]
    wrong = [*reading.mistakes, *(reading.at(remark) for remark in remarks if remark.error)]
    warned = [reading.at(remark) for remark in remarks if not remark.error]
    for mistake in _ordered(wrong):
        click.echo(mistake.text(str(file)), err=True)
    for mistake in _ordered(warned):
        click.echo(f"{file}:{mistake.line}: warning: {mistake.text('').partition(': ')[2]}", err=True)
    if wrong:
        click.echo(f"{many(len(wrong), 'mistake')}.  {_CURE}", err=True)
        sys.exit(1)
    _summarize(file, reading)


def _remarks(policy: Policy, online: bool | None) -> Iterable[Remark]:
    yield from sense(policy)
    yield from drivers(policy)
    yield from requirements(policy)
    pools = [(index, pool) for index, pool in enumerate(policy.pools) if _is_asked(pool, online)]
    if pools:
        yield from _looked_up(pools)


def _looked_up(pools: Sequence[tuple[int, Pool]]) -> list[Remark]:
    found: list[Remark] = []
    try:
        task.react(lambda reactor: Deferred.fromCoroutine(_asked(reactor, pools, found)))
    except SystemExit as end:
        # That is how it ends, also when all went well.
        if end.code:
            raise
    return found


def _is_asked(pool: Pool, online: bool | None) -> bool:
    there = pool.credentials is not None and pool.credentials.exists()
    return there if online is None else online


async def _asked(reactor: Any, pools: Sequence[tuple[int, Pool]], found: list[Remark]) -> None:
    catalogue = Catalogue(reactor, driver_maker)
    for index, pool in pools:
        found += await catalogue.remarks(index, pool)


def _ordered(mistakes: Iterable[Mistake]) -> list[Mistake]:
    return sorted(mistakes, key=lambda mistake: mistake.line)


def _summarize(file: Path, reading: Reading) -> None:
    policy = reading.policy
    if policy is not None:
        sizes = sum(len(pool.sizes) for pool in policy.pools)
        click.echo(f"{file}: {many(len(policy.pools), 'pool')}, {many(sizes, 'size')}, objective {policy.objective}")


COMMANDS: Final = {"check-policy": check_policy}
