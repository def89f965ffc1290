"""scikit-learn behind the protocol of :mod:`diurnal.backends`: rows that are learnt are in memory, others pass by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa

from diurnal.backends.paired_tests import Paired
from diurnal.backends.protocol import Progress, Scores, Task, TuningResult
from diurnal.backends.sklearn import champion_test, scorers, tuning, unused_metadata
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.column_adapter import taking
from diurnal.backends.sklearn.fit_metadata import NOTHING, Beside, Needs
from diurnal.backends.sklearn.matrices import filled
from diurnal.backends.sklearn.random_state import unseeded
from diurnal.backends.sklearn.sklearn_frames import matrix
from diurnal.backends.sklearn.trial_candidates import trials
from diurnal.data.merge import exclude_known_groups
from diurnal.errors import ExperimentError, did_you_mean
from diurnal.sources.spark_table import takes_session
from diurnal.storage import models

if TYPE_CHECKING:
    from diurnal.backends.sample_reader import SampleReader
    from diurnal.data import Contract, Metadata, Schema
    from diurnal.experiment.run_context import RunContext
    from diurnal.runtime.project_files import Codebase
    from diurnal.types import Package

ROWS_AT_ONCE = 16_384  # of each package, while rows pass by


@dataclass(frozen=True)
class InMemoryData:
    """Samples in memory, to learn from."""

    X: pd.DataFrame
    y: np.ndarray
    needs: Needs = NOTHING

    @property
    def n_rows(self) -> int:
        """How many."""
        return len(self.y)


class SklearnBackend:
    """Tunes, fits and scores in this process."""

    is_distributed = False
    task = staticmethod(scorers.task)
    trial_searches = staticmethod(trials)
    is_search = staticmethod(scorers.is_search)

    def score_name(self, made: Any) -> str:
        """Give the name of the main score."""
        return scorers.scorer(made)[0]

    def unseeded_warnings(self, made: Any) -> list[str]:
        """Warn of each place where `random_state` is unset and matters."""
        return [f"random_state is not set in {place}: its numbers change from run to run" for place in unseeded(made)]

    def validate(self, made: Any, trusted: Collection[str], code: Codebase) -> None:
        """Refuse parameters that are not there, which the search would only see in its fit, and strange types."""
        for name, grid in _tuned_parameters(made) if scorers.is_search(made) else ():
            known = made.estimator.get_params()
            if name not in known and not _is_of_a_candidate(name, grid):
                inner = type(made.estimator).__name__
                raise ExperimentError(
                    f"{inner} has no parameter {name!r} to tune{did_you_mean(name, known)}",
                    hint=f"it takes those of {inner}(...).get_params(); in a pipeline as step__parameter",
                )
        models.get_format("skops").check_types(_to_save(made), trusted, code)

    def check_metadata(self, made: Any, metadata: Metadata) -> list[str]:
        """Refuse weights that reach no fit; warn of folds without groups and scores without weights."""
        groups, weighted = metadata.groups is not None, metadata.sample_weight is not None
        return unused_metadata.check(made, groups=groups, sample_weight=weighted)

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
        beside = Beside(schema)
        tables = beside.passing(reader.samples(packages, fraction=fraction, without=without))
        n_rows = sum(package.n_rows for package in packages)
        expected = n_rows if fraction == 1 else int(fraction * n_rows + 6 * (fraction * n_rows) ** 0.5)
        order = beside.order if beside.orders else None
        X, y = filled(tables, list(schema.features), schema.target, expected=expected, order=order)
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

    def size_problem(self, made: Any, data: InMemoryData) -> str | None:
        """Say what samples lack to be learnt from at all, as scikit-learn has it."""
        return scorers.too_small(made, data.y, data.needs)

    def rare_class_problem(self, made: Any, data: InMemoryData) -> str | None:
        """Say which classes have too few samples to be in every fold."""
        return scorers.scarce(made, data.y)

    def split_search(self, made: Any, data: InMemoryData, n: int) -> list[dict[str, int]]:
        """Cut a search into at most n shards; those that share a prefix stay together."""
        return tuning.shards(made, data.X, data.y, n, data.needs)

    def score_shard(self, made: Any, data: InMemoryData, shard: Mapping[str, int]) -> tuple[pa.Table, tuple[str, ...]]:
        """Make the fits of one shard."""
        return tuning.score_shard(made, data.X, data.y, shard, data.needs)

    def tune(
        self,
        made: Any,
        data: InMemoryData,
        *,
        progress: Progress | None = None,
        parts: Sequence[Mapping[str, np.ndarray]] | None = None,
    ) -> TuningResult:
        """Search over the candidates, or fit what has nothing to tune."""
        return tuning.tune(made, data.X, data.y, needs=data.needs, progress=progress, parts=parts)

    def refit(
        self,
        made: Any,  # noqa: ARG002 - the twin knows its parameters as objects, where `best_params` has texts
        twin: Callable[[], Any],
        best_params: Mapping[str, Any],  # noqa: ARG002
        data: InMemoryData,
    ) -> Any:
        """Fit a clone of the twin."""
        return tuning.refit(twin(), data.X, data.y, data.needs)

    def score(self, made: Any, model: Any, data: BatchedData) -> Scores:
        """Give all scores of a fitted estimator."""
        return data.scores(scorers.scorer(made)[1], model)

    def compare(self, made: Any, twin: Any, champion: Any, data: BatchedData) -> Paired:
        """Compare two estimators by the declared score."""
        return champion_test.compare(made, twin, champion, data)

    def adapt_columns(self, model: Any, columns: Mapping[str, str], data: BatchedData) -> Any:
        """Let a model take rows that have its columns under other names, among further ones."""
        return model if data.features == list(columns) else taking(model, columns)

    def signature(self, model: Any, data: InMemoryData, schema: Schema) -> dict[str, Any]:
        """Describe what a fitted estimator takes and gives."""
        columns = [column for column in schema.to_dict()["columns"] if column["name"] in schema.features]
        return models.make_signature(model, data.X, target=schema.target, schema_columns=columns)

    def predict(self, model: Any, rows: pa.Table, signature: Mapping[str, Any]) -> dict[str, Any]:
        """Predict rows that are here."""
        X = matrix(rows, [column["name"] for column in signature["columns"]])
        classes, columns = signature.get("classes"), {"prediction": model.predict(X)}
        if classes and hasattr(model, "predict_proba"):
            for label, column in zip(classes, model.predict_proba(X).T, strict=True):
                columns[f"probability_{label}"] = column
        return columns


BACKEND = SklearnBackend()


def _stream(tables: Callable[[Sequence[str]], Iterator[pa.Table]], schema: Schema) -> BatchedData:
    beside = (lambda: Beside(schema)) if schema.metadata else None
    return BatchedData(tables, schema.features, schema.target, beside=beside)


def _tuned_parameters(search: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give what scikit-learn's own searches tune, and those that follow their conventions."""
    for grid in _grids(search):
        yield from ((name, grid) for name in grid)


def _grids(search: Any) -> Iterator[Mapping[str, Any]]:
    for attribute in ("param_grid", "param_distributions", "search_spaces"):
        given = getattr(search, attribute, None)
        for one in given if isinstance(given, list | tuple) else [given]:
            grid = one[0] if isinstance(one, tuple) and one else one  # a space, and how often it is drawn from
            if isinstance(grid, Mapping):
                yield grid


def _to_save(made: Any) -> list[Any]:
    """Give what a model may be made of: what is tuned, and the estimators and functions that the candidates put in."""
    if not scorers.is_search(made):
        return [made]
    values = [value for grid in _grids(made) for values in grid.values() for value in _listed(values)]
    return [made.estimator, *(value for value in values if hasattr(value, "get_params") or callable(value))]


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple | np.ndarray) else []


def _is_of_a_candidate(name: str, grid: Mapping[str, Any]) -> bool:
    """Tell whether it may be a parameter of an estimator that the same grid puts in, as ``a__C`` beside ``a``."""
    parts = name.split("__")
    return any("__".join(parts[:n]) in grid for n in range(1, len(parts)))
