"""The day on Spark, in this process: the same packages and roles as on one machine, the same columns in the row."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diurnal.backends import get_backend
from diurnal.backends.sample_reader import SampleReader
from diurnal.backends.spark import spark_backend, spark_ingest
from diurnal.data import Metadata
from diurnal.errors import (
    BatchRejectedError,
    ConfigurationError,
    CorruptPackageError,
    ExperimentError,
    InvalidModelError,
    NotEnoughDataError,
    TransientError,
)
from diurnal.experiment import find
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import evaluation_files
from diurnal.pipeline.erasure import erase_sample
from diurnal.pipeline.local_run import run
from diurnal.pipeline.predict import predict_batches
from diurnal.pipeline.scored_batches import score_batch
from diurnal.pipeline.steps import evaluate, fetch, save_batch, split, tune
from diurnal.pipeline.store_verification import verify_stores
from diurnal.runtime import spark
from diurnal.runtime.project_files import Codebase
from diurnal.storage.load_model import load_version, resolve_reference
from diurnal.storage.stores import Stores
from diurnal.types import Package
from projects import Project, day, patients
from spark_projects import EXPERIMENT, SKLEARN, conf_dir, declare, needs_spark

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.system, needs_spark]


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One session for all tests of this file."""
    conf = str(conf_dir(tmp_path_factory.mktemp("conf")))
    spark.configure_session("local[2]", conf)
    spark.get_session()
    yield conf
    spark.stop_session()
    spark.configure_session("local[*]")


def made(
    tmp_path: Path, url: str, source: str | None = None, declared: str = "key='patient', drop='ward'", **words
) -> Project:
    project = Project.make(tmp_path / "project", url)
    (project.folder / "diurnal.toml").write_text('[diurnal]\nspark = "local[2]"\n')
    declare(
        project, source or f"Files({str(project.folder / 'incoming' / '{start:%Y-%m-%d}.csv')!r})", declared, **words
    )
    return project


@pytest.fixture
def opened(session: str, another_url: str) -> Iterator[Callable[[Project], Stores]]:
    """Open a project's stores, and keep to the session that is running."""
    with ExitStack() as stack:

        def open_stores(project: Project) -> Stores:
            stores = project.stores()
            spark.configure_session("local[2]", session)
            stack.enter_context(stores.warehouse)
            return stores

        yield open_stores


def parquet(project: Project) -> str:
    return f"Files({str(project.folder / 'incoming' / '{start:%Y-%m-%d}*.parquet')!r})"


def bring_parquet(project: Project, date: str, rows: pd.DataFrame, n_files: int = 3) -> None:
    for i, piece in enumerate(np.array_split(np.arange(len(rows)), n_files)):
        rows.iloc[piece].to_parquet(project.folder / "incoming" / f"{date}-{i}.parquet", index=False)


def fetched(project: Project, stores: Stores, date: str):
    the_day = RunContext(project.experiment(), day(date), stores, requested_by="test")
    batch = fetch(the_day)
    return batch, split(the_day, batch)


def reader_of(context: RunContext) -> SampleReader:
    return SampleReader(context, context.newest_schema)


