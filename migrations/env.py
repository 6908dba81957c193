"""How Alembic runs our migrations: on a connection it is handed, or as the owner in SUANLI_DATABASE_URL."""

import os

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text

from scheduler.storage.engine import driver_url
from scheduler.storage.migrate import LOCK_TIMEOUT_MS
from scheduler.storage.tables import Base


def _run(connection: Connection) -> None:
    # A migration that cannot get its lock soon must give up: whoever waits behind it waits as long.
    connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _main() -> None:
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql", target_metadata=Base.metadata, transaction_per_migration=True
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):
        _run(given)
        return
    if given is not None:  # an engine, as pytest-alembic gives
        with given.connect() as connection:
            _run(connection)
        return
    url = context.config.attributes.get("url") or os.environ["SUANLI_DATABASE_URL"]
    engine = create_engine(driver_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        _run(connection)
    engine.dispose()


_main()
