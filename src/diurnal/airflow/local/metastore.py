"""Airflow's metastore: a database of its own in the embedded PostgreSQL, never the warehouse."""

from __future__ import annotations

from importlib import metadata

from diurnal.airflow.local.home import Home

DATABASE = "airflow"


def ready(home: Home) -> bool:
    """Make the database if there is none, and tell whether its tables are those of the installed Airflow.

    Which version migrated them to the end is kept as the database's comment: ``airflow db migrate`` would need 5 s of
    every start to find that out.
    """
    import psycopg

    with psycopg.connect(home.server.url("postgres"), autocommit=True) as connection:
        found = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [DATABASE]
        ).fetchone()
        if found is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        return found is not None and found[0] == _version()


def mark(home: Home) -> None:
    """Keep that the tables are those of the installed Airflow."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(home.server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL(f"COMMENT ON DATABASE {DATABASE} IS {{}}").format(sql.Literal(_version())))


def _version() -> str:
    """Give Airflow's version with that of its providers' fellow, the core, which owns the tables."""
    return f"apache-airflow-core {metadata.version('apache-airflow-core')}"
