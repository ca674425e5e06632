"""
Pages of the list that were read, until the store changes.

Note [Pages that are remembered]
================================
A list is polled far more often than anything changes, and to read it costs a trip to another thread, which costs more than all
else about the request.  Every write of the database is ours (Note [One writer] in L{modabatchd.store.connecting}), so a page
holds until the next one.  Whatever a write may have changed is forgotten before anybody is told that it is done, also when it
failed, and once more when a write that nobody waits for any more has ended; a page whose reading had begun before is not
remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modabatchd.store.interfaces import Listed, Selection

#: What asked for a page: selection, limit, after.
Key = tuple[Selection, int, int]

_MOST_PAGES: Final = 100
_LONGEST_PAGE: Final = 101


class Pages:
    """
    See Note [Pages that are remembered].

    @ivar generation: how often they were forgotten.
    """

    def __init__(self) -> None:
        self._pages: dict[Key, Sequence[Listed]] = {}
        self.generation = 0

    def get(self, key: Key) -> Sequence[Listed] | None:
        """The page, if it is remembered."""
        return self._pages.get(key)

    def remember(self, key: Key, page: Sequence[Listed], generation: int) -> Sequence[Listed]:
        """Remember a page whose reading began in a generation.  @return: the page."""
        if generation == self.generation and len(page) <= _LONGEST_PAGE:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            self._pages[key] = page
        return page

    def forget(self) -> None:
        """The store has changed."""
        self.generation += 1
        self._pages.clear()
