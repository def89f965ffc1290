"""Attempts of steps: why one ended without a result stands in the warehouse, and never changes its error."""

import time

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from diurnal.errors import BatchRejectedError, NotEnoughDataError, SupersededError, TransientError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.attempts import describe_failure, recorded_attempt
from diurnal.pipeline.dry_run import dry_run
from projects import day, patients


@pytest.fixture
def context(project, stores):
    return RunContext(project.experiment(), day("2026-11-02"), stores, requested_by="test")


def fail(context, error):
    with pytest.raises(type(error)) as raised, recorded_attempt(context, "fetch"):
        raise error
    return raised.value


def test_rejected_batch_leaves_its_problems_and_its_quarantine(project, stores):
    project.bring("2026-11-02", patients("2026-11-02").drop(columns=["age", "pressure"]))
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    with pytest.raises(BatchRejectedError) as rejected:
        project.run("2026-11-02", stores)
    (row,) = stores.warehouse.failures("clinic")
    assert (row["step"], row["error"]["type"]) == ("fetch", "BatchRejectedError")
    assert row["data_interval_start"] == day("2026-11-02").start
    assert row["error"]["location"] == "clinic 2026-11-02 fetch"
    assert [problem["column"] for problem in row["error"]["problems"]] == ["age", "pressure"]
    assert row["quarantine"] == rejected.value.quarantine
    assert stores.lake.fs.exists(f"{row['quarantine']}/reasons.json")


def test_each_attempt_has_a_row(context, stores):
    for message in ("the disk is full", "it still is"):
        fail(context, TransientError(message, hint="free some space"))
    newest, oldest = stores.warehouse.failures()
    assert (oldest["error"]["message"], newest["error"]["message"]) == ("the disk is full", "it still is")
    assert newest["error"]["hint"] == "free some space"
    assert newest["quarantine"] is None


def test_error_of_the_users_code_is_raised_as_it_is(context, stores):
    error = ZeroDivisionError("division by zero")
    assert fail(context, error) is error
    (row,) = stores.warehouse.failures()
    assert (row["error"]["type"], row["error"]["message"]) == ("ZeroDivisionError", "division by zero")


@pytest.mark.parametrize("error", [SupersededError("a newer attempt"), KeyboardInterrupt(), SystemExit(3)])
def test_taken_over_and_interrupted_attempts_leave_nothing(context, stores, error):
    fail(context, error)
    assert stores.warehouse.failures() == []


def test_too_few_rows_are_no_failure(project, stores):
    project.bring("2026-11-01", patients("2026-11-01", 2).assign(ill=["no", "yes"]))
    with pytest.raises(NotEnoughDataError):
        project.run("2026-11-01", stores)
    assert stores.warehouse.failures() == []
    with psycopg.connect(project.warehouse_url) as connection:
        assert "not enough data yet" in connection.execute("select lacking from heads").fetchone()[0]


def test_dry_run_stores_neither(project, stores, context):
    project.bring("2026-11-02", patients("2026-11-02", 2).assign(ill=["no", "yes"]))
    assert dry_run(context).n_rows == 2
    project.bring("2026-11-02", patients("2026-11-02").assign(ill="yes"))
    assert dry_run(context).faults
    with psycopg.connect(project.warehouse_url) as connection:
        assert connection.execute("select count(*) from heads where lacking is not null").fetchone() == (0,)
        assert connection.execute("select count(*) from failures").fetchone() == (0,)


def test_secrets_and_unusual_characters_are_not_stored(context, stores):
    text = "cannot read https://ada:s3cr3t@host/a?token=t0k3n and \0 and \ud800: " + "x" * 10_000
    fail(context, ValueError(text))
    message = stores.warehouse.failures()[0]["error"]["message"]
    assert "s3cr3t" not in message
    assert "t0k3n" not in message
    assert "https://ada:***@host/a?token=*** and \\x00 and \\ud800: xxx" in message
    assert len(message) < 4_100


def test_error_that_has_no_text_is_still_raised(context, stores):
    class WordlessError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    fail(context, WordlessError())
    assert stores.warehouse.failures() == []


def test_locked_table_does_not_hold_the_error_back(context, project, stores):
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("lock table failures in access exclusive mode")
        started = time.monotonic()
        fail(context, TransientError("the disk is full"))
        assert time.monotonic() - started < 5
    time.sleep(0.5)
    assert [row["error"]["message"] for row in stores.warehouse.failures()] == ["the disk is full"]


def test_warehouse_that_is_away_changes_nothing(context, project, server):
    name = conninfo_to_dict(project.warehouse_url)["dbname"]
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"alter database {name} allow_connections false")
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        error = TransientError("the warehouse cannot be reached")
        assert fail(context, error) is error
        connection.execute(f"alter database {name} allow_connections true")


def test_read_only_warehouse_changes_nothing(context, project, server):
    name = conninfo_to_dict(project.warehouse_url)["dbname"]
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"alter database {name} set default_transaction_read_only = on")
    context.stores.warehouse.close()
    error = TransientError("no")
    assert fail(context, error) is error
    assert context.stores.warehouse.failures() == []


def test_many_problems_are_bounded():
    from diurnal.errors import Problem

    error = BatchRejectedError([Problem("missing-column", f"column {i} is missing", f"c{i}") for i in range(500)])
    assert len(describe_failure(error)["problems"]) == 50


def test_timeout_that_is_no_exception_is_a_failure(context, stores):
    class TaskTimeout(BaseException):
        """As Airflow has it, so that no ``except Exception`` of a task hides it."""

    with pytest.raises(TaskTimeout), recorded_attempt(context, "tune", timeout=TaskTimeout):
        raise TaskTimeout("Timeout, PID: 7")
    (row,) = stores.warehouse.failures()
    assert (row["step"], row["error"]["message"]) == ("tune", "Timeout, PID: 7")
    assert row["error"]["type"].endswith("TaskTimeout")
