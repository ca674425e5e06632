"""Runs the migrations on the connection of the caller, in its transaction.  Alembic loads this file."""

from alembic import context

from modabatchd.store.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    # SQLite can do this as well; alembic does not believe it.
    transactional_ddl=True,
)
context.run_migrations()
