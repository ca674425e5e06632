"""What those who take over by hand may be told."""

from __future__ import annotations

from modabatchd.errors import IllegalAction, ModabatchError


class UnknownNode(ModabatchError):
    """No node has this name."""

    code = "unknown-node"


class UnknownPool(ModabatchError):
    """The policy has no pool of this name."""

    code = "unknown-pool"


class NotNow(IllegalAction):
    """The node's state, or a limit, does not allow it.  @ivar state: the node's, or why nothing can be started."""

    code = "not-now"


class DryRun(IllegalAction):
    """This is a dry run: nothing is done."""

    code = "dry-run"

    def __init__(self) -> None:
        super().__init__(
            "dry_run",
            "This is a dry run: nothing is done.",
            "See dry_run in the policy and in [scaling] of the configuration, and --dry-run.",
        )
