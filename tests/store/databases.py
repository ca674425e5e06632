"""Databases for tests: a file, or a schema of its own in the PostgreSQL that the environment names."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from tests.run_now import RunNow


def sqlite(directory: Path) -> str:
    return f"sqlite:///{directory}/store.sqlite"


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty place in a real PostgreSQL; fails when the tests were not told of one."""
    url = make_url(os.environ["MODABATCH_TEST_POSTGRESQL"])
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        own = {"options": f"-csearch_path={schema}", "application_name": schema}
        yield url.update_query_dict(own).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


def opened(url: str) -> SQLStore:
    """A store without threads."""
    store = SQLStore(url, prepare(url), RunNow(), RunNow())
    store.startService()
    return store
