"""Databases for tests: each one is a copy of a database that is migrated once, which is quicker than migrations."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from diurnal.runtime.postgres import EmbeddedServer
from diurnal.storage.warehouse import Warehouse

TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")


@contextmanager
def open_server() -> Iterator[EmbeddedServer]:
    """Run a server with a template in a temporary folder, in memory if there is some.

    The several hundred files of each database are created and deleted again, which on ext4 takes up to a second of
    CPU: it searches for inodes that were not deleted recently.
    """
    is_roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**30
    with tempfile.TemporaryDirectory(prefix="diurnal-tests-", dir=MEMORY if is_roomy else None) as folder:
        Path(folder).chmod(0o711)  # as root, the server's own account passes through it
        with EmbeddedServer(Path(folder) / "warehouse") as server:
            make_template(server)
            yield server


def make_template(server: EmbeddedServer) -> None:
    """Create the database that the others are copies of, and migrate it."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # it need not outlive a power cut
        connection.execute("ALTER SYSTEM SET max_wal_size = '64MB'")
        connection.execute("SELECT pg_reload_conf()")
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
