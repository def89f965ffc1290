"""Columns keep the names that a file, a query or a frame gives them: in frames, packages, SQL, messages and models."""

import csv

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from diurnal import experiment
from diurnal.data import Schema
from diurnal.data.column_names import is_legal_name
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import local_run
from diurnal.pipeline.predict import predict_batches
from diurnal.pipeline.store_verification import verify_stores
from diurnal.storage.lake import PackageKey
from diurnal.storage.warehouse.column_layout import OTHERS, ColumnLayout, sql_names
from diurnal.types import Package, Run
from projects import Project, day

NAMES = [
    "Sepal Length (cm)",
    "Größe",
    "growth_%",
    "%s %(name)s %%",
    "it's",
    'a "quoted" one',
    "a.b",
    "a",
    "A",
    "`back`",
    "\\",
    "$1",
    ":start",
    "{start}",
    "'; DROP TABLE experiments; --",
    '"; DROP TABLE experiments; --',
    "a\u0301",
    "👍",
    " leading and trailing ",
    "select",
    "load_id",
    "data_interval_start",
    "other_columns",
    "xmin",
    "0",
    "n" * 80,
    "n" * 79 + "m",
    "ü" * 40,
    "prediction",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "../../etc/passwd",
]


def rows_of(names, n=60, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.normal(size=n).round(6) for name in names})
    return frame.assign(**{"The target's name": np.where(frame[names[0]] > 0, "yes", "no")})