def test_days_run_on_spark_as_on_one_machine(opened, tmp_path, warehouse_url):
    project = made(tmp_path, warehouse_url)
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
    stores = opened(project)
    first = run(RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test"))
    row = first.run
    assert (row["scoring"], row["cv_folds"], row["n_candidates"]) == ("accuracy", 2, 2)
    assert row["best_params"] == {"LogisticRegression.regParam": 0.01}
    assert row["test_score"] > 0.75
    assert row["library_versions"]["pyspark"].startswith("4.")
    assert "java" in row["library_versions"]
    candidates = pq.read_table(Path(stores.lake.root) / row["candidates"])
    assert {"params", "split0_test_score", "split1_test_score", "mean_test_score", "rank_test_score"} <= set(
        candidates.column_names
    )
    assert max(candidates["mean_test_score"].to_pylist()) == row["cv_score_mean"]
    assert first.promoted
    second = run(RunContext(project.experiment(), day("2026-11-02"), stores, requested_by="test"))
    assert second.run["comparison"]["n_compared"] == second.run["n_test"]
    assert second.run["comparison"]["test"] == "exact McNemar"
    models = evaluation_files.read_evaluation(stores.lake, second.run["evaluation"])["models"]
    assert models["twin"]["n_rows"] == models["champion"]["n_rows"] == second.run["n_test"]
    for name, score in (("twin", "test_score"), ("champion", "champion_score")):
        right = models[name]["confusion"][0][0] + models[name]["confusion"][1][1]
        assert right / second.run["n_test"] == pytest.approx(second.run[score])
    assert not [text for text in second.run["warnings"] if "evaluation data" in text]
    again = run(RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test"))
    assert again.already
    # the champion, as another program has it, and as `diurnal predict` does
    version = resolve_reference(stores.warehouse, "clinic@1")
    model = load_version(stores.models, version)
    frame = patients("2026-11-03", 40)
    told = model.transform(spark.get_session().createDataFrame(pa.Table.from_pandas(frame)))
    assert "prediction" in told.columns
    (predicted,) = predict_batches(stores, "clinic@1", pa.Table.from_pandas(frame, preserve_index=False).to_batches())
    assert predicted.column_names == ["patient", "prediction", "probability_no", "probability_yes"]
    right = np.array(predicted["prediction"].to_pylist()) == frame["ill"].to_numpy()
    assert right.mean() > 0.75
    # equal fits have equal bytes, whoever makes them
    forced = run(RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test", force=True))
    versions = {v["version"]: v["digest"] for v in stores.warehouse.versions("clinic")}
    assert versions[forced.version] == versions[1]


def test_stored_batch_is_scored_by_the_executors_as_another_one_is_here(opened, tmp_path, warehouse_url, monkeypatch):
    project = made(tmp_path, warehouse_url)
    rows = project.bring("2026-11-01")
    stores = opened(project)
    context = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test")
    run(context)
    version = stores.warehouse.version("clinic", 1)
    brought = {"2026-11-01": rows, "2026-11-02": project.bring("2026-11-02")}
    model = load_version(stores.models, version, stores.code)
    with monkeypatch.context() as patch:
        patch.setattr(spark_backend, "predict_rows", None)  # that of rows that are in this process
        stored = score_batch(context)
    following = RunContext(project.experiment(), day("2026-11-02"), stores, requested_by="test")
    other = score_batch(following)
    assert (stored.state, stored.n_rows, other.n_rows) == ("scored", 240, 240)
    found = stores.warehouse.predictions("clinic").to_pandas()
    for date, rows in brought.items():
        features = pa.Table.from_pandas(rows[["age", "pressure"]], preserve_index=False)
        expected = spark_backend.BACKEND.predict(model, features, version["signature"])
        of_day = found[found["data_interval_start"] == pd.Timestamp(date, tz="UTC")].set_index("patient")
        of_day = of_day.loc[rows["patient"]]
        assert of_day["prediction"].tolist() == list(expected["prediction"])
        np.testing.assert_array_equal(of_day["probability_yes"], expected["probability_yes"])
    assert not list((project.folder / "lake").glob(".tmp/*"))
    save_batch(following, fetch(following))
    learnt, live = stores.warehouse.live_scores("clinic")
    assert (learnt["n_in_sample"], learnt["score"], live["n_scored"]) == (240, None, 240)
    assert (live["scoring"], live["score"]) == ("accuracy", np.mean(of_day["prediction"] == rows["ill"].to_numpy()))


def test_erased_key_is_left_out_by_the_executors(opened, tmp_path, warehouse_url):
    project = made(tmp_path, warehouse_url, f"Files({str(tmp_path / 'project/incoming/{start:%Y-%m-%d}*.parquet')!r})")
    stores, rows = opened(project), patients("2026-11-01")
    bring_parquet(project, "2026-11-01", rows)
    batch, _ = fetched(project, stores, "2026-11-01")
    assert batch.package.n_rows == 240
    erase_sample(stores, "clinic", rows["patient"][7], requested_by="test")
    erased = {(row["role"], row["digest"], row["n_rows"]) for row in stores.warehouse.packages()}
    again, _ = fetched(project, stores, "2026-11-01")
    assert again.package.n_rows == 239
    assert {(row["role"], row["digest"], row["n_rows"]) for row in stores.warehouse.packages()} == erased


def test_rows_that_a_model_leaves_out_are_rejected(opened, tmp_path, warehouse_url):
    skipping = EXPERIMENT.replace('outputCol="features")', 'outputCol="features", handleInvalid="skip")')
    project = made(tmp_path, warehouse_url, text=skipping)
    rows = patients("2026-11-01")
    rows.loc[[3, 7], "age"] = np.nan
    project.bring("2026-11-01", rows)
    stores = opened(project)
    context = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test")
    run(context)
    project.bring("2026-11-02", rows)
    for date in ("2026-11-01", "2026-11-02"):
        with pytest.raises(BatchRejectedError, match="238 predictions for 240 rows"):
            score_batch(RunContext(project.experiment(), day(date), stores, requested_by="test"))
    assert stores.warehouse.visible_predictions("clinic", day("2026-11-01").start) is None


@pytest.mark.parametrize(("declared", "n_rows"), [("key='patient', drop='ward'", 700), ("drop=('patient',)", 730)])
def test_packages_and_roles_are_those_of_one_machine(opened, tmp_path, warehouse_url, another_url, declared, n_rows):
    rows = patients("2026-11-01", 700)
    rows = pd.concat([rows, rows.head(30)])  # some come twice
    rows["seen"] = pd.to_datetime("2026-11-01T05:00:00", utc=True) + pd.to_timedelta(np.arange(len(rows)) % 700, "s")
    rows["at"] = rows["seen"].dt.tz_localize(None)
    rows.loc[3, "age"] = np.nan
    rows.loc[100, "ill"] = None
    found = {}
    for name, text, url in (("spark", EXPERIMENT, warehouse_url), ("sklearn", SKLEARN, another_url)):
        project = Project.make(tmp_path / name, url)
        declare(project, parquet(project), declared, text=text)
        bring_parquet(project, "2026-11-01", rows)
        for cells in (2**24, 1000):
            stores = opened(project)
            stores.lake.cells_per_part = cells
            batch, samples = fetched(project, stores, "2026-11-01")
            (profile,) = stores.warehouse.profiles("clinic")
            found[name, cells] = (
                batch.package, samples.train, samples.test, batch.warnings, profile["digest"], profile["summary"],
            )  # fmt: skip
    for cells in (2**24, 1000):
        assert found["spark", cells] == found["sklearn", cells]
    assert found["spark", 1000][0].path.endswith(".json")
    assert found["spark", 2**24][0].n_rows == found["spark", 1000][5]["n_rows"] == n_rows
    assert sum(side.n_rows for (side,) in found["spark", 2**24][1:3]) == n_rows - 1, "one has no target"


PASSENGERS = """
from diurnal import experiment
from diurnal.sources import Files


@experiment(source={source}, target="Survived?", drop=("a.b", "A.B"), window=2, {declared})
def clinic():
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import StringIndexer, VectorAssembler

    return Pipeline(stages=[
        StringIndexer(inputCol="Survived?", outputCol="truth", stringOrderType="alphabetAsc"),
        VectorAssembler(inputCols=["Größe (m)", "class", "deck"], outputCol="features"),
        LogisticRegression(labelCol="truth", maxIter=3),
    ])
"""


def passengers(date: str, n: int = 300) -> pd.DataFrame:
    """Give rows of twelve distinct contents, under names that SQL and Spark must quote."""
    rng = np.random.default_rng(int(date.replace("-", "")))
    rows = pd.DataFrame({"Größe (m)": rng.choice([1.5, 1.8], n), "class": rng.choice(3, n), "deck": rng.choice(2, n)})
    alive = rng.random(n) < 0.2 + 0.6 * (rows["deck"] == 1)
    return rows.assign(**{"a.b": [f"{i}" for i in range(n)], "A.B": 1, "Survived?": np.where(alive, "yes", "no")})


def test_equal_rows_are_samples_of_their_own_and_names_are_any(opened, tmp_path, warehouse_url):
    from pyspark.ml.tuning import CrossValidator

    from diurnal.backends.spark.cross_validation import make_folds

    project = Project.make(tmp_path / "project", warehouse_url)
    declare(project, parquet(project), "sample=0.9", text=PASSENGERS)
    stores = opened(project)
    bring_parquet(project, "2026-11-01", passengers("2026-11-01"))
    outcome = run(RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test"))
    assert 0.15 * 300 < outcome.run["n_test"] < 0.45 * 300
    assert outcome.run["n_train"] == pytest.approx(0.9 * (300 - outcome.run["n_test"]), abs=25)
    assert [finding for finding in verify_stores(stores) if finding.state != "good"] == []
    (predicted,) = predict_batches(stores, "clinic", pa.Table.from_pandas(passengers("2026-11-03")).to_batches())
    assert predicted.num_rows == 300
    bring_parquet(project, "2026-11-02", passengers("2026-11-02"))
    the_day = RunContext(project.experiment(), day("2026-11-02"), stores, requested_by="test")
    samples = split(the_day, fetch(the_day))
    backend = get_backend(the_day.experiment.build())
    rows = backend.read_training_data(
        reader_of(the_day), samples.train, fraction=the_day.sampling_fraction(samples.train)
    )
    assert rows.n_rows == pytest.approx(0.9 * sum(package.n_rows for package in samples.train), abs=30)
    ((train, held), _) = make_folds(CrossValidator(numFolds=2), rows)
    assert held.count() == pytest.approx(rows.n_rows / 2, abs=50)
    for side in (train, held):
        assert side.select("class", "deck").distinct().count() == 6, "no fold has a content alone"


@pytest.mark.parametrize("left_out", ["usecols", "drop"])
def test_columns_are_left_out_as_on_one_machine(opened, tmp_path, warehouse_url, another_url, left_out):
    rows = patients("2026-11-01", 90).assign(**{"Sepal Length (cm)": 1.0})
    rows.insert(1, "tags", [[1, 2]] * len(rows))
    words = ", usecols=lambda name: name != 'tags'" if left_out == "usecols" else ""
    dropped = "'ward'" if left_out == "usecols" else "('ward', 'tags')"
    found = []
    for name, text, url in (("spark", EXPERIMENT, warehouse_url), ("sklearn", SKLEARN, another_url)):
        project = Project.make(tmp_path / name, url)
        source = f"Files('incoming/{{start:%Y-%m-%d}}*.parquet'{words})"
        declare(project, source, f"key='patient', drop={dropped}", text=text)
        bring_parquet(project, "2026-11-01", rows)
        batch, _ = fetched(project, opened(project), "2026-11-01")
        found.append(batch.package)
    assert found[0] == found[1]
    assert found[0].n_rows == 90


def test_function_of_a_session_is_a_source(opened, tmp_path, warehouse_url):
    imports = (
        "def rows(session, interval):\n"
        "    day = f'{interval.start:%Y-%m-%d}'\n"
        "    return session.read.parquet(PLACE).where(f\"patient like '{day}%'\")\n"
    )
    place = tmp_path / "rows.parquet"
    patients("2026-11-01", 90).to_parquet(place, index=False)
    project = made(tmp_path, warehouse_url, "rows", imports=imports.replace("PLACE", repr(str(place))))
    batch, samples = fetched(project, opened(project), "2026-11-01")
    assert batch.package.n_rows == 90
    assert samples.train[0].n_rows + samples.test[0].n_rows == 90


def test_source_is_streamed_file_by_file_from_any_folder(opened, tmp_path, warehouse_url):
    folder = tmp_path / "a lake %41"
    folder.mkdir()
    rows = patients("2026-11-01", 90).assign(seen=pd.date_range("1700-01-01", periods=90, freq="40D", unit="us"))
    imports = "def rows(session, interval):\n    return session.read.parquet(PLACE).repartition(3)\n"
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    project = made(
        folder, warehouse_url, "rows", imports=imports.replace("PLACE", repr(str(tmp_path / "rows.parquet")))
    )
    context = RunContext(project.experiment(), day("2026-11-01"), opened(project), requested_by="test")
    streamed = [batch for batch in spark_ingest.stream_source(context) if batch.num_rows]
    assert [batch.num_rows for batch in streamed] == [30, 30, 30]
    found = pa.Table.from_batches(streamed).to_pandas().sort_values("patient", ignore_index=True)
    pd.testing.assert_frame_equal(found, rows.sort_values("patient", ignore_index=True), check_dtype=False)


def test_refusals_are_gathered_from_all_partitions(opened, tmp_path, warehouse_url):
    project = made(tmp_path, warehouse_url, None)
    declare(project, parquet(project), "key='patient', drop='ward'")
    bring_parquet(project, "2026-11-01", patients("2026-11-01"))
    stores = opened(project)
    fetched(project, stores, "2026-11-01")
    wrong = patients("2026-11-02")
    wrong.loc[[5, 100, 230], "ill"] = "perhaps"
    bring_parquet(project, "2026-11-02", wrong)
    with pytest.raises(BatchRejectedError) as refusal:
        fetched(project, stores, "2026-11-02")
    (problem,) = [p for p in refusal.value.problems if p.code == "unseen-label"]
    assert problem.count == 3
    assert not list((Path(stores.lake.root) / ".tmp").glob("diurnal-*"))
    conflicting = patients("2026-11-03")
    conflicting = pd.concat([conflicting, conflicting.head(2).assign(age=1.0)])
    bring_parquet(project, "2026-11-03", conflicting)
    with pytest.raises(BatchRejectedError, match="2 values of the key"):
        fetched(project, stores, "2026-11-03")
    changing = patients("2026-11-04")
    bring_parquet(project, "2026-11-04", changing, 1)
    changing.drop(columns="age").to_parquet(project.folder / "incoming" / "2026-11-04-9.parquet", index=False)
    with pytest.raises(BatchRejectedError, match="changing-columns"):
        fetched(project, stores, "2026-11-04")


def frame_and_schema(n: int = 200):
    from diurnal.backends.spark import SparkData
    from diurnal.data import Column, Schema

    table = pa.Table.from_pandas(patients("2026-11-01", n), preserve_index=False)
    kinds = {"age": "float", "pressure": "float"}
    columns = tuple(Column(name, kinds.get(name, "text")) for name in table.column_names)
    schema = Schema(columns, "ill", key=("patient",), drop=("ward",), classes=("no", "yes"))
    return SparkData(spark.get_session().createDataFrame(table), schema, n), schema


def search_of(project: Project):
    return project.experiment().build()


@pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool")  # pyspark's own
def test_fold_scores_are_those_of_pyspark_on_the_same_folds(tmp_path):
    from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

    from diurnal.backends.spark.cross_validation import make_folds, run_search

    project = made(tmp_path, "unused")
    search = search_of(project)
    rows, _ = frame_and_schema()
    tuned = run_search(search, rows)
    pairs = make_folds(search, rows)
    ids = [{row[0] for row in held.select("patient").collect()} for _, held in pairs]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == 200
    # whatever the layout, a sample is in the same fold
    from dataclasses import replace

    other = make_folds(search, replace(rows, frame=rows.frame.repartition(5)))
    assert {row[0] for row in other[0][1].select("patient").collect()} == ids[0]
    marked = rows.frame.withColumn("fold", F.when(F.col("patient").isin(*ids[0]), 0).otherwise(1))
    theirs = search.copy().setFoldCol("fold").fit(marked)
    table = tuned.table
    assert table["mean_test_score"].to_pylist() == pytest.approx(theirs.avgMetrics)
    assert table["std_test_score"].to_pylist() == pytest.approx(theirs.stdMetrics)


@pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool")  # pyspark's own
def test_candidates_share_the_fits_of_what_they_begin_with(tmp_path, monkeypatch):
    from collections import Counter

    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import PCA, StandardScaler, StringIndexer, VectorAssembler
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
    from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

    from diurnal.backends.spark.cross_validation import make_folds, run_search

    rows, _ = frame_and_schema()
    pca = PCA(inputCol="scaled", outputCol="features")
    log_reg = LogisticRegression(labelCol="truth", maxIter=4)
    pipeline = Pipeline(
        stages=[
            StringIndexer(inputCol="ill", outputCol="truth", stringOrderType="alphabetAsc"),
            VectorAssembler(inputCols=["age", "pressure"], outputCol="raw"),
            StandardScaler(inputCol="raw", outputCol="scaled", withMean=True),
            pca,
            log_reg,
        ]
    )
    grid = ParamGridBuilder().addGrid(log_reg.regParam, [0.01, 1.0, 5.0]).addGrid(pca.k, [1, 2]).build()
    judge = MulticlassClassificationEvaluator(labelCol="truth", metricName="logLoss")
    search = CrossValidator(estimator=pipeline, estimatorParamMaps=grid, evaluator=judge, numFolds=2)
    held = [{row[0] for row in held.select("patient").collect()} for _, held in make_folds(search, rows)]
    marked = rows.frame.withColumn("fold", F.when(F.col("patient").isin(*held[0]), 0).otherwise(1))
    theirs = search.copy().setFoldCol("fold").fit(marked)

    fits: Counter[str] = Counter()
    for kind in (StringIndexer, StandardScaler, PCA, LogisticRegression):

        def counting(self, dataset, kind=kind, really=kind._fit):
            fits[kind.__name__] += 1
            return really(self, dataset)

        monkeypatch.setattr(kind, "_fit", counting)
    tuned = run_search(search, rows)
    scores = [-score for score in theirs.avgMetrics]
    assert tuned.table["mean_test_score"].to_pylist() == pytest.approx(scores, rel=1e-12)
    twin = 1
    shared = dict.fromkeys(("StringIndexer", "StandardScaler"), 2 + twin)
    assert fits == {**shared, "PCA": 4 + twin, "LogisticRegression": 12 + twin}
    assert not spark.get_session().sparkContext._jsc.getPersistentRDDs(), "nothing of it stays with the executors"


def test_values_that_differ_behind_the_digits_of_their_text_are_candidates_of_their_own():
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import ElementwiseProduct
    from pyspark.ml.linalg import Vectors
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    from diurnal.backends.spark.cross_validation import candidate_params, find_candidate
    from diurnal.backends.spark.pipeline_cache import SharedPrefixes

    scaling, log_reg = ElementwiseProduct(), LogisticRegression()
    vectors = [Vectors.dense([0.00001, 1.0]), Vectors.dense([0.00002, 1.0])]
    assert repr(vectors[0]) == repr(vectors[1])
    grid = ParamGridBuilder().addGrid(scaling.scalingVec, vectors).addGrid(log_reg.regParam, [0.1, 1.0]).build()
    pipeline = Pipeline(stages=[scaling, log_reg])
    assert len(set(SharedPrefixes(pipeline, grid).paths)) == 2, "each is shared by its two, and by no other"
    search = CrossValidator(
        estimator=pipeline, estimatorParamMaps=grid, evaluator=MulticlassClassificationEvaluator(), numFolds=2
    )
    assert [find_candidate(search, candidate_params(search, one)) for one in grid] == grid


def test_train_validation_split_and_a_bare_regressor_have_their_conventions(tmp_path):
    from pyspark.ml import Pipeline
    from pyspark.ml.evaluation import RegressionEvaluator
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.regression import LinearRegression
    from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit

    rows, _ = frame_and_schema()
    line = LinearRegression(labelCol="pressure", maxIter=3)
    pipeline = Pipeline(stages=[VectorAssembler(inputCols=["age"], outputCol="features"), line])
    grid = ParamGridBuilder().addGrid(line.regParam, [0.0, 5.0]).build()
    judge = RegressionEvaluator(labelCol="pressure", metricName="rmse")
    search = TrainValidationSplit(estimator=pipeline, estimatorParamMaps=grid, evaluator=judge, trainRatio=0.75)
    backend = get_backend(search)
    assert backend.task(search) == "regression"
    assert backend.score_name(search) == "neg_rmse"
    tuned = backend.tune(search, rows)
    assert tuned.n_folds == 1
    assert tuned.mean < 0
    bare = backend.tune(pipeline, rows)
    assert (bare.n_folds, bare.n_candidates, bare.mean) == (0, 1, None)
    assert backend.score_name(pipeline) == "r2"
    found = backend.compare(search, tuned.twin, bare.twin, rows)
    scores = [backend.score(search, model, rows)["neg_rmse"] for model in (tuned.twin, bare.twin)]
    assert found.test == "sign flips"
    assert found.difference == pytest.approx(scores[0] - scores[1], abs=1e-9)
    by_r2 = backend.compare(pipeline, tuned.twin, bare.twin, rows)
    scores = [backend.score(pipeline, model, rows)["r2"] for model in (tuned.twin, bare.twin)]
    assert by_r2.difference == pytest.approx(scores[0] - scores[1], abs=1e-9)
    assert by_r2.p_worse == found.p_worse


@pytest.mark.parametrize(
    ("metric", "test"),
    [
        ("areaUnderROC", "DeLong"),
        ("logLoss", "sign flips"),
        ("f1", "stratified paired bootstrap"),
        ("accuracy", "exact McNemar"),
    ],
)
def test_models_of_spark_are_compared_by_the_declared_metric(metric, test, monkeypatch):
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
    from pyspark.ml.feature import StringIndexer, VectorAssembler
    from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit

    from diurnal.backends.spark import spark_scores

    def pipeline(features, order):
        return Pipeline(
            stages=[
                StringIndexer(inputCol="ill", outputCol="number", stringOrderType=order, handleInvalid="skip"),
                VectorAssembler(inputCols=features, outputCol="features"),
                LogisticRegression(labelCol="number", maxIter=5),
            ]
        )

    rows, _ = frame_and_schema()
    twin = pipeline(["age", "pressure"], "alphabetAsc").fit(rows.frame)
    champion = pipeline(["age"], "alphabetDesc").fit(rows.frame)
    kind = BinaryClassificationEvaluator if metric == "areaUnderROC" else MulticlassClassificationEvaluator
    grid = ParamGridBuilder().build()
    made = TrainValidationSplit(
        estimator=pipeline(["age"], "alphabetAsc"),
        estimatorParamMaps=grid,
        evaluator=kind(labelCol="number", metricName=metric),
    )
    backend = get_backend(made)
    found = backend.compare(made, twin, champion, rows)
    scores = [next(iter(backend.score(made, model, rows).values())) for model in (twin, champion)]
    assert found.test == test
    assert found.difference == pytest.approx(scores[0] - scores[1], abs=1e-6)
    monkeypatch.setattr(spark_scores, "MAX_COMPARED", 50)
    monkeypatch.setattr(spark_scores, "MAX_RESAMPLED", 50)
    bounded = backend.compare(made, twin, champion, rows)
    assert bounded.test == (test if metric == "accuracy" else f"{test} of a sample of 50 rows")


def test_newest_row_of_a_key_is_learnt_and_known_ones_are_not_compared(opened, tmp_path, warehouse_url):
    project = made(tmp_path, warehouse_url, declared="key='patient', drop='ward', window=2")
    first = project.bring("2026-11-01")
    later = patients("2026-11-02")
    later.loc[:9, "patient"] = first["patient"].head(10).to_numpy()
    project.bring("2026-11-02", later)
    stores = opened(project)
    fetched(project, stores, "2026-11-01")
    the_day = RunContext(project.experiment(), day("2026-11-02"), stores, requested_by="test")
    batch = fetch(the_day)
    backend, packages = get_backend(the_day.experiment.build()), [package for _, package in batch.window]
    data = backend.read_training_data(reader_of(the_day), packages)
    assert data.n_rows == 470
    ages = {row["patient"]: row["age"] for row in data.frame.select("patient", "age").collect()}
    assert [ages[one] for one in first["patient"].head(10)] == later["age"].head(10).to_list()
    fresh = backend.read_unseen_data(reader_of(the_day), packages[1], packages[:1])
    assert fresh.n_rows == 230


def test_contract_changes_are_accepted_and_read_through_as_on_one_machine(opened, tmp_path, warehouse_url, another_url):
    from diurnal.pipeline import contract_acceptance

    frames, digests, counts = {}, {}, {}
    for kind, url in (("spark", warehouse_url), ("sklearn", another_url)):
        project = Project.make(tmp_path / kind, url)
        (project.folder / "diurnal.toml").write_text('[diurnal]\nspark = "local[2]"\n')
        declare(project, parquet(project), "drop=('patient', 'ward'), duplicates='drop', window='all'",
                **({} if kind == "spark" else {"text": SKLEARN}))  # fmt: skip
        first, later = patients("2026-11-01"), patients("2026-11-02")
        first["age"] = first["age"].round().astype("int64")
        bring_parquet(project, "2026-11-01", first)
        stores = opened(project)
        fetched(project, stores, "2026-11-01")
        bring_parquet(project, "2026-11-02", later.rename(columns={"pressure": "mm"}).assign(weight=1.5))
        the_day = RunContext(project.experiment(), day("2026-11-02"), stores, requested_by="test")
        with pytest.raises(BatchRejectedError, match="diurnal contract clinic accept"):
            fetch(the_day)
        found = contract_acceptance.accept_changes(the_day, {"pressure": "mm"}, "a test")
        assert [change.change for change in found.changes] == ["renamed-column", "new-column", "wider-kind"]
        batch, samples = fetched(project, stores, "2026-11-02")
        digests[kind] = [package.digest for package in (batch.package, *samples.train, *samples.test)]
        backend = get_backend(the_day.experiment.build())
        data = backend.read_training_data(reader_of(the_day), samples.train)
        if kind == "spark":
            rows = data.frame.select("age", "mm", "weight").toArrow().to_pandas()
        else:
            rows = data.X[["age", "mm", "weight"]]
        frames[kind] = rows.sort_values(["mm", "age"]).reset_index(drop=True)
        bring_parquet(
            project, "2026-11-03", later.drop(columns="pressure").assign(weight=1.5)
        )  # the same, less a feature
        the_day = RunContext(project.experiment(), day("2026-11-03"), stores, requested_by="test")
        contract_acceptance.accept_changes(the_day, {}, "a test")
        batch, samples = fetched(project, stores, "2026-11-03")
        learnt = [package for _, package in batch.window[:2]]
        data = backend.read_training_data(reader_of(the_day), samples.train, without=samples.test)
        fresh = backend.read_unseen_data(reader_of(the_day), samples.test[-1], learnt)
        counts[kind] = [data.n_rows, fresh.n_rows]
        assert fresh.n_rows < 20, "rows that came again without a feature are known by the others"
    assert digests["spark"] == digests["sklearn"]
    assert counts["spark"] == counts["sklearn"]
    pd.testing.assert_frame_equal(frames["spark"], frames["sklearn"])


def test_spark_champion_is_given_renamed_columns(opened, tmp_path, warehouse_url):
    from diurnal.pipeline import contract_acceptance

    project = made(tmp_path, warehouse_url)
    project.bring("2026-11-01")
    stores = opened(project)
    run(RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test"))
    project.bring("2026-11-02", patients("2026-11-02").rename(columns={"pressure": "mm"}))
    text = (project.folder / "experiments" / "clinic.py").read_text()
    (project.folder / "experiments" / "clinic.py").write_text(text.replace('"pressure"', '"mm"'))
    the_day = RunContext(project.experiment(), day("2026-11-02"), stores, requested_by="test")
    contract_acceptance.accept_changes(the_day, {"pressure": "mm"}, "a test")
    second = run(the_day)
    assert second.run["comparison"]["n_compared"] == second.run["n_test"]


def test_challenger_of_spark_is_bet_on(opened, tmp_path, warehouse_url):
    project = made(tmp_path, warehouse_url, declared="key='patient', drop='ward', promotion='proven'")
    stores = opened(project)
    for date in ("2026-11-01", "2026-11-02", "2026-11-03"):
        project.bring(date)
        done = run(RunContext(project.experiment(), day(date), stores, requested_by="test"))
    (bet,) = stores.warehouse.bets("clinic")
    match = done.run["challenge"]["match"]
    assert (bet["challenger"], bet["champion"], match["test"]) == (2, 1, "exact McNemar")
    assert bet["payoff"] == match["p_worse"] - match["p_better"]
    assert match["n_compared"] == done.run["n_test"]


def test_no_group_is_on_both_sides_of_a_fold_or_known_to_the_champion(opened, tmp_path, warehouse_url):
    project = made(tmp_path, warehouse_url, declared="key='patient', groups='ward'")
    for date, n in (("2026-11-01", 12), ("2026-11-02", 20)):
        rows = patients(date)
        project.bring(date, rows.assign(ward=[f"w{i % n}" for i in range(len(rows))]))
    stores = opened(project)
    for date in ("2026-11-01", "2026-11-02"):
        _, samples = fetched(project, stores, date)
    wards = [set(stores.lake.read(packages[0])["ward"].to_pylist()) for packages in (samples.train, samples.test)]
    assert not wards[0] & wards[1]
    assert len(wards[0] | wards[1]) == 20
    the_day = RunContext(project.experiment(), day("2026-11-02"), stores, requested_by="test")
    from diurnal.backends.spark.cross_validation import make_folds

    made_now = the_day.experiment.build()
    backend = get_backend(made_now)
    data = backend.read_training_data(reader_of(the_day), samples.train)
    sides = [[{row["ward"] for row in side.select("ward").distinct().collect()} for side in pair]
             for pair in make_folds(made_now, data)]  # fmt: skip
    assert all(not train & held for train, held in sides)
    assert set.union(*(held for _, held in sides)) == wards[0]
    known = {f"w{i}" for i in range(12)}
    first = stores.warehouse.window("clinic", day("2026-11-01"))[0][1]
    fresh = backend.read_unseen_data(reader_of(the_day), samples.test[0], [first])
    assert {row["ward"] for row in fresh.frame.select("ward").collect()} == wards[1] - known


def test_newest_interval_is_the_test_and_its_samples_are_in_no_fit(opened, tmp_path, warehouse_url):
    project = made(tmp_path, warehouse_url, declared="key='patient', drop='ward', split='time', window=2")
    first = project.bring("2026-11-01")
    project.bring("2026-11-02", pd.concat([patients("2026-11-02"), first.head(40).assign(age=33.0)]))
    stores = opened(project)
    with pytest.raises(NotEnoughDataError, match="no earlier one has another batch"):
        project.run("2026-11-01", stores)
    row = project.run("2026-11-02", stores).run
    assert (row["n_train"], row["n_test"]) == (200, 280)


def test_groups_weights_and_order_are_checked(tmp_path):
    from pyspark.ml.classification import LinearSVC, LogisticRegression, MultilayerPerceptronClassifier

    search = search_of(made(tmp_path, "unused"))
    backend = get_backend(search)
    assert backend.check_metadata(search, Metadata(groups="ward")) == []
    with pytest.raises(ExperimentError, match="order_by='at' is not supported on Spark"):
        backend.check_metadata(search, Metadata(order_by="at"))
    with pytest.raises(ExperimentError, match="LogisticRegression does not read it") as caught:
        backend.check_metadata(search, Metadata(sample_weight="w"))
    assert caught.value.hint == 'write LogisticRegression(..., weightCol="w")'
    with pytest.raises(ExperimentError, match="MultilayerPerceptronClassifier does not read it"):
        backend.check_metadata(MultilayerPerceptronClassifier(), Metadata(sample_weight="w"))
    said = backend.check_metadata(LogisticRegression(weightCol="w"), Metadata(sample_weight="w"))
    assert said == ['MulticlassClassificationEvaluator counts each row once: weightCol="w" is not set']
    weighted = search.copy().setEstimator(LinearSVC(weightCol="w"))
    weighted.setEvaluator(search.getEvaluator().copy().setWeightCol("w"))
    assert backend.check_metadata(weighted, Metadata(sample_weight="w")) == []


def test_damaged_package_is_refused(opened, tmp_path, warehouse_url):
    project = made(tmp_path, warehouse_url)
    project.bring("2026-11-01", patients("2026-11-01", 3000))
    stores = opened(project)
    batch, _ = fetched(project, stores, "2026-11-01")
    path = Path(stores.lake.root) / batch.package.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    stores = opened(project)  # one process holds a file against its digest once
    digest = hashlib.sha256(data).hexdigest()
    the_day = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test")
    backend = get_backend(the_day.experiment.build())
    with pytest.raises(CorruptPackageError):  # by its digest
        backend.read_training_data(reader_of(the_day), [batch.package])
    rows = backend.read_training_data(reader_of(the_day), [Package(batch.package.path, digest, 3000)])
    with pytest.raises(CorruptPackageError):  # by the checksum of a page
        backend.score(the_day.experiment.build(), backend.tune(the_day.experiment.build(), rows).twin, rows)


def test_model_file_is_refused_before_spark_sees_it(tmp_path):
    from diurnal.storage.models.spark.spark_format import _MAX_NAME_LENGTH, _NAMES, FORMAT
    from diurnal.storage.models.zip_archive import read_archive, write_archive

    rows, _ = frame_and_schema(60)
    model = search_of(made(tmp_path, "unused")).getEstimator().fit(rows.frame)
    data, _ = FORMAT.dump_and_reload(model)
    files = read_archive(data, _NAMES, max_name_length=_MAX_NAME_LENGTH)
    path = min(files, key=len)
    document = json.loads(files[path])
    for strange in ("org.apache.spark.ml.feature.SQLTransformer", "java.lang.Runtime", "os.system"):
        changed = {**files, path: json.dumps({**document, "class": strange}).encode()}
        with pytest.raises(InvalidModelError, match="types that are not allowed"):
            FORMAT.loads(write_archive(changed))
    with pytest.raises(InvalidModelError, match="a name that no member of a model has"):
        FORMAT.loads(write_archive({**files, "../part-00000.txt": b"{}"}))
    with pytest.raises(InvalidModelError):
        FORMAT.loads(data[:-7])


def test_what_cannot_be_is_said_when_it_is_checked(tmp_path):
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression, RandomForestClassifier
    from pyspark.ml.feature import SQLTransformer, VectorAssembler

    search = search_of(made(tmp_path, "unused"))
    backend = get_backend(search)
    code = Codebase.around(str(tmp_path / "experiments" / "clinic.py"))
    backend.validate(search, (), code)
    stranger = LogisticRegression()
    with pytest.raises(ExperimentError, match="not in the Pipeline"):
        backend.validate(search.copy().setEstimatorParamMaps([{stranger.regParam: 1.0}]), (), code)
    told = Pipeline(stages=[SQLTransformer(statement="SELECT * FROM __THIS__"), LogisticRegression()])
    with pytest.raises(InvalidModelError, match="SQLTransformer"):
        backend.validate(told, (), code)
    backend.validate(told, ("pyspark.ml.feature.SQLTransformer",), code)
    assert backend.unseeded_warnings(RandomForestClassifier()) == [
        "seed is not set in RandomForestClassifier: its numbers change from run to run"
    ]
    with pytest.raises(ExperimentError, match="no stage that predicts"):
        backend.task(VectorAssembler())


def test_session_of_no_settings_is_quiet_and_adds_by_javas_own_algebra():
    code = "from diurnal.runtime import spark\njvm = spark.get_session()._jvm\n"
    code += "try:\n    print(jvm.dev.ludovic.netlib.blas.InstanceBuilder.nativeBlas())\n"
    code += "except Exception as error:\n    print(error)\n"
    code += "print(jvm.java.lang.System.getProperty('dev.ludovic.netlib.blas.allowNative'))\n"
    environment = {name: value for name, value in os.environ.items() if name != "SPARK_CONF_DIR"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "Unable to load native implementation" in said.stdout, "whether or not the machine has one"
    assert said.stdout.splitlines()[-1] == "false"
    javas = "WARNING: Using incubator modules: jdk.incubator.vector"  # it says so before it reads any word of ours
    assert [line for line in said.stderr.splitlines() if line != javas] == []


def test_environment_without_java_says_what_to_install(tmp_path):
    code = "from diurnal.runtime import spark\nfrom diurnal.errors import ConfigurationError\n"
    code += "try:\n    spark.get_session()\nexcept ConfigurationError as error:\n    print(error)\n"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "JAVA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "needs Java 17 or newer" in said.stdout


def test_environment_without_pyspark_says_what_to_install():
    def build():
        raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark")

    with pytest.raises(ConfigurationError) as error:
        spark.retry_with_session(build)
    assert "diurnal[spark]" in str(error.value)


@pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool")
def test_tutorials_pipeline_scores_on_spark_as_on_scikit_learn(opened, tmp_path, warehouse_url, another_url):
    examples = Path(__file__).parents[2] / "examples" / "breast_cancer" / "experiments"
    ended, samples = {}, {}
    for library, url in (("breast_cancer", warehouse_url), ("breast_cancer_spark", another_url)):
        project = Project.make(tmp_path / library, url)
        # under one name, as the role of a row depends on it
        text = (examples / f"{library}.py").read_text().replace("def breast_cancer_spark(", "def breast_cancer(")
        (project.folder / "experiments" / "breast_cancer.py").write_text(text)
        stores = opened(project)
        experiment = find("breast_cancer", project.folder / "experiments")
        the_day = RunContext(experiment, day("2026-11-01"), stores, requested_by="test")
        batch = fetch(the_day)
        samples[library] = split(the_day, batch)
        found = tune(the_day, samples[library])
        ended[library] = evaluate(the_day, samples[library], found)
    mine, theirs = samples.values()
    assert (mine.train, mine.test) == (theirs.train, theirs.test)
    mine, theirs = ended.values()
    assert mine.test_score == pytest.approx(theirs.test_score, abs=0.01)


def test_master_that_is_not_there_is_worth_another_try(session):
    spark.configure_session("spark://127.0.0.1:9", session)
    try:
        with pytest.raises(TransientError, match=r"spark://127\.0\.0\.1:9"):
            spark.get_session()
    finally:
        spark.configure_session("local[2]", session)
