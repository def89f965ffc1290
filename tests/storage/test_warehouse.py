import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pyarrow as pa
import pytest

from diurnal.errors import (
    NotFoundError,
    SupersededError,
    UsageError,
)
from diurnal.types import DataInterval, Decision, ModelFile, Package, Run

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
    epoch = warehouse.claim_interval(NAME, interval, requested_by="a test")
    digest = sha(f"batch {number}")
    return Run(sha(f"run {number} {repeat}"), NAME, interval, epoch, digest, digest, sha("code"), repeat)


def published(warehouse, number=0):
    run = claimed(warehouse, number)
    warehouse.record_run(run, RESULT)
    return run, warehouse.publish(run, ModelFile(run, f"{NAME}/{number}", sha(run.run_id), {}, {}))


def decide(promoted, reason="better"):
    return lambda _standing: Decision(promoted, reason)


# The fence


@pytest.mark.parametrize("verb", ["set_batch", "load", "record", "publish", "promote"])
def test_stale_attempt_is_superseded(warehouse, verb):
    run, version = published(warehouse)
    before = [warehouse.run(run.run_id), warehouse.packages(), warehouse.loads(), warehouse.promotions(NAME)]
    warehouse.claim_interval(NAME, run.interval, requested_by="a newer attempt")
    model = ModelFile(run, "elsewhere", sha("other"), {}, {})
    write = {
        "set_batch": lambda: warehouse.set_batch(NAME, run.interval, run.epoch, package()),
        "load": lambda: warehouse.load(run, package(), COLUMNS, rows(3)),
        "record": lambda: warehouse.record_run(run, RESULT | {"n_test": 99}),
        "publish": lambda: warehouse.publish(run, model),
        "promote": lambda: warehouse.promote(run, version, decide(True), requested_by="a test", evidence={}),
    }[verb]
    with pytest.raises(SupersededError, match="a newer attempt"):
        write()
    after = [warehouse.run(run.run_id), warehouse.packages(), warehouse.loads(), warehouse.promotions(NAME)]
    assert after == before


def test_claims_at_once_get_different_epochs(warehouse):
    with ThreadPoolExecutor(8) as pool:
        epochs = list(pool.map(lambda _: warehouse.claim_interval(NAME, day(), requested_by="a test"), range(40)))
    assert sorted(epochs) == list(range(1, 41))


