"""SQLStore keeps the contract of IStore on both databases."""

from collections.abc import Callable, Iterator

import pytest

from modabatchd.store.sql import SQLStore
from tests.contracts.store import StoreContract
from tests.deferreds import now
from tests.store.databases import opened


@pytest.fixture
def stores(url: str) -> Iterator[list[SQLStore]]:
    """Those that were opened, the last one is open."""
    opened_ones = [opened(url)]
    yield opened_ones
    now(opened_ones[-1].stopService())


class TestSQLStore(StoreContract):
    @pytest.fixture
    def store(self, stores: list[SQLStore]) -> SQLStore:
        return stores[0]

    @pytest.fixture
    def reopen(self, stores: list[SQLStore], url: str) -> Callable[[], SQLStore]:
        def reopen() -> SQLStore:
            now(stores[-1].stopService())
            stores.append(opened(url))
            return stores[-1]

        return reopen
