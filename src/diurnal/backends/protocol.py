"""The protocol between the steps of a pipeline and a library that tunes, fits, predicts and scores.

Steps pass references to packages and handles of samples, no rows. A handle (:class:`SampleData`) contains a frame of
pandas and an array, or a frame of Spark: only its backend reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.backends.evaluation_data import EvaluationData
    from diurnal.backends.paired_tests import Paired
    from diurnal.backends.sample_reader import SampleReader
    from diurnal.data import Contract, Metadata, Schema
    from diurnal.data.batch_contract import BatchContract
    from diurnal.data.profile_builder import ProfileBuilder
    from diurnal.experiment.run_context import RunContext
    from diurnal.runtime.project_files import Codebase
    from diurnal.search.kept_folds import FoldStore
    from diurnal.types import Package

Scores = dict[str, float]
Task = Literal["classification", "regression"]
Progress = Callable[[int, int], None]


class SampleData(Protocol):
    """A handle of samples, which only its backend reads."""

    @property
    def n_rows(self) -> int:
        """The number of samples."""


@dataclass(frozen=True)
class IngestedBatch:
    """A batch that is validated and stored.

    Attributes
    ----------
    package : Package
        The batch in the lake.
    contract : BatchContract
        The contract that it was validated with, and the changes that it adds to the contract.
    warnings : list of str
        What is unusual but allowed.
    n_repeated : int
        Number of rows that were dropped because they repeat others.
    profile : ProfileBuilder or None
        The profile of its rows, if the backend makes one.
    """

    package: Package
    contract: BatchContract
    warnings: list[str]
    n_repeated: int = 0
    profile: ProfileBuilder | None = None


@dataclass(frozen=True)
class TuningResult:
    """A finished search.

    Attributes
    ----------
    twin : estimator
        The best candidate, fitted on the samples of the search.
    best_params : dict
        Its parameters, in JSON's types.
    mean, std : float or None
        Mean and standard deviation of its main score over the folds; None if nothing was tuned.
    n_candidates, n_folds : int
        0 folds if nothing was tuned.
    table : pyarrow.Table or None
        All scores of all folds, one row for each candidate.
    warnings : tuple of str
        Warnings of the fits, each once, with its count.
    """

    twin: Any
    best_params: dict[str, Any]
    mean: float | None
    std: float | None
    n_candidates: int
    n_folds: int
    table: pa.Table | None
    warnings: tuple[str, ...]


class Backend(Protocol):
    """A library that tunes, fits, predicts and scores.

    In all methods, `estimator` is what the experiment returns (a search, or a bare estimator) and `model` is a fitted
    estimator.
    """

    is_distributed: bool
    """Whether other processes read the rows, perhaps on other machines."""

    def task(self, estimator: Any) -> Task:
        """Return whether classes or numbers are predicted; reject anything else."""

    def is_search(self, estimator: Any) -> bool:
        """Return whether it tunes."""

    def score_name(self, estimator: Any) -> str:
        """Return the name of the main score; greater is better."""

    def unseeded_warnings(self, estimator: Any) -> list[str]:
        """Return a warning for each part that uses random numbers without a seed."""

    def validate(self, estimator: Any, trusted: Collection[str], code: Codebase) -> None:
        """Reject an estimator that would fail later: unknown parameters in a grid, types that cannot be loaded."""

    def check_metadata(self, estimator: Any, metadata: Metadata) -> list[str]:
        """Reject groups, weights or an order that cannot be used; return a warning for each part that ignores them."""

    def check_source(self, source: Any) -> None:
        """Reject a source that cannot be read for estimators of this library."""

    def reads_source(self, source: Any) -> bool:
        """Return whether the backend itself reads the source: then :meth:`ingest` and :meth:`stream_source` apply.

        The rows of any other source stream through this process: see :mod:`diurnal.pipeline.ingest`.
        """

    def ingest(self, context: RunContext, contract: Contract | None, task: Task) -> IngestedBatch:
        """Read, validate and store the batch of a source that :meth:`reads_source` accepts; no row comes here."""

    def stream_source(self, context: RunContext) -> Iterator[pa.RecordBatch]:
        """Stream the batch of a source that :meth:`reads_source` accepts."""

    def read_training_data(
        self,
        reader: SampleReader,
        packages: Sequence[Package],
        *,
        fraction: float = 1.0,
        without: Sequence[Package] = (),
    ) -> SampleData:
        """Return the training data: one row for each sample, oldest package first, or a fraction of them.

        The samples of packages in `without` are left out.
        """

    def read_evaluation_data(self, reader: SampleReader, packages: Sequence[Package]) -> SampleData:
        """Return the evaluation data, which need not fit in memory."""

    def read_unseen_data(self, reader: SampleReader, package: Package, trained_on: Sequence[Package]) -> SampleData:
        """Return as evaluation data the rows of a package whose samples, or groups, are in none of `trained_on`."""

    def size_problem(self, estimator: Any, data: Any) -> str | None:
        """Return why samples are too few for any fit; None if they are enough."""

    def rare_class_problem(self, estimator: Any, data: Any) -> str | None:
        """Return which classes have too few samples to be in every fold; None if all have enough."""

    def trial_searches(self, estimator: Any) -> Iterator[tuple[str, Any]]:
        """Yield, for each type of candidate, its name and a search over one candidate of it."""

    def split_search(self, estimator: Any, data: Any, n: int) -> list[dict[str, int]]:
        """Split a search into at most n shards."""

    def score_shard(self, estimator: Any, data: Any, shard: Mapping[str, int]) -> tuple[pa.Table, tuple[str, ...]]:
        """Run the fits of one shard; return their scores and their warnings."""

    def tune(
        self,
        estimator: Any,
        data: Any,
        *,
        progress: Progress | None = None,
        parts: Sequence[Mapping[str, np.ndarray]] | None = None,
        fold_store: FoldStore | None = None,
    ) -> TuningResult:
        """Search over the candidates, or fit an estimator that has nothing to tune.

        A search of scikit-learn keeps the results of finished folds in `fold_store`.
        """

    def refit(self, estimator: Any, twin: Callable[[], Any], best_params: Mapping[str, Any], data: Any) -> Any:
        """Fit the best candidate again, on other samples."""

    def score(self, estimator: Any, model: Any, data: Any) -> Scores:
        """Return all scores of a model on evaluation data."""

    def compare(self, estimator: Any, twin: Any, champion: Any, data: Any) -> Paired:
        """Compare two models by the main score on evaluation data, with the paired test for that score."""

    def describe_evaluation(
        self, estimator: Any, models: Mapping[str, Any], data: Any, *, seconds: float
    ) -> EvaluationData:
        """Describe models on the same evaluation data: curves, histograms, slices, and a bounded sample of rows.

        Permutation importances of the first model may take so many seconds; there are none with 0.
        """

    def adapt_columns(self, model: Any, columns: Mapping[str, str], data: Any) -> Any:
        """Return a model that accepts rows with other names of its columns, and with further columns.

        `columns` maps the name of each column at the time of the fit to its name in the rows.
        """

    def signature(self, model: Any, data: Any, schema: Schema) -> dict[str, Any]:
        """Describe the inputs and outputs of a model."""

    def predict(self, model: Any, rows: pa.Table, signature: Mapping[str, Any]) -> dict[str, Any]:
        """Return the predictions for a table of rows: columns, by name."""

    def predict_package(
        self,
        reader: SampleReader,
        package: Package,
        model: Any,
        features: Sequence[str],
        signature: Mapping[str, Any],
    ) -> Iterator[pa.RecordBatch]:
        """Stream the key and the predictions of a package with a key; of a distributed backend only.

        `features` are the columns of the contract that the model takes, in its order.
        """
