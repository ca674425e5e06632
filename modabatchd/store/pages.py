"""
Pages of the list that were read, until the store changes.

Note [Pages that are remembered]
================================
A list is polled far more often than anything changes, so a page is remembered together with the version that the jobs had when
it was read (Note [Versions] in L{modabatchd.store.versions}).
"""

from __future__ import annotations

from typing import Final

from modabatchd.store.interfaces import Listed, Page, Place, Selection

#: What asked for a page: selection, limit, after.
Key = tuple[Selection, int, Place | None]

_MOST_PAGES: Final = 100
_LONGEST_PAGE: Final = 101


class Pages:
    """See Note [Pages that are remembered]."""

    def __init__(self) -> None:
        self._pages: dict[Key, tuple[str | None, Page[Listed]]] = {}

    def get(self, key: Key, version: str | None) -> Page[Listed] | None:
        """The page, if it is remembered and the version is still the same."""
        known, page = self._pages.get(key, (None, None))
        return page if version is not None and known == version else None

    def remember(self, key: Key, page: Page[Listed], version: str | None) -> Page[Listed]:
        """Remember a page of a version.  @return: the page."""
        if version is not None and len(page.jobs) <= _LONGEST_PAGE:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            self._pages[key] = (version, page)
        return page
