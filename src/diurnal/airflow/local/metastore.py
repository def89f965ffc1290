"""Airflow's metastore: a database of its own in the embedded PostgreSQL, never the warehouse."""

from __future__ import annotations

from importlib import metadata

from diurnal.airflow.local.home import AirflowHome

DATABASE = "airflow"


def prepare_database(home: AirflowHome) -> bool:
    """Create the database if there is none, and return whether its tables are those of the installed Airflow.

    The comment of the database stores the version that completed their migration: ``airflow db migrate`` would need
    5 s of every start to find that out.
    """
    import psycopg

    with psycopg.connect(home.server.url("postgres"), autocommit=True) as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [DATABASE]
        ).fetchone()
        if row is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        return row is not None and row[0] == _core_version()


def mark_migrated(home: AirflowHome) -> None:
    """Store that the tables are those of the installed Airflow."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(home.server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL(f"COMMENT ON DATABASE {DATABASE} IS {{}}").format(sql.Literal(_core_version())))


def _core_version() -> str:
    """Return the version of Airflow's core package, which owns the tables."""
    return f"apache-airflow-core {metadata.version('apache-airflow-core')}"
