"""Cells that are missing or odd: what a notebook copes with comes in, and what would move numbers is refused."""

from datetime import datetime

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest

from diurnal import experiment
from diurnal.data import UNTYPED, BatchValidator, Column, Schema, infer_schema
from diurnal.data.row_hash import hash_rows
from diurnal.data.train_test_split import assign_role
from diurnal.errors import BatchRejectedError, NotEnoughDataError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import local_run
from diurnal.types import Limits, Package
from projects import Project, day


@pytest.fixture
def stores(tmp_path, warehouse_url):
    stores = Project.make(tmp_path / "project", warehouse_url).stores()
    yield stores
    stores.warehouse.close()


def texts(**columns):
    return pa.RecordBatch.from_pydict(columns, schema=pa.schema([(c, pa.string()) for c in columns], metadata=UNTYPED))


def inferred(batch, **arguments):
    return infer_schema(lambda: [batch], target="y", limits=Limits(), **{"task": "classification", **arguments})


def read(schema, batch, *, limits=None, **options):
    inspection = BatchValidator(schema, limits or Limits(), **options)
    return pa.Table.from_batches(inspection.validate([batch]), schema=schema.arrow_schema), inspection.warnings


def frame_of(n, *, target=None, **columns):
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    y = np.where(x > 0, "yes", "no").astype(object)
    return pd.DataFrame({"x": x, "z": rng.normal(size=n), **columns, "y": y if target is None else target})


