"""Evaluation data of Spark's models: counts of executors, against scikit-learn's functions on the collected answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import metrics

from diurnal.backends.spark import spark_descriptions
from diurnal.backends.spark.lake_frames import SparkData
from diurnal.data import Column, Metadata, Schema
from diurnal.runtime import spark
from spark_projects import conf_dir, needs_spark

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.system, needs_spark]

N = 3_000
rng = np.random.default_rng(0)
a, b = rng.normal(size=(2, N))
ward = rng.choice(["north", "south", "tiny"], N, p=[0.6, 0.398, 0.002])
lean = a - 0.5 * b + rng.normal(0, 0.8, N)
ROWS = pd.DataFrame({"a": a, "b": b, "ward": ward, "w": rng.integers(1, 4, N).astype(float)})


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    spark.configure_session("local[2]", str(conf_dir(tmp_path_factory.mktemp("conf"))))
    spark.get_session()
    yield
    spark.stop_session()
    spark.configure_session("local[*]")


def data_of(target, *, kind: str, weights: bool = False) -> SparkData:
    columns = (
        Column("a", "float"),
        Column("b", "float"),
        Column("ward", "text"),
        Column("w", "float"),
        Column("y", kind),
    )
    metadata = Metadata(sample_weight="w") if weights else Metadata()
    task = "regression" if kind == "float" else "classification"
    schema = Schema(columns=columns, target="y", task=task, drop=() if weights else ("w",), metadata=metadata)
    with spark.ignore_pandas_warning():
        frame = spark.get_session().createDataFrame(pa.Table.from_pandas(ROWS.assign(y=target)))
    return SparkData(frame, schema, N)


def pipeline(last, *, indexed: bool):
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import StringIndexer, VectorAssembler

    first = [StringIndexer(inputCol="y", outputCol="truth", stringOrderType="alphabetAsc")] if indexed else []
    return Pipeline(stages=[*first, VectorAssembler(inputCols=["a", "b"], outputCol="features"), last])


def answers_of(model, data) -> pd.DataFrame:
    """All answers in this process: the oracle."""
    from pyspark.ml.functions import vector_to_array

    given = model.transform(data.frame)
    if "probability" in given.columns:
        given = given.withColumn("p", vector_to_array("probability"))
    with spark.ignore_pandas_warning():
        columns = ["y", "w", "ward", "prediction", *(["p"] if "p" in given.columns else [])]
        return given.select(*columns).toArrow().to_pandas()


def describe(estimator, models, data, *, seconds=0.0):
    found = spark_descriptions.describe_evaluation(estimator, models, data, seconds=seconds)
    json.dumps([found.models, found.notes], allow_nan=False)
    assert found.problems == []
    return found


def test_two_classes_have_the_curves_of_all_rows():
    from pyspark.ml.classification import LogisticRegression

    data = data_of(np.where(lean > 0, "yes", "no"), kind="text", weights=True)
    estimator = pipeline(LogisticRegression(labelCol="truth", weightCol="w"), indexed=True)
    twin = estimator.fit(data.frame)
    champion = pipeline(LogisticRegression(labelCol="truth", maxIter=1), indexed=True).fit(data.frame.limit(300))
    found = describe(estimator, {"twin": twin, "champion": champion}, data, seconds=1.0)
    assert found.notes == ["no importances: they are not computed on Spark"]
    for name, model in (("twin", twin), ("champion", champion)):
        given, described = answers_of(model, data), found.models[name]
        y, p, w = given["y"] == "yes", np.stack(given["p"])[:, 1], given["w"]
        assert list(described["curves"]) == ["yes"]
        curves = described["curves"]["yes"]
        assert curves["auc"] == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w), abs=2e-3)
        own = metrics.average_precision_score(y, p, sample_weight=w)
        assert curves["average_precision"] == pytest.approx(own, abs=2e-3)
        predicted = np.where(given["prediction"] == 1, "yes", "no")
        own = metrics.confusion_matrix(given["y"], predicted, sample_weight=w)
        np.testing.assert_allclose(described["confusion"], own)
        assert described["classes"] == ["no", "yes"]
        assert sum(curves["histogram"]["positive"]) == w[y].sum()
        slices = {one["category"]: one for one in described["slices"]}
        assert set(slices) == {"north", "south"}, "the third has too few rows"
        north = given["ward"] == "north"
        assert slices["north"]["n"] == north.sum()
        assert slices["north"]["score"] == pytest.approx((predicted == given["y"])[north].mean(), abs=1e-5)
    assert found.sample.column_names == ["true", "twin", "twin_probability", "champion", "champion_probability"]
    assert found.sample.num_rows == 2_000
    assert set(found.sample["twin"].to_pylist()) == {"no", "yes"}


def test_several_classes_of_numbers_have_curves_each():
    from pyspark.ml.classification import RandomForestClassifier

    target = np.digitize(lean, [-0.5, 0.5])
    data = data_of(target, kind="int")
    estimator = pipeline(RandomForestClassifier(labelCol="y", seed=0, numTrees=5), indexed=False)
    model = estimator.fit(data.frame)
    twin, given = describe(estimator, {"twin": model}, data).models["twin"], answers_of(model, data)
    p = np.stack(given["p"])
    assert twin["classes"] == list(twin["curves"]) == ["0", "1", "2"]
    for i, label in enumerate(twin["classes"]):
        assert twin["curves"][label]["auc"] == pytest.approx(metrics.roc_auc_score(given["y"] == i, p[:, i]), abs=2e-3)
    np.testing.assert_allclose(twin["confusion"], metrics.confusion_matrix(given["y"], given["prediction"]))


def test_raw_predictions_give_curves_without_calibration():
    from pyspark.ml.classification import LinearSVC

    data = data_of((lean > 0).astype(int), kind="int")
    estimator = pipeline(LinearSVC(labelCol="y", maxIter=5), indexed=False)
    found = describe(estimator, {"twin": estimator.fit(data.frame)}, data)
    curves = found.models["twin"]["curves"]["1"]
    assert curves["auc"] > 0.8
    assert "calibration" not in curves
    assert found.sample["twin_probability"].null_count == 2_000


def test_regression_is_counted_as_in_memory():
    from pyspark.ml.regression import LinearRegression

    data = data_of(lean, kind="float")
    estimator = pipeline(LinearRegression(labelCol="y"), indexed=False)
    model = estimator.fit(data.frame)
    twin, given = describe(estimator, {"twin": model}, data).models["twin"], answers_of(model, data)
    residuals = given["y"] - given["prediction"]
    assert twin["residuals"]["mean"] == pytest.approx(residuals.mean(), abs=1e-5)
    assert twin["residuals"]["std"] == pytest.approx(residuals.std(ddof=0), abs=1e-4)
    assert twin["residuals"]["q95"] == pytest.approx(residuals.quantile(0.95), abs=0.01)
    edges = np.array(twin["predicted_true"]["x_edges"])
    own = np.histogram2d(given["y"], given["prediction"], [edges, edges])[0]
    assert np.abs(own - twin["predicted_true"]["counts"]).sum() <= 0.01 * N, "edges are rounded"
    assert len(twin["prediction"]["values"]) == 512
    slices = {one["category"]: one["score"] for one in twin["slices"]}
    north = given["ward"] == "north"
    own = metrics.r2_score(given["y"][north], given["prediction"][north])
    assert slices["north"] == pytest.approx(own, abs=1e-5)


def test_a_score_that_is_no_mean_has_no_slices():
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.evaluation import BinaryClassificationEvaluator
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    data = data_of((lean > 0).astype(int), kind="int")
    inner = pipeline(LogisticRegression(labelCol="y"), indexed=False)
    judge = BinaryClassificationEvaluator(labelCol="y")
    search = CrossValidator(estimator=inner, estimatorParamMaps=ParamGridBuilder().build(), evaluator=judge)
    found = describe(search, {"twin": inner.fit(data.frame)}, data)
    assert found.notes == ["no scores of slices on Spark, as areaUnderROC is no mean over rows"]
    assert "slices" not in found.models["twin"]
