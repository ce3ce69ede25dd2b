"""What Alembic runs: always on the connection that the store hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from session_tracker.store import (  # noqa: F401 - they add their tables
    tables_outbox,
    tables_people,
    tables_reviews,
    tables_signin,
    tables_streams,
)
from session_tracker.store.schema import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
