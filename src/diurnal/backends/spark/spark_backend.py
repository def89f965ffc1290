"""Spark behind the protocol of :mod:`diurnal.backends`: the rows of a handle stay with the executors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.ml.tuning import CrossValidator
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from diurnal.backends.protocol import Progress, TuningResult
from diurnal.backends.spark import (
    cross_validation,
    estimators,
    lake_frames,
    source_frames,
    spark_descriptions,
    spark_ingest,
    spark_scores,
    stored_predictions,
)
from diurnal.backends.spark.job_errors import translate_job_errors
from diurnal.backends.spark.lake_frames import SparkData
from diurnal.errors import BatchRejectedError, ExperimentError, Problem
from diurnal.storage import models
from diurnal.storage.models.spark import predict_rows

if TYPE_CHECKING:
    from diurnal.backends.sample_reader import SampleReader
    from diurnal.data import Metadata, Schema
    from diurnal.runtime.project_files import Codebase
    from diurnal.search.kept_folds import FoldStore
    from diurnal.types import Package

N_GOLDEN = 5
WHOLE = {"start": 0, "stop": 0, "n_candidates": 0, "n_splits": 0}


class SparkBackend:
    """Tunes, fits, predicts and scores on the Spark of the deployment."""

    is_distributed = True
    task = staticmethod(estimators.detect_task)
    trial_searches = staticmethod(cross_validation.trial_searches)
    is_search = staticmethod(estimators.is_search)
    score_name = staticmethod(estimators.main_score_name)
    reads_source = staticmethod(source_frames.reads_source)
    ingest = staticmethod(spark_ingest.ingest_on_executors)
    stream_source = staticmethod(spark_ingest.stream_source)
    score = staticmethod(spark_scores.evaluate_model)
    compare = staticmethod(spark_scores.compare_models)
    describe_evaluation = staticmethod(spark_descriptions.describe_evaluation)

    def unseeded_warnings(self, estimator: Any) -> list[str]:
        """Warn of stages without a seed."""
        return [
            f"seed is not set in {name}: its numbers change from run to run"
            for name in estimators.unseeded_stages(estimator)
        ]

    def validate(self, estimator: Any, trusted: Collection[str], code: Codebase) -> None:
        """Reject a grid for stages that are not there, and stages that a model of it could not be loaded with."""
        estimators.last_predictor(estimator)
        estimators.check_grid_parameters(estimator)
        models.get_format("spark.zip").check_types(estimators.inner_estimator(estimator), trusted, code)

    def check_source(self, source: Any) -> None:
        """Accept any source: Spark reads it, or its rows stream through this process."""

    def check_metadata(self, estimator: Any, metadata: Metadata) -> list[str]:
        """Reject an order of rows, and weights that the estimator does not read; warn of scores without weights."""
        return estimators.check_metadata(estimator, metadata)

    def read_training_data(
        self,
        reader: SampleReader,
        packages: Sequence[Package],
        *,
        fraction: float = 1.0,
        without: Sequence[Package] = (),
    ) -> SparkData:
        """Return packages as a frame whose rows stay with the executors."""
        lake, name = reader.context.stores.lake, reader.context.experiment.name
        return lake_frames.read_samples(lake, packages, reader.schema, name, fraction, without)

    def read_evaluation_data(self, reader: SampleReader, packages: Sequence[Package]) -> SparkData:
        """Return packages as a frame, as for training."""
        return self.read_training_data(reader, packages)

    def read_unseen_data(self, reader: SampleReader, package: Package, learnt: Sequence[Package]) -> SparkData:
        """Return the rows of a package whose samples are in none of the others."""
        return lake_frames.read_unseen_samples(reader.context.stores.lake, package, learnt, reader.schema)

    def size_problem(self, estimator: Any, data: SparkData) -> str | None:  # noqa: ARG002 - Spark's folds may lack a class
        """Return what samples lack to be learnt from at all: a second value of the target."""
        target = lake_frames.quote_column(data.schema.target)
        with translate_job_errors("the reading"):
            if data.frame.select(target).distinct().limit(2).count() > 1:
                return None
        return f"all {data.n_rows} train samples of the window have one value of the target"

    def rare_class_problem(self, estimator: Any, data: SparkData) -> str | None:
        """Return which classes have fewer samples than there are folds."""
        n = int(estimator.getNumFolds()) if isinstance(estimator, CrossValidator) else 1
        target = lake_frames.quote_column(data.schema.target)
        with translate_job_errors("the reading"):
            counted = data.frame.groupBy(target).count().filter(F.col("count") < n).limit(20).collect()
        listed = ", ".join(sorted(f"{row[0]!r} has {row[1]}" for row in counted))
        return f"a class has fewer train samples in the window than there are folds ({n}): {listed}" if listed else None

    def split_search(self, estimator: Any, data: SparkData, n: int) -> list[dict[str, int]]:  # noqa: ARG002
        """Leave the search whole: its fits are spread over the cluster already."""
        return [dict(WHOLE)]

    def score_shard(
        self,
        estimator: Any,  # noqa: ARG002
        data: SparkData,  # noqa: ARG002
        shard: Mapping[str, int],  # noqa: ARG002
    ) -> tuple[pa.Table, tuple[str, ...]]:
        """Make no fit: there is one shard without any, and `tune` makes them all."""
        return pa.table({"call": np.zeros(0, dtype=np.int64)}), ()

    def tune(
        self,
        estimator: Any,
        data: SparkData,
        *,
        progress: Progress | None = None,
        parts: Sequence[Mapping[str, np.ndarray]] | None = None,  # noqa: ARG002 - see `split_search`
        fold_store: FoldStore | None = None,  # noqa: ARG002 - Spark repeats lost tasks itself
    ) -> TuningResult:
        """Search over the candidates, or fit what has nothing to tune."""
        return cross_validation.run_search(estimator, data, progress)

    def refit(self, estimator: Any, twin: Callable[[], Any], best_params: Mapping[str, Any], data: SparkData) -> Any:  # noqa: ARG002
        """Fit the best candidate on all rows."""
        best = cross_validation.find_candidate(estimator, best_params) if estimators.is_search(estimator) else {}
        with translate_job_errors("the fit"):
            return estimators.inner_estimator(estimator).fit(data.frame, best)

    def adapt_columns(self, model: Any, columns: Mapping[str, str], data: SparkData) -> Any:  # noqa: ARG002 - further ones do no harm
        """Change a model in place, so that it accepts rows with other names of its columns."""
        return lake_frames.rename_inputs(model, {name: now for name, now in columns.items() if name != now})

    def signature(self, model: Any, data: SparkData, schema: Schema) -> dict[str, Any]:
        """Describe what a fitted model takes and gives."""
        from diurnal.backends.sklearn.sklearn_frames import to_features

        columns = [column for column in schema.to_dict()["columns"] if column["name"] in schema.features]
        X = to_features(lake_frames.first_complete_rows(data, N_GOLDEN), list(schema.features))
        with translate_job_errors("the golden rows"):
            return models.make_signature(model, X, target=schema.target, schema_columns=columns)

    def predict(self, model: Any, rows: pa.Table, signature: Mapping[str, Any]) -> dict[str, Any]:
        """Predict rows that are here; a row that the model refuses is the batch's fault."""
        with _rejected_rows(), translate_job_errors("the prediction"):
            given = predict_rows(model, rows, signature["target"])
        columns: dict[str, Any] = {"prediction": given.predictions}
        if given.probabilities is not None and given.classes is not None:
            for label, column in zip(given.classes, given.probabilities.T, strict=True):
                columns[f"probability_{label}"] = column
        return columns

    def predict_package(
        self,
        reader: SampleReader,
        package: Package,
        model: Any,
        features: Sequence[str],
        signature: Mapping[str, Any],
    ) -> Iterator[pa.RecordBatch]:
        """Predict a package on the executors; keys and predictions come here."""
        with _rejected_rows():
            yield from stored_predictions.predict_package(reader, package, model, features, signature)


@contextmanager
def _rejected_rows() -> Iterator[None]:
    """Reject a batch that has a row which the model cannot predict."""
    try:
        yield
    except ExperimentError as error:
        raise BatchRejectedError([Problem("not-predictable", error.message)], hint=error.hint) from error


BACKEND = SparkBackend()
