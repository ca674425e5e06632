"""A TOML text with the lines of its keys, which C{tomllib} does not tell.  Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

#: The way to a setting: the names of its tables and its own.
Key = tuple[str, ...]

_NAME: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_PATH: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_TABLE: Final = re.compile(rf"\s*\[\[?\s*({_PATH})\s*\]")
_ENTRY: Final = re.compile(rf"\s*({_PATH})\s*=")
_PLACE: Final = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")


class SyntaxProblem(ValueError):
    """The text is not TOML.  @ivar line: where."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class Document(msgspec.Struct, frozen=True):
    """@ivar tables: the text as dictionaries.  @ivar lines: where each table and key first stands."""

    tables: dict[str, Any]
    lines: Mapping[Key, int]

    def line(self, key: Key) -> int:
        """The line of a key, or of the nearest table around it (a key in an inline table has none of its own)."""
        return next((self.lines[key[:length]] for length in range(len(key), 0, -1) if key[:length] in self.lines), 1)


def parse(text: str) -> Document:
    """
    Read a TOML text.

    @raise SyntaxProblem: it is not TOML.
    """
    try:
        return Document(tomllib.loads(text), _lines(text))
    except tomllib.TOMLDecodeError as problem:
        place = _PLACE.search(str(problem))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        raise SyntaxProblem(line, _PLACE.sub("", str(problem))) from None


def _lines(text: str) -> Mapping[Key, int]:
    lines: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = _key(match[1])
            lines.setdefault(table, number)
        elif match := _ENTRY.match(line):
            lines.setdefault(table + _key(match[1]), number)
    return lines


def _key(path: str) -> Key:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, path))
