import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from diurnal.errors import (
    BatchRefused,
    ConfigurationError,
    NotAllowed,
    NotFound,
    Problem,
    Superseded,
    TryAgainLater,
    UsageError,
)
from diurnal.values import DataInterval, Decision, ModelFile, Package, Run
from diurnal.warehouse import Warehouse
from diurnal.warehouse.migrating import VERSIONS
from diurnal.warehouse.tables import metadata

NAME = "tides"
COLUMNS = pa.schema([("height", pa.float64()), ("harbour", pa.string())])
RESULT = {
    "target": "height",
    "test_size": 0.3,
    "window": "1",
    "n_train": 7,
    "n_test": 3,
    "cv_folds": 3,
    "n_candidates": 4,
    "scoring": "r2",
}
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND application_name LIKE 'diurnal%'
"""


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def day(number=0):
    start = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)
    return DataInterval(start, start + timedelta(days=1))


def package(text="batch", n_rows=3):
    return Package(f"{NAME}/{text}.parquet", sha(text), n_rows)


def rows(n, harbour="Brest"):
    return [pa.record_batch({"height": [float(i) for i in range(n)], "harbour": [harbour] * n}, schema=COLUMNS)]


def claimed(warehouse, number=0, repeat=0):
    interval = day(number)
    epoch = warehouse.claim(NAME, interval, by="a test")
    digest = sha(f"batch {number}")
    return Run(sha(f"run {number} {repeat}"), NAME, interval, epoch, digest, digest, sha("code"), repeat)


def published(warehouse, number=0):
    run = claimed(warehouse, number)
    warehouse.record(run, RESULT)
    return run, warehouse.publish(run, ModelFile(run, f"{NAME}/{number}", sha(run.run_id), {}), library_versions={})


def decide(promoted, reason="better"):
    return lambda _champion: Decision(promoted, reason)


def harbours(url):
    with psycopg.connect(url) as connection:
        query = f"SELECT data_interval_start, harbour, count(*) FROM batch_data_{NAME} GROUP BY 1, 2 ORDER BY 1, 2"
        return [(start.day, harbour, count) for start, harbour, count in connection.execute(query)]


# The fence


@pytest.mark.parametrize("verb", ["keep_batch", "load", "record", "publish", "promote"])
def test_stale_attempt_is_superseded(warehouse, verb):
    run, version = published(warehouse)
    before = [warehouse.run(run.run_id), warehouse.packages(), warehouse.loads(), warehouse.promotions(NAME)]
    warehouse.claim(NAME, run.interval, by="a newer attempt")
    model = ModelFile(run, "elsewhere", sha("other"), {})
    write = {
        "keep_batch": lambda: warehouse.keep_batch(NAME, run.interval, run.epoch, package()),
        "load": lambda: warehouse.load(run, package(), COLUMNS, rows(3)),
        "record": lambda: warehouse.record(run, RESULT | {"n_test": 99}),
        "publish": lambda: warehouse.publish(run, model, library_versions={}),
        "promote": lambda: warehouse.promote(run, version, decide(True), by="a test", evidence={}),
    }[verb]
    with pytest.raises(Superseded, match="a newer attempt"):
        write()
    after = [warehouse.run(run.run_id), warehouse.packages(), warehouse.loads(), warehouse.promotions(NAME)]
    assert after == before


def test_attempt_superseded_while_it_loads_shows_nothing(warehouse, warehouse_url):
    run = claimed(warehouse)

    def batches():
        yield from rows(3)
        warehouse.claim(NAME, run.interval, by="a newer attempt")

    with pytest.raises(Superseded):
        warehouse.load(run, package(), COLUMNS, batches())
    assert harbours(warehouse_url) == []
    assert [load["state"] for load in warehouse.loads()] == ["loading"]


def test_claims_at_once_get_different_epochs(warehouse):
    with ThreadPoolExecutor(8) as pool:
        epochs = list(pool.map(lambda _: warehouse.claim(NAME, day(), by="a test"), range(40)))
    assert sorted(epochs) == list(range(1, 41))


def test_claim_after_fork(warehouse_url):
    code = """
