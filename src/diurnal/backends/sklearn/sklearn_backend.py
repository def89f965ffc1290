"""The backend of scikit-learn: training rows are in memory, evaluation rows are streamed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa

from diurnal.backends.evaluation_data import EvaluationData
from diurnal.backends.paired_tests import Paired
from diurnal.backends.protocol import Progress, Scores, Task, TuningResult
from diurnal.backends.sklearn import champion_test, evaluation_curves, scorers, tuning, unused_metadata
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.column_adapter import adapt_columns
from diurnal.backends.sklearn.fit_metadata import NO_METADATA, FitMetadata, MetadataCollector
from diurnal.backends.sklearn.joint_predictions import predict_jointly
from diurnal.backends.sklearn.matrices import to_matrices
from diurnal.backends.sklearn.parameter_grids import iter_grids, iter_values
from diurnal.backends.sklearn.random_state import find_unseeded
from diurnal.backends.sklearn.sklearn_frames import to_features
from diurnal.backends.sklearn.trial_candidates import trial_searches
from diurnal.data.merge import exclude_known_groups
from diurnal.errors import ExperimentError, did_you_mean
from diurnal.sources.spark_table import takes_session
from diurnal.storage import models

if TYPE_CHECKING:
    from diurnal.backends.sample_reader import SampleReader
    from diurnal.data import Contract, Metadata, Schema
    from diurnal.experiment.run_context import RunContext
    from diurnal.runtime.project_files import Codebase
    from diurnal.search.kept_folds import FoldStore
    from diurnal.types import Package

ROWS_AT_ONCE = 16_384  # of each package, in a stream


@dataclass(frozen=True)
class InMemoryData:
    """Training data in memory."""

    X: pd.DataFrame
    y: np.ndarray
    needs: FitMetadata = NO_METADATA

    @property
    def n_rows(self) -> int:
        """The number of samples."""
        return len(self.y)


class SklearnBackend:
    """Tunes, fits, predicts and scores in this process."""

    is_distributed = False
    task = staticmethod(scorers.detect_task)
    trial_searches = staticmethod(trial_searches)
    is_search = staticmethod(scorers.is_search)

    def score_name(self, estimator: Any) -> str:
        """Return the name of the main score."""
        return scorers.build_scorer(estimator)[0]

    def unseeded_warnings(self, estimator: Any) -> list[str]:
        """Return a warning for each part whose `random_state` is unset and matters."""
        return [
            f"random_state is not set in {place}: its numbers change from run to run"
            for place in find_unseeded(estimator)
        ]

    def validate(self, estimator: Any, trusted: Collection[str], code: Codebase) -> None:
        """Reject unknown parameters in a grid, which a search finds in its fit, and types that cannot be loaded."""
        grids = iter_grids(estimator) if scorers.is_search(estimator) else ()
        for name, grid in [(name, one) for one in grids for name in one]:
            known = estimator.estimator.get_params()
            if name not in known and not _is_of_a_candidate(name, grid):
                inner = type(estimator.estimator).__name__
                raise ExperimentError(
                    f"{inner} has no parameter {name!r} to tune{did_you_mean(name, known)}",
                    hint=f"its parameters are those of {inner}(...).get_params(); in a pipeline as step__parameter",
                )
        models.get_format("skops").check_types(_to_save(estimator), trusted, code)

    def check_metadata(self, estimator: Any, metadata: Metadata) -> list[str]:
        """Reject weights that reach no fit; warn about folds without groups and scores without weights."""
        groups, weighted = metadata.groups is not None, metadata.sample_weight is not None
        return unused_metadata.check_metadata_use(estimator, groups=groups, sample_weight=weighted)

    def check_source(self, source: Any) -> None:
        """Reject a function of a Spark session."""
        if takes_session(source):
            raise ExperimentError(
                "the source is a function of a Spark session, and the experiment does not return an estimator of "
                "pyspark.ml",
                hint="return an estimator of pyspark.ml, or let the source be a function of one DataInterval",
            )

    def reads_source(self, source: Any) -> bool:  # noqa: ARG002
        """Return False: the rows of all sources stream through this process."""
        return False

    def ingest(self, context: RunContext, contract: Contract | None, task: Task) -> NoReturn:
        """Raise: this backend reads no source."""
        raise NotImplementedError

    def stream_source(self, context: RunContext) -> NoReturn:
        """Raise: this backend reads no source."""
        raise NotImplementedError

    def read_training_data(
        self,
        reader: SampleReader,
        packages: Sequence[Package],
        *,
        fraction: float = 1.0,
        without: Sequence[Package] = (),
    ) -> InMemoryData:
        """Read packages into memory."""
        schema = reader.schema
        beside = MetadataCollector(schema)
        tables = beside.passing(reader.samples(packages, fraction=fraction, without=without))
        n_rows = sum(package.n_rows for package in packages)
        expected = n_rows if fraction == 1 else int(fraction * n_rows + 6 * (fraction * n_rows) ** 0.5)
        order = beside.order if beside.orders else None
        X, y = to_matrices(tables, list(schema.features), schema.target, expected=expected, order=order)
        return InMemoryData(X, y, beside.needs())

    def read_evaluation_data(self, reader: SampleReader, packages: Sequence[Package]) -> BatchedData:
        """Stream the rows of packages, a chunk at a time."""

        def tables(features: Sequence[str]) -> Iterator[pa.Table]:
            return reader.samples(packages, features=features)

        return _stream(tables, reader.schema)

    def read_unseen_data(self, reader: SampleReader, package: Package, learnt: Sequence[Package]) -> BatchedData:
        """Stream the rows of a package whose sample, or whose group, is in none of the others."""
        schema = reader.schema
        groups = schema.metadata.groups
        identity = schema.identity if groups is None else schema.key

        def read(one: Package, columns: Collection[str]) -> Iterator[Any]:
            names = [column.name for column in schema.all_columns if column.name in columns]
            yield from reader.rows(one, names, n_rows=ROWS_AT_ONCE)

        def tables(features: Sequence[str]) -> Iterator[pa.Table]:
            rows = read(package, {*features, *identity, schema.target, *schema.metadata.columns})
            if identity:
                rows = reader.exclude_known(rows, learnt, n_rows=ROWS_AT_ONCE)
            if groups is not None:
                rows = exclude_known_groups(rows, [read(one, [groups]) for one in learnt], reader.group_hasher())
            return (table.filter(table.column(schema.target).is_valid()) for table in rows)

        return _stream(tables, schema)

    def size_problem(self, estimator: Any, data: InMemoryData) -> str | None:
        """Return why samples are too few for any fit of scikit-learn."""
        return scorers.find_size_problem(estimator, data.y, data.needs)

    def rare_class_problem(self, estimator: Any, data: InMemoryData) -> str | None:
        """Return which classes have too few samples to be in every fold."""
        return scorers.find_rare_classes(estimator, data.y)

    def split_search(self, estimator: Any, data: InMemoryData, n: int) -> list[dict[str, int]]:
        """Split a search into at most n shards; fits that share a prefix stay together."""
        return tuning.split_into_shards(estimator, data.X, data.y, n, data.needs)

    def score_shard(
        self, estimator: Any, data: InMemoryData, shard: Mapping[str, int]
    ) -> tuple[pa.Table, tuple[str, ...]]:
        """Run the fits of one shard."""
        return tuning.score_search_shard(estimator, data.X, data.y, shard, data.needs)

    def tune(
        self,
        estimator: Any,
        data: InMemoryData,
        *,
        progress: Progress | None = None,
        parts: Sequence[Mapping[str, np.ndarray]] | None = None,
        fold_store: FoldStore | None = None,
    ) -> TuningResult:
        """Search over the candidates, or fit an estimator that has nothing to tune."""
        return tuning.tune_estimator(
            estimator, data.X, data.y, needs=data.needs, progress=progress, parts=parts, fold_store=fold_store
        )

    def refit(
        self,
        estimator: Any,  # noqa: ARG002 - the twin has its parameters as objects, `best_params` as texts
        twin: Callable[[], Any],
        best_params: Mapping[str, Any],  # noqa: ARG002
        data: InMemoryData,
    ) -> Any:
        """Fit a clone of the twin."""
        return tuning.refit_estimator(twin(), data.X, data.y, data.needs)

    def score(self, estimator: Any, model: Any, data: BatchedData) -> Scores:
        """Return all scores of a fitted estimator."""
        return data.scores(scorers.build_scorer(estimator)[1], model)

    def compare(self, estimator: Any, twin: Any, champion: Any, data: BatchedData) -> Paired:
        """Compare two estimators by the declared score."""
        return champion_test.compare_models(estimator, twin, champion, data)

    def describe_evaluation(
        self, estimator: Any, models: Mapping[str, Any], data: BatchedData, *, seconds: float
    ) -> EvaluationData:
        """Describe fitted estimators on the same samples, by their cached predictions."""
        return evaluation_curves.describe_evaluation(estimator, models, data, seconds=seconds)

    def adapt_columns(self, model: Any, columns: Mapping[str, str], data: BatchedData) -> Any:
        """Return a model that accepts rows with other names of its columns, and with further columns."""
        return model if data.features == list(columns) else adapt_columns(model, columns)

    def signature(self, model: Any, data: InMemoryData, schema: Schema) -> dict[str, Any]:
        """Describe the inputs and outputs of a fitted estimator."""
        columns = [column for column in schema.to_dict()["columns"] if column["name"] in schema.features]
        return models.make_signature(model, data.X, target=schema.target, schema_columns=columns)

    def predict(self, model: Any, rows: pa.Table, signature: Mapping[str, Any]) -> dict[str, Any]:
        """Return the predictions for a table of rows."""
        X = to_features(rows, [column["name"] for column in signature["columns"]])
        classes = signature.get("classes")
        if not classes or not hasattr(model, "predict_proba"):
            return {"prediction": model.predict(X)}
        labels, probabilities = predict_jointly(model, X)
        named = zip(classes, probabilities.T, strict=True)
        return {"prediction": labels, **{f"probability_{label}": column for label, column in named}}

    def predict_package(
        self,
        reader: SampleReader,
        package: Package,
        model: Any,
        features: Sequence[str],
        signature: Mapping[str, Any],
    ) -> NoReturn:
        """Raise: rows are predicted in this process."""
        raise NotImplementedError


BACKEND = SklearnBackend()


def _stream(tables: Callable[[Sequence[str]], Iterator[pa.Table]], schema: Schema) -> BatchedData:
    beside = (lambda: MetadataCollector(schema)) if schema.metadata else None
    return BatchedData(tables, schema.features, schema.target, beside=beside)


def _to_save(estimator: Any) -> list[Any]:
    """Return what a model may contain: the tuned estimator, and estimators and functions of the candidates."""
    if not scorers.is_search(estimator):
        return [estimator]
    values = (value for _, value in iter_values(estimator))
    return [estimator.estimator, *(value for value in values if hasattr(value, "get_params") or callable(value))]


def _is_of_a_candidate(name: str, grid: Mapping[str, Any]) -> bool:
    """Return whether it may belong to an estimator that the same grid sets, as ``a__C`` beside ``a``."""
    parts = name.split("__")
    return any("__".join(parts[:n]) in grid for n in range(1, len(parts)))
