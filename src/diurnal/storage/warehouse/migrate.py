"""Migrates a warehouse to the newest version of its tables: automatically, under a lock, in one transaction."""

from __future__ import annotations

from pathlib import Path

import psycopg
import sqlalchemy as sa
import sqlalchemy.exc

from diurnal.errors import ConfigurationError

# Oldest first, as in migrations/versions. The list here spares the import of Alembic.
VERSIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
    "0016",
)
VERSION_TABLE = "diurnal_version"
_LOCK = 0x6469_7572_6E61_6C  # the bytes of "diurnal" as the key of an advisory lock


def migrate_tables(engine: sa.Engine) -> None:
    """Migrate the warehouse to the newest version. Concurrent migrations wait for each other.

    Raises
    ------
    ConfigurationError
        If the warehouse is newer than this code.
    """
    version = _read_version(engine)
    if version == VERSIONS[-1]:
        return
    if version is not None and version not in VERSIONS:
        message = f"the warehouse has version {version}, which is newer than this diurnal knows ({VERSIONS[-1]})"
        raise ConfigurationError(message, hint="upgrade diurnal here: pip install --upgrade diurnal")
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        _run_migrations(connection)


def _read_version(engine: sa.Engine) -> str | None:
    query = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
    try:
        with engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none()
    except sqlalchemy.exc.ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable):
            return None
        raise


def _run_migrations(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, "head")
