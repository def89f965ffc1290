"""Alembic's entrance: runs the migrations on the connection that is handed over, in the caller's transaction."""

from __future__ import annotations

from alembic import context

if __name__ == "env_py":  # the name that Alembic gives it; a mere import, as by a doctest, runs nothing
    context.configure(
        connection=context.config.attributes["connection"],
        version_table=context.config.attributes["version_table"],
    )
    with context.begin_transaction():
        context.run_migrations()