import os, sys
from datetime import UTC, datetime
from diurnal.values import DataInterval
from diurnal.warehouse import Warehouse
day = DataInterval(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
warehouse = Warehouse(sys.argv[1])
warehouse.claim("tides", day, by="parent")
child = os.fork()
print(warehouse.claim("tides", day, by="either"), flush=True)
child and os.waitpid(child, 0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, warehouse_url],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert sorted(done.stdout.split()) == ["2", "3"]
    assert done.stderr == ""


# Batches


def test_fix_schema_keeps_the_first(warehouse):
    assert warehouse.schema(NAME) is None
    assert warehouse.fix_schema(NAME, {"columns": ["a"]}, sha("1")) == {"columns": ["a"]}
    assert warehouse.fix_schema(NAME, {"columns": ["b"]}, sha("2")) == {"columns": ["a"]}
    assert warehouse.schema(NAME) == {"columns": ["a"]}


def test_window_gives_pointed_at_batches_up_to_an_interval(warehouse):
    for number in (3, 1, 2, 5):
        run = claimed(warehouse, number)
        warehouse.keep_batch(NAME, run.interval, run.epoch, package(f"first {number}"))
        warehouse.keep_batch(NAME, run.interval, run.epoch, package(f"corrected {number}", number))
    warehouse.claim(NAME, day(4), by="an attempt without a batch")
    expected = [(day(number), package(f"corrected {number}", number)) for number in (1, 2, 3)]
    assert warehouse.window(NAME, day(4), last=None, since=None) == expected
    assert warehouse.window(NAME, day(3), last=2, since=None) == expected[1:]
    assert warehouse.window(NAME, day(3), last=None, since=day(3).start) == expected[2:]
    assert len(warehouse.packages()) == 8


def test_split_is_found_for_its_batch_and_size(warehouse):
    train, test = package("train", 7), package("test", 3)
    warehouse.keep_split(NAME, day(), sha("batch"), 0.3, train, test)
    warehouse.keep_split(NAME, day(), sha("batch"), 0.3, package("other"), test)
    assert warehouse.find_split(NAME, day(), sha("batch"), 0.3) == (train, test)
    assert warehouse.find_split(NAME, day(), sha("batch"), 0.25) is None
    assert warehouse.find_split(NAME, day(), sha("corrected"), 0.3) is None


# Loads


def test_load_is_seen_when_it_is_complete(warehouse, warehouse_url):
    seen = []

    def batches():
        for _ in range(4):
            seen.append(harbours(warehouse_url))
            yield from rows(20_000)

    warehouse.load(claimed(warehouse), package(n_rows=80_000), COLUMNS, batches())
    assert seen == [[]] * 4
    assert harbours(warehouse_url) == [(1, "Brest", 80_000)]


def test_correction_shows_exactly_the_new_rows(warehouse, warehouse_url):
    run, other = claimed(warehouse, 0), claimed(warehouse, 1)
    warehouse.load(run, package("first", 600), COLUMNS, rows(600, "Brest"))
    warehouse.load(other, package("other day", 2), COLUMNS, rows(2, "Dover"))
    warehouse.load(run, package("corrected", 500), COLUMNS, rows(500, "Calais"))
    assert harbours(warehouse_url) == [(1, "Calais", 500), (2, "Dover", 2)]
    assert [load["shown"] for load in warehouse.loads()] == [False, True, True]


def test_load_of_same_package_is_used_again(warehouse, warehouse_url):
    run = claimed(warehouse)
    first = warehouse.load(run, package("first", 2), COLUMNS, rows(2, "Brest"))
    warehouse.load(run, package("corrected", 1), COLUMNS, rows(1, "Calais"))
    unread = iter([])
    assert warehouse.load(run, package("first", 2), COLUMNS, unread) == first
    assert harbours(warehouse_url) == [(1, "Brest", 2)]


def test_load_keeps_every_kind_bit_exact(warehouse):
    columns = pa.schema(
        [
            ("n", pa.int64()),
            ("x", pa.float64()),
            ("b", pa.bool_()),
            ("window", pa.string()),
            ("d", pa.date32()),
            ("t", pa.timestamp("us", tz="UTC")),
        ]
    )
    moment = datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC)
    values = [
        [2**63 - 1, -(2**63), None, 0],
        [-0.0, 5e-324, None, 0.1],
        [True, False, None, True],
        ["", "NA\\N\t'", None, "Füße 🌊"],
        [date(1678, 1, 1), date(2024, 2, 29), None, date(2261, 1, 1)],
        [moment, datetime(1969, 12, 31, tzinfo=UTC), None, moment],
    ]
    batch = pa.record_batch(
        [pa.array([None, *v], field.type) for v, field in zip(values, columns, strict=True)], columns
    )
    run = claimed(warehouse)
    load_id = warehouse.load(run, package(n_rows=4), columns, [batch.slice(1)])
    read = warehouse.load_rows(NAME, load_id)
    assert read.cast(columns).equals(pa.Table.from_batches([batch.slice(1)]))
    assert str(read["x"][0]) == "-0.0"


