"""The sources: what they read. What they refuse to read is in test_bad_batches.py."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diurnal.data import BatchValidator, infer_schema
from diurnal.data.column_names import snake_case
from diurnal.errors import (
    BatchRejectedError,
    ConfigurationError,
    ExperimentError,
    PermissionDeniedError,
    TransientError,
)
from diurnal.sources import Files, SklearnDataset, Source, Sql, record_batches
from diurnal.types import DataInterval, Limits

DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))


def table(source, connections=None) -> pa.Table:
    return pa.Table.from_batches(record_batches(source, DAY, {} if connections is None else connections))


# --- whatever a source gives ---------------------------------------------------------------------------------------

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})
GIVEN = {
    "pandas": lambda: pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]}, index=[7, 8, 9]),
    "pandas category": lambda: pd.DataFrame({"a": [1, 2, 3], "b": pd.Categorical(["x", "y", None])}),
    "polars": lambda: pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]}),
    "polars category": lambda: pl.DataFrame({"a": [1, 2, 3], "b": pl.Series(["x", "y", None], dtype=pl.Categorical)}),
    "lazy polars": lambda: pl.LazyFrame({"a": [1, 2, 3], "b": ["x", "y", None]}),
    "Arrow table": lambda: TABLE,
    "Arrow batch": lambda: TABLE.to_batches()[0],
    "Arrow reader": lambda: TABLE.to_reader(2),
    "stream": lambda: iter(TABLE.to_batches(max_chunksize=1)),
    "reordered stream": lambda: iter([TABLE.to_batches()[0].slice(0, 1), TABLE.select(["b", "a"]).slice(1, 2)]),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_record_batches_takes_frames_and_streams(given):
    assert table(lambda interval: given()).to_pydict() == TABLE.to_pydict()


@pytest.mark.parametrize("given", [None, 7, "rows.csv", {"a": [1]}, pd.Series([1]), [{"a": 1}]])
def test_record_batches_refuses_what_is_no_rows(given):
    with pytest.raises(ExperimentError, match="allowed is a frame") as refusal:
        table(lambda interval: given)
    assert ("did you forget `return`" in str(refusal.value)) == (given is None)


def test_record_batches_cuts_large_pieces():
    large = pa.table({"a": range(150_000)})
    assert [b.num_rows for b in record_batches(lambda i: large, DAY, {})] == [65_536, 65_536, 18_928]
    assert [b.num_rows for b in record_batches(lambda i: large.slice(0, 0), DAY, {})] == [0]


def test_record_batches_stops_at_a_number_of_bytes():
    piece = pa.RecordBatch.from_pydict({"a": list(range(1000))})
    endless = iter(lambda: piece, None)
    with pytest.raises(BatchRejectedError, match="max_bytes=100000"):
        list(record_batches(lambda interval: endless, DAY, {}, max_bytes=100_000))


def test_an_error_of_the_users_function_is_left_as_it_is():
    def broken(interval):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        table(broken)


# --- scikit-learn --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_rows", "labels"),
    [
        ("breast_cancer", 569, {"malignant", "benign"}),
        ("iris", 150, {"setosa", "versicolor", "virginica"}),
        ("wine", 178, {"class_0", "class_1", "class_2"}),
        ("digits", 1797, set(range(10))),
        ("diabetes", 442, None),
    ],
)
def test_a_scikit_learn_dataset_keeps_its_contract(name, n_rows, labels):
    source = SklearnDataset(name)
    assert isinstance(source, Source)
    task = "classification" if labels else "regression"
    batches = list(record_batches(source, DAY, {}))
    schema = infer_schema(lambda: batches, target="label", key=(), drop=(), task=task, limits=Limits())
    assert sum(batch.num_rows for batch in BatchValidator(schema, Limits()).validate(batches)) == n_rows
    assert (set(schema.classes) if schema.classes else None) == labels


def test_a_wrong_dataset_is_refused_when_declared():
    with pytest.raises(ExperimentError, match="did you mean 'breast_cancer'"):
        SklearnDataset("brest_cancer")
    with pytest.raises(ExperimentError, match="control character"):
        SklearnDataset("iris", label="ill\n")
    assert "Is ill" in SklearnDataset("iris", label="Is ill").read(DAY, {})


# --- files ---------------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,x\n,NA\n",
        b"\xef\xbb\xbfa,b\n1,x\n,NA\n",
        b"a,b\r1,x\r,NA\r",
        b"a,b\r\n1,x\n,NA\r",
        b'"a","b"\n"1","x"\n"","NA"\n',
        b"a,b\n\n1,x\n,NA\n\n",
    ],
    ids=["plain", "BOM", "CR", "mixed", "quoted", "blank lines"],
)
def test_files_read_csv_in_its_dialects(tmp_path, data):
    for name in ("x.csv", "x.csv.gz"):
        assert table(Files(write(tmp_path, name, data))).to_pydict() == {"a": ["1", None], "b": ["x", "NA"]}


def test_files_keep_what_is_quoted(tmp_path):
    data = 'a,b\n1,"x, ""y""\nz"\n2,5" pipe\n3,größe\n'.encode()
    cells = table(Files(write(tmp_path, "x.csv", data)))["b"].to_pylist()
    assert cells == ['x, "y"\nz', '5" pipe', "größe"]


def test_files_read_csv_across_chunks_and_blocks(tmp_path):
    line = '{i},"a ""quoted"" ü\n{i}"\n'
    n = 150_000  # more than a block of the parser
    data = "i,text\n" + "".join(line.replace("{i}", str(i)) for i in range(n))
    came = table(Files(write(tmp_path, "x.csv", data.encode())))
    assert came["i"].to_pylist() == [str(i) for i in range(n)]
    assert came["text"][n - 1].as_py() == f'a "quoted" ü\n{n - 1}'


def test_files_take_a_last_line_without_an_end_only_if_told(tmp_path):
    path = write(tmp_path, "x.csv", b"a\n1\n2")
    assert table(Files(path, complete=False)).to_pydict() == {"a": ["1", "2"]}


def test_files_take_a_last_line_of_json_without_an_end(tmp_path):
    assert table(Files(write(tmp_path, "x.jsonl", b'{"a": 1}\n{"a": 12} '))).to_pydict() == {"a": [1, 12]}


def test_files_find_a_file_whose_name_looks_like_a_pattern(tmp_path):
    assert table(Files(write(tmp_path, "sales [2026].csv", b"a\n1\n"))).to_pydict() == {"a": ["1"]}


def test_files_read_the_files_of_an_interval_in_order(tmp_path):
    write(tmp_path, "2026-11-23-b.csv", b"b,a\n4,3\n")
    write(tmp_path, "2026-11-23-a.csv", b"a,b\n1,2\n")
    write(tmp_path, "2026-11-24-a.csv", b"a,b\n9,9\n")
    source = Files(f"{tmp_path}/{{start:%Y-%m-%d}}-*.csv", rename={"b": "c"})
    assert table(source).to_pydict() == {"a": ["1", "3"], "c": ["2", "4"]}
    assert table(Files(source.pattern, rename=str.upper)).column_names == ["A", "B"]


def test_files_that_are_not_there_yet_are_waited_for(tmp_path):
    for pattern in ("{start:%Y-%m-%d}.csv", "{start:%Y-%m-%d}-*.csv", "no-folder/{start:%Y-%m-%d}.csv"):
        with pytest.raises(TransientError, match="2026-11-23"):
            table(Files(f"{tmp_path}/{pattern}"))


def test_files_read_parquet(tmp_path):
    truth = pa.table({"a": [1, 2], "at": pa.array([DAY.start, None], pa.timestamp("us", "UTC")), "c": ["x", "y"]})
    pq.write_table(truth, tmp_path / "x.parquet")
    assert table(Files(f"file://{tmp_path}/x.parquet")).equals(truth)
    pq.write_table(truth.slice(0, 0), tmp_path / "none.parquet")
    assert table(Files(f"{tmp_path}/none.parquet")).schema == truth.schema


def test_files_read_json_lines(tmp_path):
    lines = b'{"a": 1, "b": null}\n\n{"a": 2.5, "c": "x\\u00fc"}\n' + b'{"b": true}\n'
    for name in ("x.jsonl", "x.ndjson.gz"):
        came = table(Files(write(tmp_path, name, lines)))
        assert came.to_pydict() == {"a": [1.0, 2.5, None], "b": [None, None, True], "c": [None, "xü", None]}
        assert came.schema.field("a").type == pa.float64()


def test_files_find_the_types_of_json_lines_in_all_of_them(tmp_path):
    lines = b'{"a": null}\n' * 70_000 + b'{"a": 7, "late": "x"}\n'
    came = table(Files(write(tmp_path, "x.jsonl", lines)))
    assert came.num_rows == 70_001
    assert came.slice(70_000).to_pylist() == [{"a": 7, "late": "x"}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pattern": "{strat:%Y}.csv"}, "did you mean 'start'"),
        ({"pattern": "{start.csv"}, "cannot be read"),
        ({"pattern": "x.zip"}, "format='csv'"),
        ({"pattern": "x.dat"}, "declares no format"),
        ({"pattern": "x.dat", "format": "parket"}, "did you mean 'parquet'"),
        ({"pattern": "x.csv", "delimiter": '"'}, "one character"),
    ],
)
def test_files_are_refused_when_declared(arguments, words):
    with pytest.raises(ExperimentError, match=words):
        Files(**arguments)


@pytest.mark.parametrize("login", ["bob:hunter2", "bob:hun/ter2", "bob:h@hun/ter2", "hunter2"])
def test_files_show_no_login(login):
    said = [repr(Files(f"ftp://{login}@127.0.0.1:1/a-{{start:%d}}.csv"))]
    for pattern in (f"ftp://{login}@127.0.0.1:1/{{stat}}.csv", f"ftp://{login}@127.0.0.1:1/a.doc"):
        with pytest.raises(ExperimentError) as refusal:
            Files(pattern)
        said.append(str(refusal.value))
    with pytest.raises(ConfigurationError) as wrong:
        table(Files(f"nosuch://{login}@127.0.0.1:1/a.csv"))
    said.append(str(wrong.value))
    assert all("127.0.0.1:1/" in text and "ter2" not in text and "hun" not in text for text in said), said


def test_files_that_cannot_be_reached_show_no_login():
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1/a\.csv cannot be read") as refusal:
        table(Files("ftp://bob:hunter2@127.0.0.1:1/a.csv"))
    assert "hunter2" not in str(refusal.value)
    assert repr(Files("s3://bucket/a@b/{start:%d}.csv")) == "Files('s3://bucket/a@b/{start:%d}.csv', format='csv')"


def test_files_look_the_same_in_every_process():
    source = Files("x.csv", rename=snake_case, delimiter=";")
    assert repr(source) == "Files('x.csv', format='csv', rename=diurnal.data.column_names.snake_case, delimiter=';')"


def test_a_file_larger_than_memory_is_streamed(tmp_path):
    path = tmp_path / "x.csv"
    with path.open("w") as file:
        file.write("a,b,c\n")
        block = "".join(f'{i},{i * 0.37},"text {i}"\n' for i in range(100_000))
        file.writelines(block for _ in range(60))
    code = (
        "import resource, sys\n"
        "from datetime import UTC, datetime\n"
        "from diurnal.sources import Files, record_batches\n"
        "from diurnal.types import DataInterval\n"
        "day = DataInterval(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))\n"
        "n, peak = 0, None\n"
        "for batch in record_batches(Files(sys.argv[1]), day, {}):\n"
        "    n += batch.num_rows\n"
        "    if n > 500_000 and peak is None:\n"
        "        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert n == 6_000_000, n\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)\n"
    )
    grown = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True).stdout
    assert int(grown) < 60_000  # kB, of a file of 190 MB


# --- SQL -----------------------------------------------------------------------------------------------------------

QUERY = "SELECT * FROM readings WHERE at >= :start AND at < :end AND note <> ':start' ORDER BY id -- not :here"


@pytest.fixture
def plant(warehouse_url):
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE readings AS SELECT i AS id, i::numeric / 4 AS size, i::real AS width, i % 2 = 0 AS even,"
            " timestamptz '2026-11-22 23:00Z' + i * interval '1 hour' AS at, date '2026-11-23' AS on_day,"
            " 'note ' || i AS note, gen_random_uuid() AS uid, '{}'::json AS extra FROM generate_series(0, 47) AS i"
        )
    return {"plant": warehouse_url}


def test_sql_reads_an_interval_from_postgresql(plant):
    came = table(Sql(QUERY, "plant"), plant)
    assert came["id"].to_pylist() == list(range(1, 25))
    assert came["size"].to_pylist() == [i / 4 for i in range(1, 25)]
    assert came["at"][0].as_py() == DAY.start
    assert came["on_day"][0].as_py() == date(2026, 11, 23)
    assert [str(came.schema.field(name).type) for name in ("uid", "extra")] == ["string", "string"]
    schema = infer_schema(
        came.to_batches, target="even", key=("id",), drop=("uid", "extra"), task="classification", limits=Limits()
    )
    assert schema.columns[1].kind == "float"


def test_sql_without_rows_still_has_columns(plant):
    came = table(Sql("SELECT id, size FROM readings WHERE at < :start - interval '1 year'", "plant"), plant)
    assert (came.num_rows, came.column_names) == (0, ["id", "size"])


def test_sql_binds_values_and_never_writes_them_into_the_query(plant):
    came = table(Sql("SELECT :start AS a, :end::date AS b, ':end' AS c, $$:start$$ AS d", "plant"), plant)
    assert came.to_pylist() == [{"a": DAY.start, "b": date(2026, 11, 24), "c": ":end", "d": ":start"}]


@pytest.mark.parametrize(
    ("query", "error", "words"),
    [
        ("SELECT nope FROM readings", ConfigurationError, 'column "nope" does not exist'),
        ("SELECT 1 / (id - id) FROM readings", ConfigurationError, "division by zero"),
        ("SELECT * FROM secret", PermissionDeniedError, "permission denied"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", TransientError, "terminating"),
        ("SELECT pg_sleep(30)", TransientError, "statement timeout"),
    ],
)
def test_sql_gives_the_servers_own_words(plant, query, error, words):
    with psycopg.connect(plant["plant"], autocommit=True) as connection:
        connection.execute("CREATE TABLE secret (a int)")
        if error is PermissionDeniedError:
            connection.execute("DROP ROLE IF EXISTS guest")
            connection.execute("CREATE ROLE guest LOGIN")
            connections = {"plant": plant["plant"].replace("diurnal@", "guest@")}
        else:
            connections = {"plant": plant["plant"] + "&options=-c%20statement_timeout%3D500"}
    with pytest.raises(error, match=words):
        table(Sql(query, "plant"), connections)


def test_sql_tells_a_server_that_is_down_from_a_login_that_is_wrong(plant):
    with pytest.raises(TransientError, match="refused"):
        table(Sql("SELECT 1", "plant"), {"plant": "postgresql://me:s3cr%40t@127.0.0.1:1/x"})
    wrong = plant["plant"].replace("diurnal@", "nobody:s3cr%40t@")
    with pytest.raises(ConfigurationError) as refusal:
        table(Sql("SELECT 1", "plant"), {"plant": wrong})
    assert "s3cr" not in str(refusal.value)


def test_sql_leaves_the_id_of_a_connection_to_the_connections():
    class Known(dict):
        def __missing__(self, key):
            raise ConfigurationError(f"there is no connection {key!r}")

    with pytest.raises(ConfigurationError, match="'plnat'"):
        table(Sql("SELECT 1", "plnat"), Known())


def test_sql_reads_other_databases(tmp_path):
    with sqlite3.connect(tmp_path / "plant.db") as connection:
        connection.execute("CREATE TABLE readings (id INTEGER, at TEXT, size REAL, note TEXT)")
        rows = [(i, f"2026-11-23 {i:02}:30:00", None if i < 3 else i / 4, "10:30 :start") for i in range(24)]
        connection.executemany("INSERT INTO readings VALUES (?, ?, ?, ?)", [*rows, (99, "2026-11-24 00:00:00", 1, "")])
    connection.close()
    connections = {"plant": f"sqlite:///{quote(str(tmp_path))}/plant.db"}
    came = table(
        Sql("SELECT * FROM readings WHERE at >= :start AND at < :end AND note = '10:30 :start'", "plant"), connections
    )
    assert came["id"].to_pylist() == list(range(24))
    assert came["size"].to_pylist()[-1] == 23 / 4
    empty = table(Sql("SELECT id FROM readings WHERE at < datetime(:start, '-1 year')", "plant"), connections)
    assert (empty.num_rows, empty.column_names) == (0, ["id"])
    with pytest.raises(ConfigurationError, match="no such table: nope"):
        table(Sql("SELECT * FROM nope", "plant"), connections)


def test_sql_refuses_other_names_when_declared():
    with pytest.raises(ExperimentError, match=r":strat.*did you mean 'start'"):
        Sql("SELECT * FROM t WHERE at >= :strat", "plant")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        table(Sql("SELECT 1", "plant"), {"plant": "nosuch://x"})


def test_sql_on_sqlite_takes_the_start_and_leaves_the_end(tmp_path):
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table sales (at text)")
        moments = ["2026-11-22 23:45:00", "2026-11-23 00:00:00", "2026-11-23 23:45:00", "2026-11-24 00:00:00"]
        connection.executemany("insert into sales values (?)", [(moment,) for moment in moments])
    source = Sql("select at from sales where at >= :start and at < :end order by at", connection="shop")
    day = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
    found = [
        at for batch in record_batches(source, day, {"shop": f"sqlite:///{path}"}) for at in batch["at"].to_pylist()
    ]
    assert found == moments[1:3]
