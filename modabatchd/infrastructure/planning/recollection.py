"""
The memory while a plan is made from it.

Note [Clocks that leap]
=======================
Everything here is measured by a clock that somebody may set, or that stood still with the daemon.  When more time seems to have
passed since the last plan than ever should, or less than none, then nobody knows what went on meanwhile: nothing is stopped
or started on that look, and all that was remembered moves by the leap, so that to the next plan no time has passed at all.
"""

from __future__ import annotations

from typing import Final

import msgspec

from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.planning.back_offs import BackOffs, order
from modabatchd.infrastructure.planning.idling import balanced, with_gap
from modabatchd.infrastructure.planning.memory import Fair, Memory, Phase, Spell

#: Seconds between two plans that are not to be believed.
LEAP: Final = 900.0

#: So many nodes in a row that never join close their pool.
FAILED_JOINS: Final = 10

#: By how much what happened once counts less with each gap.
_FADING: Final = 0.999
#: After how many gaps what a start is worth is found anew.
_FRESH: Final = 20
#: How much of a new finding is believed at once.
_TRUST: Final = 0.1
#: Seconds above the boot time that it is never more than.
_DEAREST: Final = 3600.0

_MINUTE: Final = 60.0
_BOOTS: Final = 20
#: Seconds, until the first node has told.
_BOOT: Final = 120.0


def leap(memory: Memory, now: float) -> float:
    """By how much the clock has leapt since the last plan; 0 if it has not.  See Note [Clocks that leap]."""
    passed = 0.0 if memory.at is None else now - memory.at
    return 0.0 if 0.0 <= passed <= LEAP else passed


def moved(memory: Memory, by: float) -> Memory:
    """As if everything had happened so much later."""
    replace = msgspec.structs.replace
    return replace(
        memory,
        at=None if memory.at is None else memory.at + by,
        spells={node: replace(spell, since=spell.since + by) for node, spell in memory.spells.items()},
        idle={pool: tuple(replace(one, since=one.since + by) for one in stack) for pool, stack in memory.idle.items()},
        back_offs=tuple(replace(off, until=off.until + by) for off in memory.back_offs),
        starts=tuple(start + by for start in memory.starts),
    )


class Recollection:
    """
    A memory that can be changed.

    @ivar spells: by node, of this plan only: what is not put here ends.
    """

    def __init__(self, memory: Memory, now: float) -> None:
        self._now = now
        self._last = memory.at
        self.before = memory.spells
        self.spells: dict[str, Spell] = {}
        self.idle = dict(memory.idle)
        self.gaps = dict(memory.gaps)
        self.often = dict(memory.often)
        self.fair = dict(memory.fair)
        self.boots = dict(memory.boots)
        self.turned_out: dict[str, Capacity] = dict(memory.turned_out)
        self.back_offs: BackOffs = {off.offering: off for off in memory.back_offs}
        self.failed_joins = dict(memory.failed_joins)
        self.closed = dict(memory.closed)
        self.starts = tuple(start for start in memory.starts if start > now - _MINUTE)

    def frozen(self) -> Memory:
        """What is to be remembered."""
        return Memory(
            at=self._now,
            spells=self.spells,
            idle={pool: stack for pool, stack in self.idle.items() if stack},
            gaps=self.gaps,
            often=self.often,
            fair=self.fair,
            boots=self.boots,
            turned_out=self.turned_out,
            back_offs=tuple(sorted(self.back_offs.values(), key=lambda off: order(off.offering))),
            failed_joins=self.failed_joins,
            closed=self.closed,
            starts=self.starts,
        )

    def in_phase(self, node: str, phase: Phase, also: Phase | None = None, began: float | None = None) -> Spell:
        """
        A node is in a phase; since when.

        @param also: an earlier phase that it counts on from.
        @param began: when it began by our records, which is believed if it was after the last look.
        """
        spell = self.before.get(node)
        if spell is None or spell.phase not in (phase, also):
            spell = Spell(phase, began if began is not None and self.is_new(began) else self._now)
        elif spell.phase is not phase:
            spell = msgspec.structs.replace(spell, phase=phase)
        self.spells[node] = spell
        return spell

    def is_new(self, moment: float) -> bool:
        """Whether something happened after the last look."""
        return self._last is not None and self._last <= moment <= self._now

    def joined(self, pool: str, seconds: float) -> None:
        """A node has come into the pool, so many seconds after it was ordered."""
        self.boots[pool] = (*self.boots.get(pool, ()), seconds)[-_BOOTS:]
        self.failed_joins.pop(pool, None)

    def never_joined(self, pool: str) -> None:
        """A node has been given up before it joined."""
        count_failure(self.failed_joins, self.closed, pool)

    def boot_time(self, pool: str) -> float:
        """How long a node of the pool takes, by the middle of the last ones."""
        boots = sorted(self.boots.get(pool, ()))
        return boots[len(boots) // 2] if boots else _BOOT

    def gap(self, pool: str, rank: int, since: float) -> None:
        """Work has come to a node that was idle."""
        key = gap_key(pool, rank)
        self.gaps[key] = with_gap(self.gaps.get(key, ()), self._now - since)
        for other in self._ranks(pool):
            self.often[other] = self.often.get(other, 0.0) * _FADING
        self.often[key] += 1.0
        if (fair := self.fair.get(pool)) is not None:
            self.fair[pool] = Fair(fair.cost, fair.gaps + 1)

    def fair_cost(self, pool: str, fallback: float) -> float:
        """What a start is worth where the owner wants a balance.  See Note [A fair price for waiting]."""
        fair = self.fair.get(pool)
        if fair is None or fair.gaps >= _FRESH:
            histories = [(self.often[key], self.gaps[key]) for key in self._ranks(pool)]
            boot = self.boot_time(pool)
            enough = sum(len(gaps) for _, gaps in histories) >= _FRESH
            found = balanced(histories, boot, boot + _DEAREST) if enough else fallback
            fair = self.fair[pool] = Fair(found if fair is None else fair.cost + (found - fair.cost) * _TRUST)
        return fair.cost

    def _ranks(self, pool: str) -> list[str]:
        return sorted(key for key in self.gaps if key.startswith(f"{pool}/"))


def count_failure(failed_joins: dict[str, int], closed: dict[str, str], pool: str) -> None:
    """A node of a pool never joined; too many of them in a row close it."""
    failed_joins[pool] = failed_joins.get(pool, 0) + 1
    if failed_joins[pool] >= FAILED_JOINS:
        closed.setdefault(
            pool, f"{FAILED_JOINS} nodes in a row never joined; see what the last one printed, then open it again"
        )


def gap_key(pool: str, rank: int) -> str:
    """By which gaps are remembered."""
    return f"{pool}/{rank}"
