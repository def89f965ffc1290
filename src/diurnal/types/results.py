"""The results that the steps of a run pass to each other: references, digests and numbers, never frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diurnal.types.challenge import Bet
from diurnal.types.interval import DataInterval


@dataclass(frozen=True)
class Package:
    """Immutable rows in the lake, identified by their digest: a Parquet file, or the manifest of several.

    Attributes
    ----------
    path : str
        Path of the file or the manifest, below the root of the lake.
    digest : str
        The SHA-256 of the file, in hexadecimal.
    n_rows : int
        Number of samples.
    """

    path: str
    digest: str
    n_rows: int


@dataclass(frozen=True)
class Run:
    """One run of an experiment for one data interval, and the attempt that executes it.

    Attributes
    ----------
    run_id : str
        A hash of experiment, data interval, data, code and repeat.
    experiment : str
        Name of the experiment.
    interval : DataInterval
        The data interval.
    epoch : int
        The fencing token: writes of this attempt are rejected after a newer attempt has claimed the interval.
    batch_digest : str
        Digest of this interval's batch.
    window_digest : str
        Digest of all batches of the window; equal to `batch_digest` where the window is one interval.
    code_digest : str
        Digest of the code of the experiment and of the arguments that affect its numbers.
    repeat : int
        0, or the number of a requested repetition.
    code : str
        Path of the text of the code below the root of the lake; empty if it was not stored.
    contract : int
        The version of the contract in which all steps read rows; 0 for the newest.
    """

    run_id: str
    experiment: str
    interval: DataInterval
    epoch: int
    batch_digest: str
    window_digest: str
    code_digest: str
    repeat: int = 0
    code: str = ""
    contract: int = 0


@dataclass(frozen=True)
class Batch:
    """Result of `fetch`: the stored rows of one data interval, and the batches of the window that ends with it.

    Attributes
    ----------
    run : Run
        The run of the batch.
    package : Package
        The batch.
    window : tuple of (DataInterval, Package)
        The batches to train on, oldest first; the last is this one.
    warnings : tuple of str
        Warnings.
    finished : bool
        Whether the run has been recorded, published and decided before.
    seconds : float
        Duration of the step.
    """

    run: Run
    package: Package
    window: tuple[tuple[DataInterval, Package], ...]
    warnings: tuple[str, ...] = ()
    finished: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainTestSplit:
    """Result of `split`: the train and test packages of the window, oldest first; the last are those of the new batch.

    Attributes
    ----------
    run : Run
        The run of the samples.
    window : tuple of (DataInterval, Package)
        The batches that were split, oldest first.
    train, test : tuple of Package
        One for each data interval of the window.
    warnings : tuple of str
        Warnings, including those of `fetch`.
    seconds : Mapping of str to float
        Durations of the steps so far, by name of the step.
    finished : bool
        Whether the run has been recorded, published and decided before.
    """

    run: Run
    window: tuple[tuple[DataInterval, Package], ...]
    train: tuple[Package, ...]
    test: tuple[Package, ...]
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    finished: bool = False


@dataclass(frozen=True)
class SearchResult:
    """Result of `tune`: the best candidate, fitted on train samples only (the twin), and all scores.

    Attributes
    ----------
    run : Run
        The run of the search.
    window : tuple of (DataInterval, Package)
        The batches whose train samples it was fitted on, oldest first.
    best_params : Mapping of str to Any
        In JSON's types; an estimator as a parameter is represented by its text.
    cv_score_mean, cv_score_std : float or None
        Over the folds, for the main score; None without tuning.
    n_candidates, cv_folds : int
        Numbers of candidates and folds; 0 folds without tuning.
    scoring : str
        Name of the main score; greater is better.
    n_train : int
        Distinct train samples of the window.
    candidates : str or None
        Path of all scores of all folds, below the root of the lake.
    twin, twin_digest : str
        Path of the twin below the root of the lake, and the digest of its file.
    library_versions : Mapping of str to str
        Versions of the libraries of the fit.
    warnings : tuple of str
        Warnings so far.
    seconds : Mapping of str to float
        Durations of the steps so far, by name of the step.
    own_code : tuple of str
        Full names of the project's own classes and functions that the twin holds.
    environment : Mapping of str to Any
        The Python, machine, CPU and threads that it was tuned with: see :mod:`diurnal.runtime.fit_environment`.
    fit_warnings : tuple of str
        Those of `warnings` that came from the fits.
    tuned_by : str or None
        The run whose search this is, if a run of the same data and code has tuned before.
    """

    run: Run
    window: tuple[tuple[DataInterval, Package], ...]
    best_params: Mapping[str, Any]
    cv_score_mean: float | None
    cv_score_std: float | None
    n_candidates: int
    cv_folds: int
    scoring: str
    n_train: int
    candidates: str | None
    twin: str
    twin_digest: str
    library_versions: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    own_code: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    fit_warnings: tuple[str, ...] = ()
    tuned_by: str | None = None


@dataclass(frozen=True)
class ModelFile:
    """Result of `refit`: a saved model that is not published yet.

    Attributes
    ----------
    run : Run
        The run that fitted it.
    path : str
        Its directory, below the root of the models.
    digest : str
        The SHA-256 of its canonical file.
    signature : Mapping of str to Any
        Its inputs and outputs: columns and their types, target, classes, and golden rows with their predictions.
    library_versions : Mapping of str to str
        Versions of the libraries of the fit.
    environment : Mapping of str to Any
        The Python, machine, CPU and threads that it was fitted with.
    """

    run: Run
    path: str
    digest: str
    signature: Mapping[str, Any]
    library_versions: Mapping[str, str]
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelVersion:
    """Result of `publish`: a numbered version of the model.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    version : int
        From 1, without gaps.
    run_id : str
        The run that fitted it.
    interval : DataInterval
        The newest data interval that it was trained on.
    path, digest : str
        Its directory below the root of the models, and the digest of its file.
    """

    experiment: str
    version: int
    run_id: str
    interval: DataInterval
    path: str
    digest: str


@dataclass(frozen=True)
class Decision:
    """Result of `promote`.

    Attributes
    ----------
    promoted : bool
        Whether the version became the champion.
    reason : str
        The reason of the decision.
    bet : Bet or None
        With ``promotion="proven"``, the bet on the challenger, which is another version.
    """

    promoted: bool
    reason: str
    bet: Bet | None = None

    @property
    def proven(self) -> int | None:
        """The challenger, if it has become the champion by this decision."""
        return self.bet.challenger if self.bet is not None and self.bet.ended == "won" else None


@dataclass(frozen=True)
class ScoredBatch:
    """The rows of a data interval and the model that predicts them.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    interval : DataInterval
        The data interval of the rows.
    version : int
        Number of the model version.
    digest : str
        Digest of the model.
    source_digest : str
        Digest of the rows.
    """

    experiment: str
    interval: DataInterval
    version: int
    digest: str
    source_digest: str
