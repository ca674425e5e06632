"""From a TOML text to a policy, with every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from modabatchd.config.document import SyntaxProblem, parse
from modabatchd.errors import ConfigurationError
from modabatchd.infrastructure.policies.building import Building
from modabatchd.infrastructure.policies.lines import Lines
from modabatchd.infrastructure.policies.page import Mistake, Page
from modabatchd.infrastructure.policies.remarks import Remark
from modabatchd.infrastructure.policy import Policy

_CURE: Final = "conf/policies/complete.toml explains every key."


class Reading(msgspec.Struct, frozen=True):
    """
    What came of reading a policy.

    @ivar policy: without the pools that are broken; L{None} if there is nothing that could be used.
    @ivar mistakes: all of them, in the order of their lines.
    @ivar page: on which it stands.
    @ivar places: see L{Building}.
    """

    policy: Policy | None
    mistakes: tuple[Mistake, ...]
    page: Page
    places: Mapping[str, Sequence[int]] = {}

    def at(self, remark: Remark) -> Mistake:
        """A remark on the policy, with its line."""
        way, pool = remark.way, None
        if len(way) > 1 and isinstance(way[1], int):
            if way[0] == "pool" and self.policy is not None:
                pool = self.policy.pools[way[1]].name
            way = (way[0], self.places[str(way[0])][way[1]], *way[2:])
        return self.page.mistake(way, remark.problem, pool)


def load_policy(path: Path) -> Policy:
    """
    Read a file.

    @raise ConfigurationError: see L{read_policy}; or it cannot be read.
    """
    return read_policy(load_text(path), str(path))


def load_text(path: Path) -> str:
    """@raise ConfigurationError: it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as problem:
        raise ConfigurationError(
            f"{path}: cannot be read: {problem.strerror or problem}", "Check its name and who may read it."
        ) from None
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}:{line}: this is not UTF-8 (TOML is always written in it)", _CURE) from None


def read_policy(text: str, path: str) -> Policy:
    """
    A policy without a mistake.

    @param path: for the mistakes.
    @raise ConfigurationError: its cause has one line for each mistake: where, which key, what is wrong, what would be right.
    """
    reading = examine(text)
    if reading.mistakes or reading.policy is None:
        raise ConfigurationError("\n".join(mistake.text(path) for mistake in reading.mistakes), _CURE)
    return reading.policy


def examine(text: str) -> Reading:
    """Read as much of a policy as can be used, and tell what cannot."""
    try:
        document = parse(text)
    except SyntaxProblem as problem:
        return Reading(None, (Mistake(problem.line, "", f"this is not TOML: {problem}"),), Page(Lines("")))
    page = Page(Lines(text))
    building = Building(page)
    policy = building.policy(document.tables)
    mistakes = tuple(sorted(page.mistakes, key=lambda mistake: mistake.line))
    usable = None if any(mistake.pool is None for mistake in mistakes) else policy
    return Reading(usable, mistakes, page, building.places)
