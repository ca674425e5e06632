"""
The indices of a job array's tasks, in a compact form.  Pure.

Note [Places in an array]
=========================
The tasks of an array are in the order of their indices, and the place of a task in that order, counted from 0, is its number
in the queue (HTCondor's C{ProcId}).  So neither has to be stored: with the cluster of the array, one follows from the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

#: The highest index that a task may have, and how many tasks an array may have whatever the configuration says.
HIGHEST: Final = 2**31 - 1
MOST: Final = 100_000

#: Characters, and so many ranges at most that to read them holds nobody up.
_LONGEST: Final = 20_000
_PART: Final = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10})(?::([0-9]{1,10}))?)?", re.ASCII)


class Stride(msgspec.Struct, frozen=True, array_like=True):
    """The indices C{first}, C{first + step} and so on up to C{last}, which is one of them."""

    first: int
    last: int
    step: int = 1

    @property
    def indices(self) -> range:
        """All of them."""
        return range(self.first, self.last + 1, self.step)


class Indices(msgspec.Struct, frozen=True, array_like=True):
    """Indices in ascending order, each once, and at least one."""

    strides: tuple[Stride, ...]

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(len(stride.indices) for stride in self.strides)

    @property
    def first(self) -> int:
        """The lowest."""
        return self.strides[0].first

    @property
    def last(self) -> int:
        """The highest."""
        return self.strides[-1].last

    def __iter__(self) -> Iterator[int]:
        for stride in self.strides:
            yield from stride.indices

    def __contains__(self, index: object) -> bool:
        return any(index in stride.indices for stride in self.strides)

    def places(self) -> dict[int, int]:
        """The place of each.  See Note [Places in an array]."""
        return {index: place for place, index in enumerate(self)}


def gathered(indices: Iterable[int]) -> Indices:
    """Indices in whatever order, as few strides as a look ahead by one makes of them."""
    ordered = sorted(set(indices))
    strides: list[Stride] = []
    start = 0
    while start < len(ordered):
        end = _end_of_stride(ordered, start)
        step = ordered[start + 1] - ordered[start] if end > start else 1
        strides.append(Stride(ordered[start], ordered[end], step))
        start = end + 1
    return Indices(tuple(strides))


def parse_indices(text: str) -> Indices:
    """
    Read what a user writes: C{1-1000}, C{1-1000:10} for every tenth, C{1,5,7-9}.

    @raise ValueError: with half a sentence, when it is something else, or more than L{MOST}.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST} characters")
    ranges = [_part(part.strip()) for part in text.split(",")]
    if sum(map(len, ranges)) > MOST:
        raise ValueError(f"it has more than {MOST} indices")
    return gathered(index for indices in ranges for index in indices)


def _part(text: str) -> range:
    match = _PART.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:50]!r} is neither a number nor FIRST-LAST nor FIRST-LAST:STEP")
    first = int(match[1])
    last = int(match[2] or first)
    step = int(match[3] or 1)
    if last < first or step < 1 or last > HIGHEST:
        raise ValueError(f"{text[:50]!r} does not go up, or goes beyond {HIGHEST}")
    return range(first, last + 1, step)


def _end_of_stride(ordered: Sequence[int], start: int) -> int:
    end = min(start + 1, len(ordered) - 1)
    while end + 1 < len(ordered) and ordered[end + 1] - ordered[end] == ordered[start + 1] - ordered[start]:
        end += 1
    return end