def test_load_with_another_number_of_rows_is_refused(warehouse, warehouse_url):
    with pytest.raises(BatchRefused, match=r"gives 2 rows.* with 3"):
        warehouse.load(claimed(warehouse), package(n_rows=3), COLUMNS, rows(2))
    assert harbours(warehouse_url) == []


def test_load_raises_what_its_batches_raise(warehouse):
    def batches():
        yield from rows(1)
        raise BatchRefused([Problem("changed", "the file is not what it was")])

    with pytest.raises(BatchRefused, match="not what it was"):
        warehouse.load(claimed(warehouse), package(), COLUMNS, batches())


def test_load_refuses_names_that_are_the_warehouse_s_own(warehouse):
    columns = pa.schema([("ctid", pa.int64()), ("load_id", pa.int64())])
    with pytest.raises(BatchRefused, match=r"'ctid'.*'load_id'"):
        warehouse.load(claimed(warehouse), package(), columns, [])


def test_load_of_longest_name_and_no_rows(warehouse):
    name = "a" * 50
    run = Run("r", name, day(), warehouse.claim(name, day(), by="a test"), sha("b"), sha("b"), sha("c"))
    load_id = warehouse.load(run, package(n_rows=0), COLUMNS, [])
    assert warehouse.load_rows(name, load_id).column_names == COLUMNS.names


def test_same_package_loaded_twice_at_once_is_one_load(warehouse, warehouse_url):
    run = claimed(warehouse)
    with ThreadPoolExecutor(4) as pool:
        loads = list(pool.map(lambda _: warehouse.load(run, package(n_rows=9), COLUMNS, rows(9)), range(4)))
    assert len(set(loads)) == 1
    assert harbours(warehouse_url) == [(1, "Brest", 9)]
    assert [load["load_id"] for load in warehouse.loads()] == loads[:1]


def test_discard_unused_loads_spares_complete_and_young_ones(warehouse, warehouse_url):
    run = claimed(warehouse)
    shown = warehouse.load(run, package("first", 3), COLUMNS, rows(3))
    with pytest.raises(BatchRefused):
        warehouse.load(run, package("broken", 9), COLUMNS, rows(3))
    assert warehouse.discard_unused_loads(timedelta(hours=1)) == 0
    assert warehouse.discard_unused_loads(timedelta(0)) == 1
    assert [load["load_id"] for load in warehouse.loads()] == [shown]
    assert harbours(warehouse_url) == [(1, "Brest", 3)]


