"""One suite for each interface, run on every backend."""

import pytest

pytest.register_assert_rewrite(
    "tests.contracts.cloud", "tests.contracts.outbox", "tests.contracts.queue", "tests.contracts.spool", "tests.contracts.store"
)
