from datetime import UTC, date, datetime

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from diurnal.storage.warehouse.copy_format import HEADER, TRAILER, encode_rows

TYPES = {
    "integer": ("bigint", pa.int64()),
    "real": ("double precision", pa.float64()),
    "flag": ("boolean", pa.bool_()),
    "text": ("text", pa.string()),
    "day": ("date", pa.date32()),
    "moment": ("timestamptz", pa.timestamp("us", tz="UTC")),
    "large": ("text", pa.large_string()),
    "local": ("timestamp", pa.timestamp("us")),
}
N_ROWS = 500


@pytest.fixture
def connection(warehouse_url):
    with psycopg.connect(warehouse_url) as connection:
        yield connection


def random_column(rng, kind, share_of_nulls):
    microseconds = rng.integers(-(10**16), 10**16, N_ROWS)
    values = {
        "integer": rng.integers(-(2**63), 2**63 - 1, N_ROWS),
        "real": rng.normal(size=N_ROWS) * 10.0 ** rng.integers(-300, 300, N_ROWS),
        "flag": rng.random(N_ROWS) < 0.5,
        "text": ["é🌊\t\\N\n'"[: i % 8] * (i % 5) for i in range(N_ROWS)],
        "day": microseconds.astype("M8[us]").astype("M8[D]"),
        "moment": microseconds.astype("M8[us]"),
        "large": [f"{i}" * (i % 300) for i in range(N_ROWS)],
        "local": microseconds[::-1].astype("M8[us]"),
    }[kind]
    return pa.array(values, mask=rng.random(N_ROWS) < share_of_nulls).cast(TYPES[kind][1])


def copy_and_read(connection, batches):
    names = batches[0].schema.names
    columns = ", ".join(f"{name} {TYPES[name][0]}" for name in names)
    connection.execute(f"CREATE TEMP TABLE copied ({columns}, number serial) ON COMMIT DROP")
    with connection.cursor().copy(f"COPY copied ({', '.join(names)}) FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER)
        for batch in batches:
            copy.write(encode_rows(batch))
        copy.write(TRAILER)
    cells = connection.execute(f"SELECT {', '.join(names)} FROM copied ORDER BY number").fetchall()
    connection.rollback()
    return [pa.array([row[i] for row in cells], TYPES[name][1]) for i, name in enumerate(names)]


@pytest.mark.parametrize("share_of_nulls", [0, 0.3, 1])
@pytest.mark.parametrize("seed", range(4))
def test_cells_are_equal_in_any_order_of_columns_and_any_slices(connection, seed, share_of_nulls):
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(list(TYPES))[: rng.integers(1, len(TYPES) + 1)]
    holes = [share_of_nulls if rng.random() < 0.7 else 0 for _ in kinds]
    rows = pa.record_batch({kind: random_column(rng, kind, share) for kind, share in zip(kinds, holes, strict=True)})
    slices = [rows.slice(0, 1), rows.slice(1, 0), rows.slice(1, 130), rows.slice(131)]
    assert copy_and_read(connection, slices) == [
        column.cast(TYPES[name][1]) for name, column in zip(kinds, rows.columns, strict=True)
    ]


def test_special_numbers_and_the_first_and_last_dates(connection):
    rows = pa.record_batch(
        {
            "real": [-0.0, np.inf, -np.inf, 5e-324],
            "day": [date(1, 1, 1), date(9999, 12, 31), date(1999, 12, 31), date(2000, 1, 1)],
            "moment": [datetime(year, 1, 1, tzinfo=UTC) for year in (1, 9999, 1970, 2000)],
        }
    )
    read = copy_and_read(connection, [rows])
    assert read == rows.columns
    assert str(read[0][0]) == "-0.0"


@pytest.mark.parametrize(
    ("kind", "least"),
    [("day", np.iinfo(np.int32).min), ("moment", np.iinfo(np.int64).min)],
)
@pytest.mark.parametrize("above", [0, 1, 5_000])
def test_dates_before_those_of_postgresql_are_rejected(connection, kind, least, above):
    integers = pa.array([least + above], pa.int32() if kind == "day" else pa.int64())
    rows = pa.record_batch({kind: integers.cast(TYPES[kind][1])})
    with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
        copy_and_read(connection, [rows])