# Runs


def test_record_keeps_row_and_upserts(warehouse):
    run = claimed(warehouse)
    first = warehouse.record(run, RESULT | {"test_score": 0.5, "best_params": {"C": 1.0}})
    second = warehouse.record(run, RESULT | {"test_score": float("nan"), "test_scores": {"r2": float("inf")}})
    assert (first["test_score"], second["test_score"]) == (0.5, None)
    assert second["test_scores"] == {"r2": "inf"}
    assert second == warehouse.run(run.run_id)
    assert second["data_interval_start"] == run.interval.start
    assert second["recorded_at"].utcoffset() == timedelta(0)


def test_record_of_published_run_gives_stored_row(warehouse):
    other = claimed(warehouse, 1)
    warehouse.record(other, RESULT)
    run, _ = published(warehouse)
    assert warehouse.record(other, RESULT | {"n_test": 99})["n_test"] == 99
    stored = warehouse.run(run.run_id)
    assert warehouse.record(run, RESULT | {"n_test": 99}) == stored == warehouse.run(run.run_id)


def test_record_names_wrong_columns(warehouse):
    run = claimed(warehouse)
    with pytest.raises(UsageError, match="did you mean 'n_train'"):
        warehouse.record(run, RESULT | {"n_trian": 7})
    with pytest.raises(UsageError, match="missing: scoring"):
        warehouse.record(run, {key: value for key, value in RESULT.items() if key != "scoring"})


def test_finished_runs_are_counted_and_newest_is_known(warehouse):
    assert warehouse.newest(NAME) is None
    for number in (2, 1):
        run, version = published(warehouse, number)
        assert warehouse.count_finished(NAME, run.interval, run.window_digest, run.code_digest) == 0
        warehouse.promote(run, version, decide(False), by="a test", evidence={})
        assert warehouse.count_finished(NAME, run.interval, run.window_digest, run.code_digest) == 1
    claimed(warehouse, 3)
    assert warehouse.newest(NAME) == day(2)
    assert [row["data_interval_start"].day for row in warehouse.runs(NAME)] == [3, 2]
    assert warehouse.runs("others") == []


# Versions and promotions


def test_versions_published_at_once_have_no_gaps(warehouse):
    runs = [claimed(warehouse, number) for number in range(8)]
    for run in runs:
        warehouse.record(run, RESULT)

    def publish(run):
        model = ModelFile(run, run.run_id, sha(run.run_id), {"columns": []})
        return warehouse.publish(run, model, library_versions={"numpy": "2"}, trusted=("b.B", "a.A"))

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(publish, [*runs, *runs]))
    assert sorted(version.version for version in versions[:8]) == list(range(1, 9))
    assert versions[8:] == versions[:8]
    assert warehouse.version(NAME, 1)["trusted"] == ["a.A", "b.B"]


def test_promote_decides_once(warehouse):
    first, one = published(warehouse, 1)
    second, two = published(warehouse, 2)
    champions = []

    def better(champion):
        champions.append(champion)
        return Decision(True, "better")

    assert warehouse.promote(first, one, better, by="run", evidence={"p": 0.5}) == Decision(True, "better")
    assert warehouse.promote(second, two, better, by="run", evidence={}) == Decision(True, "better")
    assert warehouse.promote(first, one, decide(False), by="run", evidence={}) == Decision(True, "better")
    assert champions == [None, one]
    assert warehouse.champion(NAME) == two
    assert [(row["seq"], row["version"]) for row in warehouse.promotions(NAME)] == [(2, 2), (1, 1)]
    assert warehouse.promotions(NAME)[1]["evidence"] == {"p": 0.5}
    assert [row["champion"] for row in warehouse.versions(NAME)] == [True, False]


def test_promote_of_an_unrecorded_run_is_refused(warehouse):
    _, version = published(warehouse, 1)
    with pytest.raises(UsageError, match="not recorded"):
        warehouse.promote(claimed(warehouse, 2), version, decide(True), by="run", evidence={})


