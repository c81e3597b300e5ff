"""Runs migrations on the connection that `allod.schema` hands over."""

from __future__ import annotations

from alembic import context

from allod import schema

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=schema.metadata(), render_as_batch=True, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
