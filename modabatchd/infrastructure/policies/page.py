"""A text that is being read: where its values stand, and what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from modabatchd.infrastructure.policies.lines import Lines, Way
from modabatchd.infrastructure.policies.tables import Table


class Mistake(msgspec.Struct, frozen=True):
    """
    Something that is wrong.

    @ivar line: where.
    @ivar key: of what.
    @ivar problem: half a sentence, with what would be right.
    @ivar pool: which pool cannot be used because of it; L{None}: none can.
    """

    line: int
    key: str
    problem: str
    pool: str | None = None

    def text(self, path: str) -> str:
        """For the owner, with the file's name."""
        return f"{path}:{self.line}: {self.key}: {self.problem}" if self.key else f"{path}:{self.line}: {self.problem}"


class Page:
    """
    Collects mistakes.

    @ivar pool: which pool is being read; L{None} while it is no pool.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.pool: str | None = None
        self.mistakes: list[Mistake] = []

    def wrong(self, way: Way, problem: str) -> None:
        """Something is."""
        self.mistakes.append(self.mistake(way, problem, self.pool))

    def mistake(self, way: Way, problem: str, pool: str | None) -> Mistake:
        """Something that is wrong, with its line."""
        return Mistake(self._lines.line(way), _shown(way, pool), problem, pool)

    def values(self, table: Table, found: object, way: Way, inner: Collection[str] = ()) -> dict[str, Any]:
        """
        The values of a table that fit.

        @param inner: names in it that are tables themselves, and are not read here.
        """
        if not isinstance(found, Mapping):
            self.wrong(way, "this is a value, not a table")
            return {}
        values: dict[str, Any] = {}
        for name, value in found.items():
            if name in table.keys:
                self._read(table, name, value, (*way, name), values)
            elif name not in inner:
                self.wrong((*way, name), f"there is no such key{meant(name, [*table.keys, *inner])}")
        for name in table.needed:
            if name not in found:
                self.wrong(way, f"the key {name} is missing{self._expected(table, name)}")
        return values

    def tables(self, found: object, way: Way) -> list[Any]:
        """A list of tables."""
        if isinstance(found, list):
            return found
        self.wrong(way, f"this is not a list of tables (expected [[{'.'.join(str(name) for name in way)}]])")
        return []

    def _read(self, table: Table, name: str, value: object, way: Way, values: dict[str, Any]) -> None:
        kind = table.keys[name]
        try:
            values[name] = kind.read(value)
        except ValueError as problem:
            self.wrong(way, f"{problem} (expected {kind.expected})")

    def _expected(self, table: Table, name: str) -> str:
        return f" (expected {table.keys[name].expected})" if name in table.keys else ""


def _shown(way: Way, pool: str | None) -> str:
    """The way to a value as people count: the second pool is C{pool 2}."""
    steps = way if pool is None else (f"pool {pool!r}", *way[2:])
    shown = ""
    for step in steps:
        shown += f" {step + 1}" if isinstance(step, int) else f".{step}" if shown else step
    return shown


def meant(name: str, known: Collection[str]) -> str:
    """A guess at what a wrong name should have been."""
    close = difflib.get_close_matches(name, sorted(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""