def test_promotions_at_once_make_one_history(warehouse):
    pairs = [published(warehouse, number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda pair: warehouse.promote(*pair, decide(True), by="run", evidence={}), pairs))
    assert [row["seq"] for row in warehouse.promotions(NAME)] == [6, 5, 4, 3, 2, 1]


def test_crown_and_champion_at_a_moment(warehouse):
    run, one = published(warehouse, 1)
    warehouse.promote(run, one, decide(True), by="run", evidence={})
    _, two = published(warehouse, 2)
    then = warehouse.promotions(NAME)[0]["promoted_at"]
    crowned = warehouse.crown(NAME, 2, by="ada", reason="I know it", kind="promote")
    back = warehouse.crown(NAME, 1, by="ada", reason="it was worse", kind="rollback")
    assert (crowned["seq"], back["seq"], back["kind"]) == (2, 3, "rollback")
    assert warehouse.champion(NAME, then) == one
    assert warehouse.champion(NAME, then - timedelta(microseconds=1)) is None
    assert warehouse.champion(NAME, crowned["promoted_at"]) == two
    assert warehouse.champion(NAME) == one
    with pytest.raises(UsageError, match="already"):
        warehouse.crown(NAME, 1, by="ada", reason="again", kind="promote")
    with pytest.raises(NotFound, match="no version 7; there are 1, 2"):
        warehouse.crown(NAME, 7, by="ada", reason="?", kind="promote")
    with pytest.raises(NotFound, match="did you mean 'tides'"):
        warehouse.version("tide", 1)


@pytest.mark.parametrize(
    "change", ["UPDATE promotions SET reason = ''", "DELETE FROM promotions", "TRUNCATE promotions"]
)
def test_history_is_append_only(warehouse, warehouse_url, change):
    run, version = published(warehouse)
    warehouse.promote(run, version, decide(True), by="run", evidence={})
    with psycopg.connect(warehouse_url) as connection, pytest.raises(psycopg.errors.RestrictViolation):
        connection.execute(change)


# Migrations


def test_tables_are_those_of_the_migrations(warehouse, warehouse_url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(warehouse_url))
    options = {"version_table": "diurnal_version", "compare_type": True, "compare_server_default": True}
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        assert connection.execute(sa.text("SELECT version_num FROM diurnal_version")).scalar_one() == VERSIONS[-1]
    engine.dispose()
    kinds = {difference[0] if isinstance(difference, tuple) else difference[0][0] for difference in found}
    constraints = {"remove_fk", "remove_constraint", "remove_index", "modify_comment", "remove_table_comment"}
    assert kinds <= constraints  # which only the migrations need to know


def test_versions_are_those_of_the_folder():
    from diurnal.warehouse import migrations

    files = Path(migrations.__file__).parent.joinpath("versions").glob("[0-9]*.py")
    assert tuple(sorted(file.name[:4] for file in files)) == VERSIONS


def test_migrations_at_once_wait_for_each_other(warehouse_url):
    with ThreadPoolExecutor(6) as pool:
        warehouses = list(pool.map(lambda _: Warehouse(warehouse_url), range(6)))
    assert [warehouse.runs() for warehouse in warehouses] == [[]] * 6
    for warehouse in warehouses:
        warehouse.close()


def test_migration_that_fails_leaves_nothing(warehouse_url):
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE promotions (in_the_way int)")
        with pytest.raises(sa.exc.ProgrammingError):
            Warehouse(warehouse_url)
        assert connection.execute("SELECT to_regclass('heads'), to_regclass('diurnal_version')").fetchone() == (
            None,
            None,
        )