def declared(source, **arguments):
    def names():
        """Tell yes from no."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression()

    return experiment(source=source, target="The target's name", **arguments)(names)


@pytest.fixture
def stores(tmp_path, warehouse_url):
    stores = Project.make(tmp_path / "project", warehouse_url).stores()
    yield stores
    stores.warehouse.close()


def test_a_day_with_any_names(stores, warehouse_url):
    frame = rows_of(NAMES)
    made = declared(lambda _: frame, key="it's", drop="growth_%")
    outcome = local_run.run(RunContext(made, day("2026-11-01"), stores, requested_by="test"))
    assert outcome.run["n_train"] + outcome.run["n_test"] == len(frame)
    package = outcome.run["packages"][0]
    kept = stores.lake.read(Package(package["path"], package["digest"], package["n_rows"]))
    assert kept.column_names == list(frame.columns)
    schema = Schema.from_dict(stores.warehouse.schema("names"))
    assert schema.names == tuple(frame.columns)
    assert schema.key == ("it's",)
    with psycopg.connect(warehouse_url) as connection:
        tables = {row[0] for row in connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r'")}
        assert {"experiments", "promotions", "model_versions"} <= tables
        for name, short in sql_names(frame.columns).items():
            query = sql.SQL("SELECT array_agg({0} ORDER BY {0}) FROM batch_data_names").format(sql.Identifier(short))
            assert connection.execute(query).fetchone()[0] == sorted(frame[name]), name
            if short != name:
                assert connection.execute(COMMENT, [short]).fetchone() == (name,)
    assert [finding for finding in verify_stores(stores) if finding.state != "good"] == []
    predicted = pa.concat_tables(predict_batches(stores, "names", pa.Table.from_pandas(frame).to_batches()))
    assert predicted.column_names[:2] == ["it's", "prediction"]
    model = stores.models.load(**{k: v for k, v in stores.warehouse.version("names", 1).items() if k in LOAD})
    features = [name for name in NAMES if name not in ("it's", "growth_%")]
    assert predicted["prediction"].to_pylist() == model.predict(frame[features]).tolist()


COMMENT = """SELECT col_description(attrelid, attnum) FROM pg_attribute
WHERE attrelid = 'batch_data_names'::regclass AND attname = %s"""
LOAD = ("path", "digest", "trusted", "signature", "library_versions")


def test_a_column_is_read_from_a_package_though_its_name_begins_that_of_another(stores):
    table = pa.table({"a": [1, 2], "a.b": [3, 4], "a.b.c": [5, 6]})
    package = stores.lake.write_table(PackageKey("x", "candidates", day("2026-11-01").key), table)
    assert stores.lake.read(package, ["a.b", "a"]).to_pydict() == {"a.b": [3, 4], "a": [1, 2]}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=90), unique=True))
def test_names_in_sql_are_short_distinct_and_stable(names):
    found = sql_names(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert all(0 < len(short.encode()) <= 63 for short in found.values())
    assert sql_names(list(reversed(names))) == found


def test_a_column_that_has_the_short_name_of_another_keeps_it():
    short = sql_names(["xmin"])["xmin"]
    found = sql_names(["xmin", short])
    assert found[short] == short
    assert found["xmin"] not in (short, "xmin")


@pytest.mark.parametrize("mark", ["\n", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u200f", "\ud800"])
def test_control_characters_are_refused(mark):
    assert not is_legal_name(f"a{mark}b")


@pytest.mark.parametrize("text", ["", " ", "Größe", "数量", "עברית", "a\u200db", "\ufeffid", "%", "'", '"', ";"])
def test_all_else_is_a_name(text):
    assert is_legal_name(text)


def wide(n_columns, n_rows=40):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n_rows, n_columns)), columns=[f"Gene {i}" for i in range(n_columns)])
    frame["Gene 7"] = np.arange(n_rows)
    frame["Gene 2000"] = pd.date_range("2026-01-01", periods=n_rows, tz="UTC").astype("datetime64[us, UTC]")
    frame["Gene 2001"] = [None, "Füße \" ' \\ 🌊"] * (n_rows // 2)
    frame["Gene 2002"] = [True, False] * (n_rows // 2)
    frame["Gene 2003"] = [2**53 + 1] * n_rows
    frame["Gene 2004"] = [1e300, -5e-324] * (n_rows // 2)
    return frame.assign(**{"The target's name": ["no", "yes"] * (n_rows // 2)})


def test_more_columns_than_postgresql_takes_come_in(stores, warehouse_url):
    frame = wide(2_300)
    made = declared(lambda _: frame, drop=[f"Gene {i}" for i in range(2_000, 2_005)])
    outcome = local_run.run(RunContext(made, day("2026-11-01"), stores, requested_by="test"))
    assert outcome.version == 1
    with psycopg.connect(warehouse_url) as connection:
        query = """SELECT "Gene 7", "The target's name", other_columns->>'Gene 2001',
                   (other_columns->>'Gene 2003')::bigint, (other_columns->>'Gene 2004')::float8,
                   (other_columns->>'Gene 2299')::float8
                   FROM batch_data_names ORDER BY 1"""
        found = connection.execute(query).fetchall()
    columns = ["Gene 7", "The target's name", "Gene 2001", "Gene 2003", "Gene 2004", "Gene 2299"]
    expected = frame[columns].astype(object).replace({np.nan: None})
    assert found == [tuple(row) for row in expected.itertuples(index=False)]
    assert [finding for finding in verify_stores(stores) if finding.state != "good"] == []
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("""UPDATE batch_rows_names SET other_columns = other_columns || '{"Gene 2299": 1}'
                              WHERE "Gene 7" = 3""")
    assert [finding.kind for finding in verify_stores(stores) if finding.state == "damaged"] == ["load"]


@pytest.mark.parametrize("kind", [pa.float64(), pa.string(), pa.bool_(), pa.timestamp("us", "UTC")])
def test_as_many_columns_as_are_laid_out_fit_into_a_row(warehouse, kind):
    schema = pa.schema([(f"c{i}", kind) for i in range(1_700)])
    layout = ColumnLayout.new(schema)
    cells = {"string": "x" * 200, "double": 0.1, "bool": True}.get(str(kind), 0)
    array = (
        pa.array([cells] * 3).cast(kind) if str(kind) in ("string", "double", "bool") else pa.array([0] * 3).cast(kind)
    )
    batch = pa.RecordBatch.from_arrays([array] * 1_700, schema=schema)
    interval = day("2026-11-01")
    run = Run(
        "r",
        "wide",
        interval,
        warehouse.claim_interval("wide", interval, requested_by="test"),
        "b" * 64,
        "b" * 64,
        "c" * 64,
    )
    load_id = warehouse.load(run, Package("p", "b" * 64, 3), schema, [batch])
    assert pa.Table.from_batches(warehouse.load_rows("wide", load_id, schema)).equals(pa.Table.from_batches([batch]))
    assert 250 < len(layout.columns) < 1_600
    assert OTHERS in layout.types()


def test_command_line_with_any_names(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "project", warehouse_url)
    names = [name for name in NAMES if name not in ("%s %(name)s %%",)]
    frame = rows_of(names)
    frame.to_csv(project.folder / "incoming" / "2026-11-01.csv", index=False)
    (project.folder / "experiments" / "clinic.py").write_text(
        f'''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files("{project.folder}/incoming/{{start:%Y-%m-%d}}.csv"), target="The target's name",
            key=["it's", "Größe"])
def names():
    """Tell yes from no."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()
'''
    )
    done = project.command("run", "names", "--date", "2026-11-01")
    assert done.returncode == 0, done.stderr
    frame.drop(columns="The target's name").to_csv(project.folder / "new.csv", index=False)
    predicted = project.command("predict", "names", "new.csv")
    assert predicted.returncode == 0, predicted.stderr
    header, *lines = csv.reader(predicted.stdout.splitlines())
    assert header == ["it's", "Größe", "prediction", "probability_no", "probability_yes"]
    assert len(lines) == len(frame)
