"""The predictions of the rows of a data interval, in the columns of the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from joblib import cpu_count
from sklearn import config_context, get_config
from threadpoolctl import threadpool_limits

from diurnal.backends import get_backend
from diurnal.backends.sample_reader import SampleReader
from diurnal.data import Schema
from diurnal.data.predicted_labels import labels_to_arrow
from diurnal.errors import BatchRejectedError, Problem
from diurnal.pipeline.read_ahead import read_ahead
from diurnal.pipeline.rows_to_score import RowsToScore, identity_of_rows

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import Package

ROWS_PER_CHUNK, CELLS_PER_CHUNK = 65_536, 2**23  # which the model predicts at once

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoredRows:
    """Rows, and the model that predicts them.

    Attributes
    ----------
    context : RunContext
        The experiment, the data interval and the stores.
    contract : Schema
        The newest version of the contract.
    model : estimator
        The loaded model.
    signature : Mapping of str to Any
        Its signature.
    rows : RowsToScore
        The rows.
    columns : pyarrow.Schema
        The columns of the warehouse: the key, ``prediction`` and the probabilities.
    progress : callable, optional
        Called with the number of predicted rows and the number of all rows.
    """

    context: RunContext
    contract: Schema
    model: Any
    signature: Mapping[str, Any]
    rows: RowsToScore
    columns: pa.Schema
    progress: Progress | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Predict the rows, and yield their keys and predictions.

        Raises
        ------
        BatchRejectedError
            If the model does not predict each row.
        """
        n_done = 0
        for batch in self._predicted():
            n_done += batch.num_rows
            yield batch
            if self.progress:
                self.progress(n_done, self.rows.n_rows)
        _check_count(n_done, self.rows.n_rows)

    def _predicted(self) -> Iterator[pa.RecordBatch]:
        package = self._package_of_executors()
        if package is not None:
            return self._from_executors(package)
        chunks = self._from_chunks(get_config())
        # The model predicts a chunk while the warehouse copies the one before and the rows of the next are read.
        return chunks if get_backend(self.model).is_distributed else read_ahead(chunks)

    def _package_of_executors(self) -> Package | None:
        """Return the stored batch if the executors of a cluster can read it; None if this process does.

        Rows without a key are numbered in their order, in this process. A feature that was dropped from the contract
        is read by :meth:`~diurnal.backends.sample_reader.SampleReader.rows` only.
        """
        rows = self.rows
        is_readable = bool(rows.key) and set(rows.features) <= set(self.contract.names)
        return rows.package if is_readable and get_backend(self.model).is_distributed else None

    def _from_executors(self, package: Package) -> Iterator[pa.RecordBatch]:
        reader, n_keys = SampleReader(self.context, self.contract), len(self.rows.key)
        predict = get_backend(self.model).predict_package
        for batch in predict(reader, package, self.model, self.rows.features, self.signature):
            named = dict(zip(batch.schema.names[n_keys:], batch.columns[n_keys:], strict=True))
            yield self._to_columns(batch.columns[:n_keys], named)

    def _from_chunks(self, config: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        """Predict chunk after chunk, with the configuration of scikit-learn, which each thread has its own of."""
        backend, n_done = get_backend(self.model), 0
        fitted = [column["name"] for column in self.signature["columns"]]
        size = max(1, min(ROWS_PER_CHUNK, CELLS_PER_CHUNK // max(1, len(fitted))))
        # Threads of BLAS wait actively for further work, on the cores where rows are read and copied meanwhile.
        with threadpool_limits(max(1, cpu_count() - 1), user_api="blas"):
            for chunk in _slices(read_ahead(self.rows.batches), size):
                inputs = pa.Table.from_batches([chunk.select(self.rows.features)]).rename_columns(fitted)
                with config_context(**config):
                    predicted = backend.predict(self.model, inputs, self.signature)
                _check_count(len(predicted["prediction"]), chunk.num_rows)
                yield self._to_columns(self._keys(chunk, n_done), predicted)
                n_done += chunk.num_rows

    def _keys(self, chunk: pa.RecordBatch, n_before: int) -> list[pa.Array]:
        """Return the columns of the key; without one, numbers and hashes of the rows."""
        if self.rows.key:
            return [chunk.column(name) for name in self.rows.key]
        hasher = identity_of_rows(self.contract, chunk.schema.names, self.context.experiment.name)
        numbers = np.arange(n_before + 1, n_before + chunk.num_rows + 1)
        return [pa.array(numbers), pa.array(hasher(chunk).view(np.int64))]

    def _to_columns(self, keys: list[pa.Array], predicted: Mapping[str, Any]) -> pa.RecordBatch:
        values = [predicted[name] for name in self.columns.names[len(keys) :]]
        arrays = [self._to_arrow(value) for value in (*keys, *values)]
        casted = [array.cast(field.type) for array, field in zip(arrays, self.columns, strict=True)]
        return pa.RecordBatch.from_arrays(casted, schema=self.columns)

    def _to_arrow(self, values: Any) -> pa.Array:
        if isinstance(values, np.ndarray):
            return labels_to_arrow(values, self.signature.get("classes"))
        return values if isinstance(values, pa.Array) else pa.array(values)


def _slices(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def _check_count(n_predictions: int, n_rows: int) -> None:
    if n_predictions != n_rows:
        message = f"the model gives {n_predictions} predictions for {n_rows} rows"
        raise BatchRejectedError(
            [Problem("not-predictable", message)],
            hint="let the model predict each row: for Spark, set handleInvalid to 'keep'",
        )