def test_newer_warehouse_is_refused(warehouse, warehouse_url):
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("UPDATE diurnal_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"9999.*newer") as caught:
        Warehouse(warehouse_url)
    assert "upgrade" in caught.value.advice


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


def test_roles_without_password_or_rights(server, warehouse_url):
    with a_role_with_password(server):
        right = warehouse_url.replace("diurnal@", "guarded:opensesame@")
        wrong = warehouse_url.replace("diurnal@", "guarded:closesesame@")
        deadline = monotonic() + 10
        while monotonic() < deadline:  # until the server has read its rules
            with pytest.raises((ConfigurationError, NotAllowed)) as caught:
                Warehouse(wrong)
            if caught.type is ConfigurationError:
                break
        assert caught.type is ConfigurationError
        assert "guarded" in str(caught.value)
        assert "sesame" not in str(caught.value)
        with pytest.raises(NotAllowed, match="permission denied for schema public"):
            Warehouse(right)


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("postgresql://ada:opensesame@127.0.0.1:1/tides", TryAgainLater, "127.0.0.1 port 1 as ada.*refused"),
        ("postgresql://ada:opensesame@nowhere.invalid/tides", TryAgainLater, "nowhere.invalid port 5432"),
        ("postgresql://ada:open@sesame@127.0.0.1/tides", ConfigurationError, "not one of PostgreSQL"),
        ("postgresql://ada:open/sesame@127.0.0.1/tides", ConfigurationError, "not one of PostgreSQL"),
        ("postgresql+psycopg://ada:opensesame@127.0.0.1/tides", ConfigurationError, "not one of PostgreSQL"),
        ("mysql://ada:opensesame@127.0.0.1/tides", ConfigurationError, "not one of PostgreSQL"),
    ],
)
def test_message_says_what_is_wrong_without_the_password(url, error, words):
    with pytest.raises(error, match=words) as caught:
        Warehouse(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.advice


def test_missing_database(server):
    with pytest.raises(ConfigurationError, match="no database 'nowhere'"):
        Warehouse(server.url("nowhere"))


def test_lock_that_is_held_names_its_holder(warehouse, warehouse_url):
    run = claimed(warehouse)
    hurried = warehouse_url + "&options=-c%20lock_timeout%3D200ms"
    with psycopg.connect(warehouse_url, application_name="sleeper") as holder, Warehouse(hurried) as other:
        holder.execute("SELECT 1 FROM heads FOR UPDATE")
        with pytest.raises(TryAgainLater, match=rf"pid {holder.info.backend_pid} \(sleeper, idle in transaction\)"):
            other.claim(NAME, run.interval, by="a test")
        holder.rollback()
        assert other.claim(NAME, run.interval, by="a test") == 2


def test_server_restart_between_calls_is_not_noticed(warehouse, warehouse_url):
    warehouse.claim(NAME, day(), by="a test")
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute(CUT)
    assert warehouse.claim(NAME, day(), by="a test") == 2


@pytest.mark.parametrize("during", ["the transaction", "the copy"])
def test_session_that_is_cut_can_be_tried_again(warehouse, warehouse_url, during):
    run = claimed(warehouse)

    def cut():
        with psycopg.connect(warehouse_url, autocommit=True) as connection:
            connection.execute(CUT)

    def batches():
        yield from rows(20_000)
        cut()
        yield from rows(20_000)

    def work():
        if during == "the copy":
            return warehouse.load(run, package(n_rows=40_000), COLUMNS, batches())
        with warehouse.transaction() as connection:
            cut()
            return connection.execute(sa.text("SELECT 1"))

    with pytest.raises(TryAgainLater):
        work()
    warehouse.load(run, package(n_rows=3), COLUMNS, rows(3))
    assert harbours(warehouse_url) == [(1, "Brest", 3)]


def test_sessions_are_bounded_in_time(warehouse):
    names = ("TimeZone", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with warehouse.transaction("claim", NAME) as connection:
        settings = [connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in (*names, "application_name")]
    assert settings == ["UTC", "30s", "5min", "10min", "diurnal tides"]
