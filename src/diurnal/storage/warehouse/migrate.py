"""Bringing a warehouse to the newest version: by itself, once, under a lock, in one transaction."""

from __future__ import annotations

from pathlib import Path

import psycopg
import sqlalchemy as sa
import sqlalchemy.exc

from diurnal.errors import ConfigurationError

VERSIONS = ("0001", "0002", "0003", "0004")  # oldest first, as in migrations/versions: known without importing Alembic
VERSION_TABLE = "diurnal_version"
_LOCK = 0x6469_7572_6E61_6C  # "diurnal", as the number of an advisory lock


def migrate(engine: sa.Engine) -> None:
    """Bring the warehouse to the newest version. Whoever comes second waits for the first.

    Raises
    ------
    ConfigurationError
        If the warehouse is newer than this code.
    """
    found = _version(engine)
    if found == VERSIONS[-1]:
        return
    if found is not None and found not in VERSIONS:
        message = f"the warehouse has version {found}, which is newer than this diurnal knows ({VERSIONS[-1]})"
        raise ConfigurationError(message, hint="upgrade diurnal here: pip install --upgrade diurnal")
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        _upgrade(connection)


def _version(engine: sa.Engine) -> str | None:
    query = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
    try:
        with engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none()
    except sqlalchemy.exc.ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable):
            return None
        raise


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, "head")