def test_claim_after_fork(warehouse_url):
    code = """
import os, sys
from datetime import UTC, datetime
from diurnal.types import DataInterval
from diurnal.storage.warehouse import Warehouse
day = DataInterval(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
warehouse = Warehouse(sys.argv[1])
warehouse.claim_interval("tides", day, requested_by="parent")
child = os.fork()
print(warehouse.claim_interval("tides", day, requested_by="either"), flush=True)
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
    claimed(warehouse)
    assert warehouse.create_contract(NAME, {"columns": ["a"]}, sha("1")) == {"columns": ["a"]}
    assert warehouse.create_contract(NAME, {"columns": ["b"]}, sha("2")) == {"columns": ["a"]}
    assert warehouse.schema(NAME) == {"columns": ["a"]}


def test_window_gives_pointed_at_batches_up_to_an_interval(warehouse):
    for number in (3, 1, 2, 5):
        run = claimed(warehouse, number)
        warehouse.set_batch(NAME, run.interval, run.epoch, package(f"first {number}"))
        warehouse.set_batch(NAME, run.interval, run.epoch, package(f"corrected {number}", number))
    warehouse.claim_interval(NAME, day(4), requested_by="an attempt without a batch")
    expected = [(day(number), package(f"corrected {number}", number)) for number in (1, 2, 3)]
    assert warehouse.window(NAME, day(4), last=None, since=None) == expected
    assert warehouse.window(NAME, day(3), last=2, since=None) == expected[1:]
    assert warehouse.window(NAME, day(3), last=None, since=day(3).start) == expected[2:]
    assert len(warehouse.packages()) == 8


def test_split_is_found_for_its_batch_and_size(warehouse):
    train, test = package("train", 7), package("test", 3)
    run = claimed(warehouse)
    with pytest.raises(SupersededError, match="was deleted meanwhile"):
        warehouse.save_split(NAME, day(), sha("batch"), 0.3, train, test, erasure=0)
    warehouse.set_batch(NAME, run.interval, run.epoch, package("batch"))
    warehouse.save_split(NAME, day(), sha("batch"), 0.3, train, test, erasure=0)
    warehouse.save_split(NAME, day(), sha("batch"), 0.3, package("other"), test, erasure=0)
    assert warehouse.find_split(NAME, day(), sha("batch"), 0.3) == (train, test)
    assert warehouse.find_split(NAME, day(), sha("batch"), 0.25) is None
    assert warehouse.find_split(NAME, day(), sha("corrected"), 0.3) is None


# Runs


def test_record_keeps_row_and_upserts(warehouse):
    run = claimed(warehouse)
    first = warehouse.record_run(run, RESULT | {"test_score": 0.5, "best_params": {"C": 1.0}})
    second = warehouse.record_run(run, RESULT | {"test_score": float("nan"), "test_scores": {"r2": float("inf")}})
    assert (first["test_score"], second["test_score"]) == (0.5, None)
    assert second["test_scores"] == {"r2": "inf"}
    assert second == warehouse.run(run.run_id)
    assert second["data_interval_start"] == run.interval.start
    assert second["recorded_at"].utcoffset() == timedelta(0)


def test_record_of_published_run_gives_stored_row(warehouse):
    other = claimed(warehouse, 1)
    warehouse.record_run(other, RESULT)
    run, _ = published(warehouse)
    assert warehouse.record_run(other, RESULT | {"n_test": 99})["n_test"] == 99
    stored = warehouse.run(run.run_id)
    assert warehouse.record_run(run, RESULT | {"n_test": 99}) == stored == warehouse.run(run.run_id)


def test_record_names_wrong_columns(warehouse):
    run = claimed(warehouse)
    with pytest.raises(UsageError, match="did you mean 'n_train'"):
        warehouse.record_run(run, RESULT | {"n_trian": 7})
    with pytest.raises(UsageError, match="missing: scoring"):
        warehouse.record_run(run, {key: value for key, value in RESULT.items() if key != "scoring"})


def test_finished_runs_are_counted_and_settle_their_intervals(warehouse):
    assert warehouse.finished_intervals(NAME) == {}
    for number in (2, 1):
        run, version = published(warehouse, number)
        assert warehouse.count_finished_runs(NAME, run.interval, run.window_digest, run.code_digest) == 0
        warehouse.promote(run, version, decide(False), requested_by="a test", evidence={})
        assert warehouse.count_finished_runs(NAME, run.interval, run.window_digest, run.code_digest) == 1
    run = claimed(warehouse, 3)
    assert warehouse.finished_intervals(NAME) == {day(n).start: day(n).end for n in (1, 2)}
    warehouse.mark_insufficient(NAME, day(3), "all samples have one label")
    assert sorted(warehouse.finished_intervals(NAME)) == [day(n).start for n in (1, 2, 3)]
    warehouse.set_batch(NAME, day(3), run.epoch, Package("path", "a" * 64, 3))
    assert sorted(warehouse.finished_intervals(NAME)) == [day(n).start for n in (1, 2)], "another batch may be enough"
    assert [row["data_interval_start"].day for row in warehouse.runs(NAME)] == [3, 2]
    assert warehouse.runs("others") == []


# Versions and promotions


def test_versions_published_at_once_have_no_gaps(warehouse):
    runs = [claimed(warehouse, number) for number in range(8)]
    for run in runs:
        warehouse.record_run(run, RESULT)

    def publish(run):
        model = ModelFile(run, run.run_id, sha(run.run_id), {"columns": []}, {"numpy": "2"})
        return warehouse.publish(run, model, trusted=("b.B", "a.A"))

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(publish, [*runs, *runs]))
    assert sorted(version.version for version in versions[:8]) == list(range(1, 9))
    assert versions[8:] == versions[:8]
    assert warehouse.version(NAME, 1)["trusted"] == ["a.A", "b.B"]


def test_promote_decides_once(warehouse):
    first, one = published(warehouse, 1)
    second, two = published(warehouse, 2)
    champions = []

    def better(standing):
        champions.append(standing.champion)
        return Decision(True, "better")

    assert warehouse.promote(first, one, better, requested_by="run", evidence={"p": 0.5}) == Decision(True, "better")
    assert warehouse.promote(second, two, better, requested_by="run", evidence={}) == Decision(True, "better")
    assert warehouse.promote(first, one, decide(False), requested_by="run", evidence={}) == Decision(True, "better")
    assert champions == [None, one]
    assert warehouse.champion(NAME) == two
    assert [(row["seq"], row["version"]) for row in warehouse.promotions(NAME)] == [(2, 2), (1, 1)]
    assert warehouse.promotions(NAME)[1]["evidence"] == {"p": 0.5}
    assert [row["champion"] for row in warehouse.versions(NAME)] == [True, False]


def test_promote_of_an_unrecorded_run_is_refused(warehouse):
    _, version = published(warehouse, 1)
    with pytest.raises(UsageError, match="not recorded"):
        warehouse.promote(claimed(warehouse, 2), version, decide(True), requested_by="run", evidence={})


def test_promotions_at_once_make_one_history(warehouse):
    pairs = [published(warehouse, number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda pair: warehouse.promote(*pair, decide(True), requested_by="run", evidence={}), pairs))
    assert [row["seq"] for row in warehouse.promotions(NAME)] == [6, 5, 4, 3, 2, 1]


def test_crown_and_champion_at_a_moment(warehouse):
    run, one = published(warehouse, 1)
    warehouse.promote(run, one, decide(True), requested_by="run", evidence={})
    _, two = published(warehouse, 2)
    then = warehouse.promotions(NAME)[0]["promoted_at"]
    crowned = warehouse.set_champion(NAME, 2, requested_by="ada", reason="I know it", action="promote")
    back = warehouse.set_champion(NAME, 1, requested_by="ada", reason="it was worse", action="rollback")
    assert (crowned["seq"], back["seq"], back["kind"]) == (2, 3, "rollback")
    assert warehouse.champion(NAME, then) == one
    assert warehouse.champion(NAME, then - timedelta(microseconds=1)) is None
    assert warehouse.champion(NAME, crowned["promoted_at"]) == two
    assert warehouse.champion(NAME) == one
    with pytest.raises(UsageError, match="already"):
        warehouse.set_champion(NAME, 1, requested_by="ada", reason="again", action="promote")
    with pytest.raises(NotFoundError, match="no version 7; there are 1, 2"):
        warehouse.set_champion(NAME, 7, requested_by="ada", reason="?", action="promote")
    with pytest.raises(NotFoundError, match="did you mean 'tides'"):
        warehouse.version("tide", 1)


@pytest.mark.parametrize(
    "change", ["UPDATE promotions SET reason = ''", "DELETE FROM promotions", "TRUNCATE promotions"]
)
def test_history_is_append_only(warehouse, warehouse_url, change):
    run, version = published(warehouse)
    warehouse.promote(run, version, decide(True), requested_by="run", evidence={})
    with psycopg.connect(warehouse_url) as connection, pytest.raises(psycopg.errors.RestrictViolation):
        connection.execute(change)