def declared(frames, make=None, **arguments):
    def cells():
        """Tell yes from no."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV

        return make() if make else GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3)

    return experiment(source=lambda interval: frames[f"{interval.start:%Y-%m-%d}"], target="y", **arguments)(cells)


def run(made, date, stores):
    return local_run.run(RunContext(made, day(date), stores, requested_by="test"))


# --- timestamps ------------------------------------------------------------------------------------------------------


def test_times_without_a_zone_are_a_kind_of_their_own():
    batch = texts(at=["2026-01-01 00:00:00", "2026-03-29 02:30", None], y=["a", "b", "a"])
    schema = inferred(batch)
    assert schema.columns[0].kind == "timestamp"
    table, _ = read(schema, batch)
    assert table["at"].type == pa.timestamp("us")
    assert table["at"][1].as_py() == datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001 - no such time in Berlin, and no matter
    assert Schema.from_dict(schema.to_dict()) == schema


def test_a_column_of_midnights_that_pandas_wrote_as_dates_is_still_of_times():
    schema = inferred(texts(at=["2026-01-01 06:00:00", "2026-01-01 07:00:00"], y=["a", "b"]))
    table, _ = read(schema, texts(at=["2026-01-02", "2026-01-03"], y=["a", "b"]))
    assert table["at"].to_pylist() == [datetime(2026, 1, 2), datetime(2026, 1, 3)]  # noqa: DTZ001


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_frames_with_times_without_a_zone_keep_them(unit):
    frame = pd.DataFrame({"at": pd.date_range("2026-01-01", periods=4, freq="h").astype(f"datetime64[{unit}]")})
    batch = pa.RecordBatch.from_pandas(frame.assign(y=["a", "b"] * 2))
    table, _ = read(inferred(batch), batch)
    assert table["at"].to_pylist() == frame["at"].tolist()


def test_what_a_time_without_a_zone_hashes_to_is_pinned_and_the_same_by_both_paths():
    moment = datetime(2026, 11, 23, 4, 5, 6, 7)  # noqa: DTZ001
    table = pa.table({"at": pa.array([moment, None], pa.timestamp("us"))})
    assert hash_rows(table, ["at"], "golden")[0] == 10781062006932264287
    assert (assign_role([moment], "golden", 0.5) == "test") == (10781062006932264287 < 2**63)


def test_a_day_with_times_and_dates(stores, warehouse_url):
    def make():
        from sklearn.compose import make_column_transformer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        return make_pipeline(make_column_transformer(("passthrough", ["x", "z"])), LogisticRegression())

    frame = frame_of(60, at=pd.date_range("2026-01-01", periods=60, freq="min").astype("datetime64[us]"))
    made = declared({"2026-11-01": frame}, make)
    assert run(made, "2026-11-01", stores).version == 1
    with psycopg.connect(warehouse_url) as connection:
        assert connection.execute("SELECT max(at) FROM batch_data_cells").fetchone() == (datetime(2026, 1, 1, 0, 59),)  # noqa: DTZ001


# --- nulls -----------------------------------------------------------------------------------------------------------


def with_remarks(share):
    remarks = pa.array([None if i < round(share * 200) else "good" for i in range(200)], pa.string())
    return pa.RecordBatch.from_pydict({"x": [*range(200)], "remarks": remarks, "y": ["a", "b"] * 100})


@pytest.mark.parametrize(("first", "later"), [(0.84, 0.84), (0.84, 0.9), (0, 0.5), (0.3, 0.6), (1, 1), (1, 0.5)])
def test_a_column_that_is_mostly_empty_comes_in_with_a_warning(first, later):
    table, warnings = read(inferred(with_remarks(first)), with_remarks(later))
    assert table.num_rows == 200
    assert any("remarks is null in" in warning for warning in warnings) == (later > 0.5)


FAR_ABOVE = [(0, 0.51, "too-many-nulls"), (0.3, 0.7, "too-many-nulls"), (0.84, 1, "all-null-column")]


@pytest.mark.parametrize(("first", "later", "code"), FAR_ABOVE)
def test_a_share_of_nulls_far_above_the_first_batches_is_refused(first, later, code):
    schema = inferred(with_remarks(first))
    with pytest.raises(BatchRejectedError, match=rf"\[{code}\].*{first:.1%} of the first") as refused:
        read(schema, with_remarks(later))
    assert "max_null" in str(refused.value)
    assert read(schema, with_remarks(later), limits=Limits(max_null=1))[0].num_rows == 200


def test_few_rows_may_all_lack_what_most_rows_lack():
    schema = inferred(
        pa.RecordBatch.from_pydict({"x": [*range(100)], "r": [None] * 84 + ["x"] * 16, "y": ["a", "b"] * 50})
    )
    table, _ = read(schema, pa.RecordBatch.from_pydict({"x": [1, 2, 3, 4], "r": [None] * 4, "y": ["a", "b"] * 2}))
    assert table.num_rows == 4


@pytest.mark.parametrize("column", [pa.array([None] * 60, pa.null()), pa.array([None] * 60, pa.float64())])
def test_an_empty_column_is_one_of_floats_as_pandas_reads_it(stores, column):
    def make():
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        return make_pipeline(SimpleImputer(), LogisticRegression())

    table = pa.Table.from_pandas(frame_of(60)).add_column(0, "Unnamed: 32", column)
    outcome = run(declared({"2026-11-01": table}, make), "2026-11-01", stores)
    empty = Schema.from_dict(stores.warehouse.schema("cells")).columns[0]
    assert empty == Column("Unnamed: 32", "float", nullable=True, null_share=1.0)
    assert "Unnamed: 32 is null in 100.0% of the rows" in outcome.run["warnings"]


def test_nested_columns_may_be_dropped():
    batch = pa.RecordBatch.from_pydict({"x": [1, 2], "tags": [["a"], []], "y": ["a", "b"]})
    with pytest.raises(BatchRejectedError, match="nested"):
        inferred(batch)
    schema = inferred(batch, drop=("tags",))
    assert schema.names == ("x", "y")
    assert read(schema, batch)[0].column_names == ["x", "y"]


# --- targets ---------------------------------------------------------------------------------------------------------


def test_rows_without_a_target_are_kept_and_are_on_neither_side(stores, warehouse_url):
    frame = frame_of(90)
    frame.loc[:9, "y"] = None
    outcome = run(declared({"2026-11-01": frame}), "2026-11-01", stores)
    assert outcome.run["n_train"] + outcome.run["n_test"] == 80
    assert any("10 rows have no target y" in warning for warning in outcome.run["warnings"])
    with psycopg.connect(warehouse_url) as connection:
        assert connection.execute("SELECT count(*), count(y) FROM batch_data_cells").fetchone() == (90, 80)
    assert stores.warehouse.version("cells", 1)["signature"]["classes"] == ["no", "yes"]


def test_rows_without_a_target_are_on_neither_side_of_parts(stores):
    stores.lake.cells_per_part = 100
    frame = frame_of(400)
    frame.loc[frame["x"] > 1, "y"] = None
    outcome = run(declared({"2026-11-01": frame}), "2026-11-01", stores)
    assert outcome.run["packages"][0]["path"].endswith(".json") or "parts" in outcome.run["packages"][0]["path"]
    sides = [row for row in stores.warehouse.packages() if row["role"] in ("train", "test")]
    tables = [stores.lake.read(Package(row["path"], row["digest"], row["n_rows"])) for row in sides]
    assert sum(table.num_rows for table in tables) == (frame["x"] <= 1).sum()
    assert all(table["y"].null_count == 0 for table in tables)


def test_a_batch_without_any_target_is_refused(stores):
    with pytest.raises(BatchRejectedError, match=r"null-target.*null in every row"):
        run(declared({"2026-11-01": frame_of(20, target=[None] * 20)}), "2026-11-01", stores)
    assert not stores.warehouse.packages()


def test_a_leak_is_seen_though_some_rows_have_no_target():
    schema = Schema((Column("x", "int"), Column("y", "int")), "y", task="regression")
    batch = pa.RecordBatch.from_pydict({"x": [1, 2, 3], "y": [1, None, 3]})
    with pytest.raises(BatchRejectedError, match=r"\[leak\]"):
        read(schema, batch)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_one_value_of_the_target_is_judged_over_the_window(stores, task):
    def make():
        from sklearn.linear_model import LogisticRegression, Ridge

        return LogisticRegression() if task == "classification" else Ridge()

    values = {"classification": ("no", "yes"), "regression": (0.0, 1.5)}[task]
    both = frame_of(60)
    both["y"] = np.where(both["x"] > 0, *reversed(values))
    one = {f"2026-11-0{i}": frame_of(30 + i, target=[values[0]] * (30 + i)) for i in (1, 3)}
    frames = one | {"2026-11-02": both}
    made = declared(frames, make, window="30d")
    with pytest.raises(NotEnoughDataError, match=r"all \d+ train samples .* one value of the target") as lacking:
        run(made, "2026-11-01", stores)
    assert lacking.value.exit_status == 0
    assert [row["role"] for row in stores.warehouse.packages()] == ["batch", "test", "train"], "the batch is kept"
    assert run(made, "2026-11-02", stores).run["n_train"] > 50
    assert run(made, "2026-11-03", stores).version == 2, "the newest batch has one value, and the window both"
    if task == "classification":
        assert Schema.from_dict(stores.warehouse.schema("cells")).classes == ("no", "yes")


def test_labels_are_completed_once_and_no_further(stores):
    frames = {"2026-11-01": frame_of(30, target=["no"] * 30), "2026-11-02": frame_of(60), "2026-11-03": frame_of(61)}
    frames["2026-11-03"].loc[0, "y"] = "maybe"
    made = declared(frames, window=7)
    with pytest.raises(NotEnoughDataError):
        run(made, "2026-11-01", stores)
    run(made, "2026-11-02", stores)
    with pytest.raises(BatchRejectedError, match="'maybe' of y is new"):
        run(made, "2026-11-03", stores)


def test_one_value_is_refused_where_the_batch_is_the_window(stores):
    with pytest.raises(BatchRejectedError, match="one-class"):
        run(declared({"2026-11-01": frame_of(30, target=["no"] * 30)}), "2026-11-01", stores)
    assert not stores.warehouse.packages()


def test_a_rare_class_is_handled_as_scikit_learn_handles_it(stores):
    frame = frame_of(120)
    frame.loc[:1, "y"] = "rare"  # fewer than folds: a warning of scikit-learn's
    outcome = run(declared({"2026-11-01": frame}), "2026-11-01", stores)
    assert outcome.version == 1


def test_a_class_that_a_fold_lacks_so_that_its_fit_fails_is_not_enough_data(stores):
    frame = frame_of(60, target=["no"] * 60)
    in_train = [i for i, row in frame.iterrows() if assign_role([row["x"], row["z"]], "cells", 0.3) == "train"]
    frame.loc[in_train[0], "y"] = "yes"
    made = declared({"2026-11-01": frame, "2026-11-02": frame_of(61)}, window=2)
    with pytest.raises(NotEnoughDataError, match="'yes' has 1"):
        run(made, "2026-11-01", stores)
    assert run(made, "2026-11-02", stores).version == 1


def test_no_test_sample_is_not_enough_data(stores):
    made = declared({"2026-11-01": frame_of(30)}, test_size=1e-6)
    with pytest.raises(NotEnoughDataError, match="the window has no test samples"):
        run(made, "2026-11-01", stores)


def test_a_score_that_is_undefined_is_said_to_be(stores):
    def make():
        from sklearn.linear_model import Ridge

        return Ridge()

    frames = {}
    for date in ("2026-11-01", "2026-11-02"):
        frame = frame_of(40 if date.endswith("1") else 41)
        frame["y"] = frame["x"] * 2
        tested = [assign_role([row["x"], row["z"]], "cells", 0.3) == "test" for _, row in frame.iterrows()]
        frames[date] = frame.loc[[i for i, test in enumerate(tested) if not test] + [tested.index(True)]]
    made = declared(frames, make, drop=())
    first = run(made, "2026-11-01", stores)
    assert (first.run["n_test"], first.run["test_score"]) == (1, None)
    assert first.promoted
    assert "test score undefined" in first.reason
    assert any("r2 is undefined on 1 test samples" in warning for warning in first.run["warnings"])
    second = run(made, "2026-11-02", stores)
    assert second.run["comparison"]["twin_score"] is None
    assert "twin undefined, champion (version 1) undefined" in second.reason


def test_command_line_says_what_lacks_and_ends_well(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "cli", warehouse_url, "drop='ward', window=3, start_date='2026-11-01'")
    for date, label in (("2026-11-01", "no"), ("2026-11-02", "no"), ("2026-11-03", None)):
        rows = project.bring(date)
        if label:
            project.bring(date, rows.assign(ill=label))
    done = project.command("run", "clinic", "--date", "2026-11-01")
    assert (done.returncode, "not enough data yet" in done.stderr) == (0, True), done.stderr
    as_json = project.command("run", "clinic", "--date", "2026-11-01", "--json")
    assert '"state": "not enough data"' in as_json.stdout
    forward = project.command("run", "clinic", "--next")
    assert forward.returncode == 0, forward.stderr
    assert "2026-11-03" in forward.stdout
    filled = project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-03")
    assert filled.returncode == 0, filled.stdout + filled.stderr
    assert "1 already done, 0 rejected, 2 not enough data" in filled.stdout
