"""Databases for tests: each one is a copy of a database that is migrated once, which is quicker than migrations."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from diurnal.runtime.postgres import EmbeddedServer
from diurnal.storage.warehouse import Warehouse

TEMPLATE = "migrated"


def make_template(server: EmbeddedServer) -> None:
    """Create the database that the others are copies of, and migrate it."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    Warehouse(server.url(TEMPLATE)).close()


@contextmanager
def open_database(server: EmbeddedServer, template: str = TEMPLATE) -> Iterator[str]:
    """Create a database, give its URL, and drop it at the end.

    Parameters
    ----------
    server : EmbeddedServer
        A running server.
    template : str
        The database to copy. PostgreSQL's own ``template0`` gives an empty one.
    """
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        if template == TEMPLATE:
            with psycopg.connect(server.url(name)) as copy:  # a migration would have given it an identity of its own
                copy.execute("UPDATE identity SET warehouse_id = gen_random_uuid()")
        yield server.url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
