"""What a run comes down to.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from modabatchd.infrastructure.replay.simulation import Run


class Figures(msgspec.Struct, frozen=True):
    """
    Of one run.

    @ivar cost: core seconds paid for, by core seconds worked: 1 is what a cluster without any waste costs.
    @ivar wait: seconds, the mean over all jobs.
    @ivar p95: seconds that nineteen of twenty jobs did not exceed.
    @ivar money: in the policy's currency.
    """

    rule: str
    cost: float
    wait: float
    p95: float
    starts: int
    money: float

    def dominates(self, other: Figures) -> bool:
        """Whether it is nowhere worse, and somewhere better, in cost, mean wait and p95."""
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
    )


def percentile(ordered: Sequence[float], part: float) -> float:
    """What this part of the values does not exceed; of none, 0."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def table(rows: Iterable[Figures], currency: str) -> str:
    """For people; in columns."""
    lines = [f"{'rule':24} {'cost':>7} {'mean wait':>11} {'p95 wait':>10} {'starts':>8} {'money':>14}"]
    for row in rows:
        money = f"{row.money:.2f} {currency}".strip()
        lines.append(f"{row.rule:24} {row.cost:7.3f} {row.wait:9.1f} s {row.p95:8.0f} s {row.starts:8} {money:>14}")
    return "\n".join(lines)
