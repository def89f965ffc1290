"""Loads of predictions: their columns through versions of the contract, and names and numbers beyond PostgreSQL's."""

import hashlib
from datetime import UTC, datetime, timedelta

import psycopg
import pyarrow as pa
import pytest

from diurnal.data import Column, Schema
from diurnal.errors import TransientError
from diurnal.types import DataInterval, ScoredBatch


@pytest.fixture
def free(warehouse, warehouse_url):
    """A warehouse whose loads of predictions need no published version."""
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("ALTER TABLE prediction_loads DROP CONSTRAINT prediction_loads_experiment_version_fkey")
    return warehouse


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def scored(number, name="tides", version=1):
    start = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)
    return ScoredBatch(
        name, DataInterval(start, start + timedelta(days=1)), version, sha("model"), sha(f"rows {number}")
    )


def contract(key, kind, labels, former=()):
    columns = (
        Column(key, "text" if former else "int", former=former),
        Column("prediction", kind),
        *(Column(f"probability_{label}", "float") for label in labels),
    )
    return Schema(columns, "prediction", key=(key,), origins=(("prediction", kind),))


def claim(warehouse, batch):
    return warehouse.claim_predictions(batch.experiment, batch.interval, requested_by="a test")


def load(warehouse, batch, shown, rows):
    schema = shown.arrow_schema
    table = pa.table(rows, schema=pa.schema([schema.field(name) for name in rows]))
    return warehouse.load_predictions(
        batch, table.schema, shown, table.to_batches(), epoch=claim(warehouse, batch), requested_by="a test"
    )


def read(url, sql):
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()


def test_view_follows_kinds_classes_and_names_of_the_contract(free, warehouse_url):
    load(
        free,
        scored(0),
        contract("site", "int", [0, 1]),
        {
            "site": [7],
            "prediction": [1],
            "probability_0": [0.25],
            "probability_1": [0.75],
        },
    )
    later = contract("harbour", "text", [0, 1, "x"], former=("site",))
    load(
        free, scored(1), later, {"harbour": ["B"], "prediction": ["x"], "probability_0": [0.5], "probability_x": [0.5]}
    )
    sql = "SELECT harbour, prediction, probability_0, probability_1, probability_x FROM predictions_tides ORDER BY 1"
    assert read(warehouse_url, sql) == [("7", "1", 0.25, 0.75, None), ("B", "x", 0.5, None, 0.5)]
    load(free, scored(2), later, {"harbour": ["C"], "prediction": ["0"], "probability_0": [1.0]})
    assert len(read(warehouse_url, sql)) == 3


def test_classes_beyond_the_columns_of_postgresql_are_json(free, warehouse_url):
    labels = range(1_700)
    shown = contract("site", "int", labels)
    row = {"site": [7], "prediction": [3], **{f"probability_{label}": [label / 2_000] for label in labels}}
    assert load(free, scored(0), shown, row)["n_rows"] == 1
    sql = "SELECT site, prediction, probability_3, other_columns->>'probability_1699' FROM predictions_tides"
    assert read(warehouse_url, sql) == [(7, 3, 0.0015, "0.8495")]


def test_longest_names_have_tables_of_their_own(free, warehouse_url):
    names = ["a" * 50, "a" * 49 + "b"]
    for i, name in enumerate(names):
        load(free, scored(0, name), contract("site", "int", [0]), {"site": [i], "prediction": [0]})
        load(free, scored(1, name), contract("site", "int", [0]), {"site": [i], "prediction": [0]})
    assert [read(warehouse_url, f"SELECT DISTINCT site FROM predictions_{name}") for name in names] == [[(0,)], [(1,)]]
    assert [free.count_predictions(row["experiment"], row["load_id"]) for row in free.prediction_loads()] == [1] * 4


def test_load_that_was_collected_before_it_is_complete_can_be_tried_again(free):
    shown = contract("site", "int", [0])

    def batches():
        assert free.discard_unused_predictions(timedelta(0)) == 1
        yield pa.record_batch({"site": [1], "prediction": [0]})

    columns = pa.schema([("site", pa.int64()), ("prediction", pa.int64())])
    with pytest.raises(TransientError, match="deleted as unused"):
        free.load_predictions(scored(0), columns, shown, batches(), epoch=claim(free, scored(0)), requested_by="a test")
    assert free.visible_predictions("tides", scored(0).interval.start) is None
