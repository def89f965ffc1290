"""Rows without a key: where content does not identify a row, every row is a sample of its own."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

from diurnal import experiment
from diurnal.data import Schema, infer_schema
from diurnal.data.deduplication import Deduplication, sort_by_hash
from diurnal.data.distinct_rows import DistinctRows
from diurnal.data.row_hash import NumberedHasher, hash_rows, number_hashes, stable_permutation
from diurnal.data.train_test_split import TrainTestRoles, assign_role
from diurnal.errors import ExperimentError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import local_run
from diurnal.storage.lake import Lake, PackageKey
from diurnal.types import Limits
from projects import Project, day

DAY = day("2026-11-23")

EXPERIMENT = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), target="survived", {declared})
def titanic():
    """Tell who survived."""
    from sklearn.compose import make_column_transformer
    from sklearn.model_selection import GridSearchCV, KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from sklearn.tree import DecisionTreeClassifier

    encode = make_column_transformer((OneHotEncoder(), ["class", "sex"]), remainder="passthrough")
    pipeline = make_pipeline(encode, DecisionTreeClassifier(random_state=0))
    return GridSearchCV(pipeline, {{"decisiontreeclassifier__max_depth": [2, None]}}, cv=KFold(3))
'''


def passengers(date, n=600):
    """Give so many passengers, whose rows have some twenty distinct contents."""
    rng = np.random.default_rng(int(date.replace("-", "")))
    rows = pd.DataFrame(
        {
            "class": rng.choice(["first", "second", "third"], n, p=[0.25, 0.25, 0.5]),
            "adult": rng.random(n) < 0.9,
            "sex": rng.choice(["female", "male"], n, p=[0.35, 0.65]),
        }
    )
    chance = 0.2 + 0.5 * (rows["sex"] == "female") + 0.1 * (rows["class"] == "first")
    return rows.assign(survived=np.where(rng.random(n) < chance, "yes", "no"))


@pytest.fixture
def project(tmp_path, warehouse_url):
    return Project.make(tmp_path / "project", warehouse_url)


def declare(project, declared=""):
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
    text = EXPERIMENT.format(pattern=pattern, declared=declared)
    (project.folder / "experiments" / "clinic.py").write_text(text)


def run(project, date, stores):
    return local_run.run(RunContext(project.experiment("titanic"), day(date), stores, requested_by="test"))


@pytest.fixture
def stores(project):
    stores = project.stores()
    yield stores
    stores.warehouse.close()


def test_run_learns_from_all_passengers_though_their_rows_are_equal(project, stores):
    declare(project)
    rows = project.bring("2026-11-01", passengers("2026-11-01"))
    assert len(rows.drop_duplicates()) < 30
    outcome = run(project, "2026-11-01", stores)
    assert outcome.run["n_train"] + outcome.run["n_test"] == 600
    assert 150 < outcome.run["n_test"] < 210
    X = rows.drop(columns="survived").assign(
        **{"class": rows["class"].astype("category").cat.codes, "sex": rows["sex"] == "male"}
    )
    notebook = cross_val_score(DecisionTreeClassifier(max_depth=2, random_state=0), X, rows["survived"], cv=5).mean()
    assert outcome.run["test_score"] == pytest.approx(notebook, abs=0.08)
    assert outcome.run["cv_score_mean"] == pytest.approx(notebook, abs=0.05), (
        "folds must not hold all rows of a content"
    )
    assert any("every row is a sample of its own" in warning for warning in outcome.run["warnings"])
    assert Schema.from_dict(stores.warehouse.schema("titanic")).keeps_duplicates


def test_fetched_again_in_another_order_a_batch_is_the_same_package(project, stores):
    declare(project)
    rows = project.bring("2026-11-01", passengers("2026-11-01"))
    first = run(project, "2026-11-01", stores)
    project.bring("2026-11-01", rows.sample(frac=1, random_state=3))
    assert run(project, "2026-11-01", stores).already
    assert first.run["packages"][0]["n_rows"] == 600


def test_the_window_is_all_rows_of_its_batches(project, stores):
    declare(project, "window=2")
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date, passengers(date))
        outcome = run(project, date, stores)
    assert outcome.run["n_train"] + outcome.run["n_test"] == 1_200
    version = stores.warehouse.version("titanic", outcome.version)
    assert version["signature"]["columns"]


def test_a_batch_is_new_to_the_champion_unless_it_learnt_that_very_one(project, stores):
    declare(project, "promotion='never'")
    rows = project.bring("2026-11-01", passengers("2026-11-01"))
    run(project, "2026-11-01", stores)
    stores.warehouse.set_champion("titanic", 1, requested_by="test", reason="the first")
    project.bring("2026-11-02", passengers("2026-11-02"))
    compared = run(project, "2026-11-02", stores).run
    assert compared["comparison"]["n_compared"] == compared["n_test"], "rows with known contents are new passengers"
    project.bring("2026-11-03", rows)
    same = run(project, "2026-11-03", stores).run
    assert same["comparison"] is None
    assert any("was trained on all" in warning for warning in same["warnings"])
    project.bring("2026-11-01", rows.iloc[:-1])
    corrected = run(project, "2026-11-01", stores).run
    assert corrected["comparison"] is None, "the champion has learnt the other rows of that day"


def test_what_is_declared_wins_over_what_the_first_batch_says(project, stores):
    declare(project, "duplicates='drop'")
    project.bring("2026-11-01", passengers("2026-11-01"))
    outcome = run(project, "2026-11-01", stores)
    assert outcome.run["n_train"] + outcome.run["n_test"] < 30
    declare(project, "duplicates='keep'")
    with pytest.raises(ExperimentError, match=r"declares the duplicates 'keep'; its first batch fixed 'drop'"):
        run(project, "2026-11-01", stores)


@pytest.mark.parametrize(("repeated", "expected"), [(0, "drop"), (1, "drop"), (2, "keep"), (60, "keep")], ids=str)
def test_the_first_batch_decides_at_99_percent(repeated, expected):
    x = list(range(100 - repeated)) + [0] * repeated
    batch = pa.RecordBatch.from_pydict({"x": x, "id": list(range(100)), "y": ["a", "b"] * 50})
    schema = infer_schema(lambda: [batch], target="y", drop=("id",), task="classification", limits=Limits())
    assert schema.duplicates == expected
    assert Schema.from_dict(schema.to_dict()) == schema
    keyed = infer_schema(lambda: [batch], target="y", key=("id",), task="classification", limits=Limits())
    assert (keyed.duplicates, keyed.keeps_duplicates) == ("drop", False)


def test_a_contract_of_before_drops_repeated_rows():
    batch = pa.RecordBatch.from_pydict({"x": [1, 1], "y": ["a", "b"]})
    stored = infer_schema(lambda: [batch], target="y", task="classification", limits=Limits()).to_dict()
    assert stored.pop("duplicates") == "keep"
    assert Schema.from_dict(stored).duplicates == "drop"


def test_a_key_and_duplicates_contradict_each_other():
    def toy():
        """Return nothing yet."""

    with pytest.raises(ExperimentError, match="both define what one sample is"):
        experiment(source=lambda _: None, target="y", key="id", duplicates="keep")(toy)
    with pytest.raises(ExperimentError, match="did you mean 'keep'"):
        experiment(source=lambda _: None, target="y", duplicates="kept")(toy)


def test_numbers_are_pinned_and_the_first_row_has_the_role_of_its_content():
    hashes = np.full(4, 6306385314117050060, dtype=np.uint64)
    assert number_hashes(hashes, np.arange(4)).tolist() == [
        6306385314117050060,
        3368829786080199604,
        3621124362348180370,
        7958146310092088551,
    ]
    assert assign_role(["a"], "golden", 0.5) == assign_role(["a"], "golden", 0.5, number=0)
    roles = [assign_role(["a"], "golden", 0.3, number) for number in range(2_000)]
    assert abs(roles.count("test") / 2_000 - 0.3) < 0.03


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 60))
def test_rows_are_numbered_alike_whatever_the_pieces(contents, size):
    table = pa.table({"x": sorted(contents)})

    def hasher(rows):
        return hash_rows(rows, ["x"], "x")

    def ordered(rows):
        return rows.take(pa.array(np.argsort(hasher(rows), kind="stable")))

    table, whole, pieces = ordered(table), NumberedHasher(hasher), NumberedHasher(hasher)
    batches = table.to_batches(max_chunksize=size)
    assert np.concatenate([pieces(batch) for batch in batches]).tolist() == whole(table).tolist()
    assert len(set(NumberedHasher(hasher)(table).tolist())) == table.num_rows


def few_contents(n, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table({"a": rng.choice(3, n), "b": [f"t{i}" for i in rng.choice(2, n)], "y": rng.choice(2, n)})


def hash_of_few(rows):
    return hash_rows(rows, ["a", "b"], "x")


@pytest.mark.parametrize("bucket_bytes", [200, 2_000, 10**9])
def test_rows_that_are_more_than_memory_are_the_same_package(tmp_path, bucket_bytes):
    rows = few_contents(3_000)
    found = Deduplication(keep_duplicates=True)
    pieces = sort_by_hash(
        rows.to_batches(max_chunksize=70), rows.schema, hash_of_few, found, tmp_path, 10**6, bucket_bytes=bucket_bytes
    )
    tables = [table for _, table in pieces]
    whole = Deduplication(keep_duplicates=True)
    [(_, expected)] = sort_by_hash(rows.to_batches(), rows.schema, hash_of_few, whole, tmp_path)
    assert pa.concat_tables(tables).equals(expected)
    assert expected.num_rows == 3_000
    assert found.n_duplicates == whole.n_duplicates == 0
    if bucket_bytes == 200:
        assert max(table.num_rows for table in tables) < 100, "equal rows are given in pieces"


@pytest.mark.parametrize("bucket_bytes", [200, 2_000])
def test_equal_rows_beyond_memory_are_dropped_one_by_one_where_they_are_one_sample(tmp_path, bucket_bytes):
    rows = few_contents(3_000)
    found = Deduplication()
    pieces = list(
        sort_by_hash(
            rows.to_batches(max_chunksize=70),
            rows.schema,
            hash_of_few,
            found,
            tmp_path,
            10**6,
            bucket_bytes=bucket_bytes,
        )
    )
    assert sum(table.num_rows for _, table in pieces) == 12
    assert found.n_duplicates == 3_000 - 12


@pytest.mark.parametrize("test_size", [0.01, 0.3, 0.99])
def test_parts_are_cut_as_one_file_is(tmp_path, test_size):
    rows = few_contents(4_000)
    roles = TrainTestRoles(lambda: NumberedHasher(hash_of_few), test_size, "y", is_hash_ordered=False)
    sides = []
    for cells in (1_000, 10**9):
        lake = Lake(str(tmp_path / str(cells)), cells_per_part=cells)
        package, _ = lake.write_package(
            PackageKey("x", "batches", DAY.key),
            rows.to_batches(max_chunksize=300),
            rows.schema,
            hash_of_few,
            keep_duplicates=True,
            n_rows=4_000,
        )
        assert package.n_rows == 4_000
        cut = lake.split_package(package, roles)
        assert lake.split_package(package, roles) == cut
        assert sum(side.n_rows for side in cut) == 4_000
        assert cut[1].n_rows / 4_000 == pytest.approx(test_size, abs=0.03)
        sides.append([lake.read(side) for side in cut])
    assert sides[0][0].equals(sides[1][0])
    assert sides[0][1].equals(sides[1][1])


def test_folds_get_rows_of_every_content():
    contents = np.repeat(np.arange(5), 200)[stable_permutation(1_000)]
    folds = [set(fold.tolist()) for fold in np.split(contents, 5)]
    assert folds == [{0, 1, 2, 3, 4}] * 5
    assert sorted(stable_permutation(1_000)) == list(range(1_000))
    assert stable_permutation(5).tolist() == [3, 4, 1, 2, 0]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", None]), st.sampled_from([0.0, -0.0, None, 1.5])))
)
def test_distinct_rows_are_counted_exactly_while_they_are_few(rows):
    columns = [
        pa.array([row[0] for row in rows], pa.int64()),
        pa.array([row[1] for row in rows], pa.string()),
        pa.array([row[2] for row in rows], pa.float64()),
    ]
    found, halves = DistinctRows(), (DistinctRows(), DistinctRows())
    found.update(columns)
    for half, places in zip(halves, (slice(0, len(rows) // 2), slice(len(rows) // 2, None)), strict=True):
        half.update([column[places] for column in columns])
    halves[0].merge(halves[1])
    distinct = len(set(rows))  # -0.0 == 0.0
    assert found.fraction == halves[0].fraction == (distinct / len(rows) if rows else 1.0)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_distinct_rows_beyond_memory_are_estimated(copies):
    found = DistinctRows(most=2_000)
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(20_000), copies))
    for piece in np.array_split(values, 7):
        found.update([pa.array(piece), pa.array(piece.astype(str))])
    assert len(found._hashes) <= 2_000
    assert found.fraction == pytest.approx(1 / copies, rel=0.01)


def test_distinct_rows_of_truth_values_are_counted():
    found = DistinctRows()
    found.update([pa.array([True, False, None, True, None])])
    assert found.fraction == 3 / 5
