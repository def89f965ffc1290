"""Entry point of Alembic: runs the migrations on the connection of the caller, in its transaction."""

from __future__ import annotations

from alembic import context

if __name__ == "env_py":  # the module name under Alembic; any other import, such as by a doctest, runs nothing
    context.configure(
        connection=context.config.attributes["connection"],
        version_table=context.config.attributes["version_table"],
    )
    with context.begin_transaction():
        context.run_migrations()
