from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import psycopg
import pytest
import sqlalchemy as sa

from diurnal.errors import (
    ConfigurationError,
    PermissionDeniedError,
    TransientError,
)
from diurnal.storage.warehouse import Warehouse
from diurnal.storage.warehouse.migrate import VERSIONS
from diurnal.storage.warehouse.tables import metadata
from diurnal.types import DataInterval

NAME = "tides"
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND application_name LIKE 'diurnal%'
"""
DAY = DataInterval(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))

# Migrations


def test_tables_are_those_of_the_migrations(empty_url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    Warehouse(empty_url).close()
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(empty_url))
    options = {"version_table": "diurnal_version", "compare_type": True, "compare_server_default": True}
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        assert connection.execute(sa.text("SELECT version_num FROM diurnal_version")).scalar_one() == VERSIONS[-1]
    engine.dispose()
    changes = {difference[0] if isinstance(difference, tuple) else difference[0][0] for difference in differences}
    constraints = {"remove_fk", "remove_constraint", "remove_index", "modify_comment", "remove_table_comment"}
    assert changes <= constraints  # which only the migrations need to know


def test_versions_are_those_of_the_folder():
    from diurnal.storage.warehouse import migrations

    files = Path(migrations.__file__).parent.joinpath("versions").glob("[0-9]*.py")
    assert tuple(sorted(file.name[:4] for file in files)) == VERSIONS


def test_migrations_at_once_wait_for_each_other(empty_url):
    with ThreadPoolExecutor(6) as pool:
        warehouses = list(pool.map(lambda _: Warehouse(empty_url), range(6)))
    assert [warehouse.runs() for warehouse in warehouses] == [[]] * 6
    for warehouse in warehouses:
        warehouse.close()


def test_migration_that_fails_leaves_nothing(empty_url):
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE promotions (in_the_way int)")
        with pytest.raises(sa.exc.ProgrammingError):
            Warehouse(empty_url)
        assert connection.execute("SELECT to_regclass('heads'), to_regclass('diurnal_version')").fetchone() == (
            None,
            None,
        )


def test_newer_warehouse_is_refused(warehouse, warehouse_url):
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("UPDATE diurnal_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"9999.*newer") as caught:
        Warehouse(warehouse_url)
    assert "upgrade" in caught.value.hint


# Trouble


@contextmanager
def a_role_with_password(server):
    rules = server.folder / "cluster" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("local all guarded scram-sha-256\n" + before)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'opensesame'")
        connection.execute("SELECT pg_reload_conf()")
        yield
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP ROLE guarded")


def test_roles_without_password_or_rights(server, empty_url):
    with a_role_with_password(server):
        right = empty_url.replace("diurnal@", "guarded:opensesame@")
        wrong = empty_url.replace("diurnal@", "guarded:closesesame@")
        deadline = monotonic() + 10
        while monotonic() < deadline:  # until the server has read its rules
            with pytest.raises((ConfigurationError, PermissionDeniedError)) as caught:
                Warehouse(wrong)
            if caught.type is ConfigurationError:
                break
        assert caught.type is ConfigurationError
        assert "guarded" in str(caught.value)
        assert "sesame" not in str(caught.value)
        with pytest.raises(PermissionDeniedError, match="permission denied for schema public"):
            Warehouse(right)


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("postgresql://ada:opensesame@127.0.0.1:1/tides", TransientError, "127.0.0.1 port 1 as ada.*refused"),
        ("postgresql://ada:opensesame@nowhere.invalid/tides", TransientError, "nowhere.invalid port 5432"),
        ("postgresql://ada:open@sesame@127.0.0.1/tides", ConfigurationError, "URL of the warehouse is invalid"),
        ("postgresql://ada:open/sesame@127.0.0.1/tides", ConfigurationError, "URL of the warehouse is invalid"),
        ("postgresql://ada:op@en/sesame@127.0.0.1:5432/tides", ConfigurationError, "URL of the warehouse is invalid"),
        ("postgresql://ada:2/sesame@127.0.0.1/tides", ConfigurationError, "URL of the warehouse is invalid"),
        ("postgresql://ada:open#sesame@127.0.0.1/tides", ConfigurationError, "URL of the warehouse is invalid"),
        ("postgresql://ada:open?sesame@127.0.0.1/tides", ConfigurationError, "URL of the warehouse is invalid"),
        (
            "postgresql://127.0.0.1/?dbname=postgresql://ada:sesame%40h/d",
            ConfigurationError,
            "URL of the warehouse is invalid",
        ),
        ("postgresql://ada@127.0.0.1:1/tides?password=opensesame", TransientError, "127.0.0.1 port 1 as ada.*refused"),
        ("postgresql+psycopg://ada:opensesame@127.0.0.1/tides", ConfigurationError, "URL of the warehouse is invalid"),
        ("mysql://ada:opensesame@127.0.0.1/tides", ConfigurationError, "URL of the warehouse is invalid"),
    ],
)
def test_message_says_what_is_wrong_without_the_password(url, error, message):
    with pytest.raises(error, match=message) as caught:
        Warehouse(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.hint


def test_missing_database(server):
    with pytest.raises(ConfigurationError, match="no database 'nowhere'"):
        Warehouse(server.url("nowhere"))


def test_lock_that_is_held_names_its_holder(warehouse, warehouse_url):
    warehouse.claim_interval(NAME, DAY, requested_by="a test")
    hurried = warehouse_url + "&options=-c%20lock_timeout%3D200ms"
    with psycopg.connect(warehouse_url, application_name="sleeper") as holder, Warehouse(hurried) as other:
        holder.execute("SELECT 1 FROM heads FOR UPDATE")
        with pytest.raises(TransientError, match=rf"pid {holder.info.backend_pid} \(sleeper, idle in transaction\)"):
            other.claim_interval(NAME, DAY, requested_by="a test")
        holder.rollback()
        assert other.claim_interval(NAME, DAY, requested_by="a test") == 2


def test_server_restart_between_calls_is_not_noticed(warehouse, warehouse_url):
    warehouse.claim_interval(NAME, DAY, requested_by="a test")
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute(CUT)
    assert warehouse.claim_interval(NAME, DAY, requested_by="a test") == 2


def test_sessions_are_bounded_in_time(warehouse):
    names = ("TimeZone", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with warehouse.transaction("claim", NAME) as connection:
        settings = [connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in (*names, "application_name")]
    assert settings == ["UTC", "30s", "5min", "10min", "diurnal tides"]
