"""Where in a TOML text its tables and keys stand, lists of tables included.  Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

#: The way to a value: names of keys, and numbers within lists.
Way = tuple[str | int, ...]

_NAME: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_PATH: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEAD: Final = re.compile(rf"\s*(\[\[?)\s*({_PATH})\s*\]")
_ENTRY: Final = re.compile(rf"\s*({_PATH})\s*=\s*(.*)")


class Lines:
    """The lines of a text that is TOML."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Way, int] = {}
        self._counts: Counter[Way] = Counter()
        table: Way = ()
        listed: Way | None = None
        for number, line in enumerate(text.splitlines(), 1):
            if listed is not None:
                listed = self._item(listed, line, number)
            elif head := _HEAD.match(line):
                table = self._head(head[1] == "[[", _names(head[2]), number)
                self._lines.setdefault(table, number)
            elif entry := _ENTRY.match(line):
                key = (*table, *_names(entry[1]))
                self._lines.setdefault(key, number)
                listed = self._list(key, entry[2], number)

    def line(self, way: Way) -> int:
        """The line of a value, or of the nearest one around it that begins a line."""
        return next((self._lines[way[:length]] for length in range(len(way), 0, -1) if way[:length] in self._lines), 1)

    def _head(self, one_of_many: bool, names: Way, number: int) -> Way:
        way: Way = ()
        for name in names[:-1]:
            way = (*way, name)
            if way in self._counts:
                way = (*way, self._counts[way] - 1)
        way = (*way, names[-1])
        self._lines.setdefault(way, number)
        if one_of_many:
            self._counts[way] += 1
            way = (*way, self._counts[way] - 1)
        return way

    def _list(self, key: Way, value: str, number: int) -> Way | None:
        """Begin a list of tables that goes over several lines."""
        if not value.startswith("[") or _ends(value):
            return None
        return self._item(key, value[1:], number)

    def _item(self, key: Way, line: str, number: int) -> Way | None:
        for _ in range(line.split("#")[0].count("{")):
            self._lines.setdefault((*key, self._counts[key]), number)
            self._counts[key] += 1
        return None if _ends(line) else key


def _ends(value: str) -> bool:
    return value.split("#")[0].rstrip().endswith("]")


def _names(path: str) -> Way:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, path))
