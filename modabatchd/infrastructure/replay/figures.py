"""What a run comes down to.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from modabatchd.infrastructure.replay.simulation import Run


class Figures(msgspec.Struct, frozen=True):
    """
    Of one run.

    @ivar cost: core seconds paid for, by core seconds worked: 1 is what a cluster without any waste costs; L{None} if nobody
        knows.
    @ivar wait: seconds, the mean over all jobs.
    @ivar p95: seconds that nineteen of twenty jobs did not exceed.
    @ivar money: in the policy's currency.
    @ivar never: how many jobs were never started.
    @ivar again: how many runs were lost with their nodes.
    """

    rule: str
    cost: float | None
    wait: float
    p95: float
    starts: int
    money: float
    never: int = 0
    again: int = 0

    def dominates(self, other: Figures) -> bool:
        """Whether it is nowhere worse, and somewhere better, in cost, mean wait and p95."""
        if self.cost is None or other.cost is None:
            return False
        mine, others = (self.cost, self.wait, self.p95), (other.cost, other.wait, other.p95)
        return mine != others and all(one <= two for one, two in zip(mine, others, strict=True))


def figures(run: Run, work: float) -> Figures:
    """@param work: core seconds of all jobs."""
    waits = sorted(run.waits)
    return Figures(
        rule=run.rule,
        cost=run.core_seconds / work if work else 0.0,
        wait=sum(waits) / len(waits) if waits else 0.0,
        p95=percentile(waits, 0.95),
        starts=run.starts,
        money=run.money,
        never=run.never,
        again=run.again,
    )


def percentile(ordered: Sequence[float], part: float) -> float:
    """What this part of the values does not exceed; of none, 0."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def table(rows: Sequence[Figures], currency: str) -> str:
    """For people; in columns, of which those are left out that hold nothing."""
    lost = any(row.never or row.again for row in rows)
    head = f"{'rule':24} {'cost':>7} {'mean wait':>11} {'p95 wait':>10} {'starts':>8} {'money':>14}"
    lines = [head + (f" {'lost runs':>10} {'never ran':>10}" if lost else "")]
    for row in rows:
        money = f"{row.money:.2f} {currency}".strip()
        cost = "-" if row.cost is None else f"{row.cost:.3f}"
        line = f"{row.rule:24} {cost:>7} {row.wait:9.1f} s {row.p95:8.0f} s {row.starts:8} {money:>14}"
        lines.append(line + (f" {row.again:>10} {row.never:>10}" if lost else ""))
    return "\n".join(lines)
