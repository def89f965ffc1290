"""What steps ask of whatever tunes, fits and scores: one small protocol, spoken in packages and handles, not in frames.

A handle (:class:`Data`) is a frame of pandas and a vector, or a frame of Spark: only its backend looks into it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from diurnal.backends.paired_tests import Paired
    from diurnal.backends.sample_reader import SampleReader
    from diurnal.data import Contract, Metadata, Schema
    from diurnal.data.batch_contract import BatchContract
    from diurnal.experiment.run_context import RunContext
    from diurnal.runtime.project_files import Codebase
    from diurnal.types import Package

Scores = dict[str, float]
Task = Literal["classification", "regression"]
Progress = Callable[[int, int], None]


class Data(Protocol):
    """Samples, somewhere."""

    @property
    def n_rows(self) -> int:
        """How many samples."""


@dataclass(frozen=True)
class BroughtIn:
    """A batch that a backend has fetched by itself, its rows never in this process.

    Attributes
    ----------
    package : Package
        It, in the lake.
    held : BatchContract
        What it was held against.
    warnings : list of str
        What was odd but allowed.
    n_repeated : int
        Rows that were dropped, as each said what another one said.
    """

    package: Package
    held: BatchContract
    warnings: list[str]
    n_repeated: int


@dataclass(frozen=True)
class Tuned:
    """A finished search.

    Attributes
    ----------
    twin : estimator
        The best candidate, fitted on the samples of the search.
    best_params : dict
        In JSON's types.
    mean, std : float or None
        Of the main score over the folds; None where nothing was tuned.
    n_candidates, n_folds : int
        0 folds where nothing was tuned.
    table : pyarrow.Table or None
        All scores of all folds, one row for each candidate.
    warnings : tuple of str
        What the fits warned of, each once, with how often.
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
    """Tunes, fits and scores. `made` is what the experiment returns: a search, or a bare estimator."""

    is_distributed: bool
    """Whether rows are read by other processes, perhaps elsewhere."""

    def task(self, made: Any) -> Task:
        """Tell what is predicted; anything but a class or a number is refused."""

    def is_search(self, made: Any) -> bool:
        """Tell whether it tunes."""

    def score_name(self, made: Any) -> str:
        """Give the name of the main score; greater is better."""

    def unseeded(self, made: Any) -> list[str]:
        """Warn of each place where random numbers are drawn without a seed."""

    def refuse_faults(self, made: Any, trusted: Collection[str], code: Codebase) -> None:
        """Refuse what can be seen to fail later: parameters that are not there, types that cannot be loaded."""

    def check_metadata(self, made: Any, metadata: Metadata) -> list[str]:
        """Refuse groups, weights or an order that it cannot use; warn of what does not use them."""

    def bring_in(self, context: RunContext, contract: Contract | None, task: Task, folder: Path) -> BroughtIn | None:
        """Fetch, check and keep the batch without this process seeing rows; None where they stream through it."""

    def stream(self, context: RunContext) -> Iterator[pa.RecordBatch] | None:
        """Stream the batch of a source that only this backend reads; None for any other source."""

    def read(
        self,
        reader: SampleReader,
        packages: Sequence[Package],
        *,
        fraction: float = 1.0,
        without: Sequence[Package] = (),
    ) -> Data:
        """Return the training data: one row for each sample, oldest package first, or a fraction of them.

        The samples of packages in `without` are left out.
        """

    def to_judge(self, reader: SampleReader, packages: Sequence[Package]) -> Data:
        """Return the evaluation data, which need not fit in memory."""

    def unseen(self, reader: SampleReader, package: Package, learnt: Sequence[Package]) -> Data:
        """Return as evaluation data the rows of a package whose samples, or groups, are in none of the others."""

    def too_small(self, made: Any, data: Any) -> str | None:
        """Say what samples lack to be learnt from at all; None if nothing does."""

    def scarce(self, made: Any, data: Any) -> str | None:
        """Say which classes have too few samples to be in every fold; None if none has."""

    def trials(self, made: Any) -> Iterator[tuple[str, Any]]:
        """Give, for each kind of candidate, its name and what tunes over one candidate of it."""

    def cut(self, made: Any, data: Any, n: int) -> list[dict[str, int]]:
        """Cut a search into at most n shards."""

    def score_shard(self, made: Any, data: Any, shard: Mapping[str, int]) -> tuple[pa.Table, tuple[str, ...]]:
        """Make the fits of one shard; gives their scores, and what they warned of."""

    def tune(
        self,
        made: Any,
        data: Any,
        *,
        progress: Progress | None = None,
        parts: Sequence[Mapping[str, np.ndarray]] | None = None,
    ) -> Tuned:
        """Search over the candidates, or fit what has nothing to tune."""

    def refit(self, made: Any, twin: Callable[[], Any], best_params: Mapping[str, Any], data: Any) -> Any:
        """Fit the winner anew."""

    def scores(self, made: Any, model: Any, data: Any) -> Scores:
        """Give all scores of a fitted model on rows to judge by."""

    def compare(self, made: Any, twin: Any, champion: Any, data: Any) -> Paired:
        """Compare two models by the main score, on rows to judge by, with the paired test that is made for it."""

    def taking(self, model: Any, columns: Mapping[str, str], data: Any) -> Any:
        """Let a fitted model take rows that have its columns under other names, among further ones.

        `columns` has, for the name of each one at the time of the fit, the name in the rows.
        """

    def signature(self, model: Any, data: Any, schema: Schema) -> dict[str, Any]:
        """Describe what a fitted model takes and gives."""

    def predictions(self, model: Any, rows: pa.Table, signature: Mapping[str, Any]) -> dict[str, Any]:
        """Predict rows that are here: columns, by name."""
