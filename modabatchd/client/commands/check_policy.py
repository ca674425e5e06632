"""C{modabatch check-policy}."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from modabatchd.client.commands.policy_file import FILE, many
from modabatchd.infrastructure.policies import load_policy, warnings


@click.command("check-policy")
@click.argument("file", type=FILE)
def check_policy(file: Path) -> None:
    """Tell everything that is wrong with a policy.

    And what can hardly be meant.
    """
    policy = load_policy(file)
    for warning in warnings(policy):
        click.echo(f"{file}: warning: {warning}", err=True)
    sizes = sum(len(pool.sizes) for pool in policy.pools)
    click.echo(f"{file}: {many(len(policy.pools), 'pool')}, {many(sizes, 'size')}, objective {policy.objective}")


COMMANDS: Final = {"check-policy": check_policy}
