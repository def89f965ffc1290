"""What the steps of a day hand each other: references, digests and numbers, never frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from diurnal.types.interval import DataInterval


def finite_or_none(score: float) -> float | None:
    """Return a score, or None where it is undefined: neither JSON nor a comparison has a place for NaN.

    Examples
    --------
    >>> finite_or_none(0.5), finite_or_none(float("nan"))
    (0.5, None)
    """
    return float(score) if math.isfinite(score) else None


NoComparisonReason = Literal["nothing-new", "unusable", "other-contract", "no-evidence"]


@dataclass(frozen=True)
class Package:
    """Immutable rows in the lake, named by their digest: a Parquet file, or the manifest of many.

    Attributes
    ----------
    path : str
        Of the one or the other, below the root of the lake.
    digest : str
        The SHA-256 of the file, in hexadecimal.
    n_rows : int
        How many samples it holds.
    """

    path: str
    digest: str
    n_rows: int


@dataclass(frozen=True)
class Run:
    """One execution for one data interval, and the attempt that carries it out.

    Attributes
    ----------
    run_id : str
        The same for the same experiment, data interval, data, code and repeat, whoever computes it.
    experiment : str
        Name of the experiment.
    interval : DataInterval
        The data interval.
    epoch : int
        The fence: a write of this attempt is refused once a newer attempt has claimed the interval.
    batch_digest : str
        Digest of this interval's batch.
    window_digest : str
        Digest of all batches of the window; equal to `batch_digest` where the window is one interval.
    code_digest : str
        Digest of the experiment's code and of what it declares about its numbers.
    repeat : int
        0, or the number of the repetition that was asked for.
    code : str
        Path of the text of that code below the root of the lake; empty where it was not kept.
    contract : int
        Through which version of the contract all steps read rows; 0: the newest.
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
    """What `fetch` gives: the kept rows of one data interval, and those of the window that they close.

    Attributes
    ----------
    run : Run
        Whose batch it is.
    package : Package
        The batch.
    window : tuple of (DataInterval, Package)
        The batches to learn from, oldest first; the last is this one.
    warnings : tuple of str
        What was odd but allowed.
    finished : bool
        Whether this very run has already been recorded, published and decided.
    seconds : float
        What the step took.
    """

    run: Run
    package: Package
    window: tuple[tuple[DataInterval, Package], ...]
    warnings: tuple[str, ...] = ()
    finished: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainTestSplit:
    """What `split` gives: the window cut into train and test, oldest first; the last of each is the new batch's.

    Attributes
    ----------
    run : Run
        Whose samples they are.
    window : tuple of (DataInterval, Package)
        The batches that were cut, oldest first.
    train, test : tuple of Package
        One for each data interval of the window.
    warnings : tuple of str
        What was odd but allowed, of the fetch too.
    seconds : Mapping of str to float
        What the steps so far took, by name of the step.
    finished : bool
        Whether this very run has already been recorded, published and decided.
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
    """What `tune` gives: the best candidate, fitted on train samples only (the twin), and all scores.

    Attributes
    ----------
    run : Run
        Whose search it was.
    window : tuple of (DataInterval, Package)
        The batches whose train samples it learnt from, oldest first.
    best_params : Mapping of str to Any
        In JSON's types; an estimator as a parameter is given by its text.
    cv_score_mean, cv_score_std : float or None
        Over the folds, for the main score; None where nothing was tuned.
    n_candidates, cv_folds : int
        0 folds where nothing was tuned.
    scoring : str
        Name of the main score; greater is better.
    n_train : int
        Distinct train samples of the window.
    candidates : str or None
        Path of all scores of all folds, below the root of the lake.
    twin, twin_digest : str
        Path of the twin below the root of the lake, and the digest of its file.
    library_versions : Mapping of str to str
        What it was fitted with.
    warnings : tuple of str
        What was odd but allowed, so far.
    seconds : Mapping of str to float
        What the steps so far took, by name of the step.
    own_code : tuple of str
        Full names of the project's own classes and functions that the twin holds.
    environment : Mapping of str to Any
        The Python, machine, CPU and threads that it was tuned with: see :mod:`diurnal.runtime.environment`.
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


@dataclass(frozen=True)
class Comparison:
    """Twin against champion on the same samples, which neither had seen.

    Attributes
    ----------
    n_compared : int
        How many samples.
    twin_score, champion_score : float or None
        The main score of each on them; None where it is undefined, as R² is on a single sample.
    p_worse : float
        Probability of a result at least as bad for the twin if it is as good as the champion.
    test : str
        Name of the paired test, which is one of the declared score.
    twin_wins, champion_wins : int or None
        Samples on which the one was better than the other; None where the score is not made of samples.
    p_better : float or None
        Probability of a result at least as good for the twin if it is as good as the champion.
    difference, low, high : float or None
        The twin's score less the champion's on the tested samples, and its 95 % interval; None where undefined.
    n_tested : int or None
        Samples that the test has seen: all that have weight, or a bounded sample of them.

    Comparisons that were stored before there was one for each score have no values for the last five.
    """

    n_compared: int
    twin_score: float | None
    champion_score: float | None
    p_worse: float
    test: str
    twin_wins: int | None = None
    champion_wins: int | None = None
    p_better: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    n_tested: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` gives: the twin's scores on test samples, and its comparison with the champion.

    Attributes
    ----------
    run : Run
        Whose twin it was.
    test_score : float or None
        The twin's main score on the test samples of the window; None where it is undefined.
    test_scores : Mapping of str to float or None
        All of its scores.
    n_test : int
        Distinct test samples of the window.
    champion_version : int or None
        The champion when the run looked, if there was one.
    comparison : Comparison or None
        None where there is no champion, or nothing to compare it on.
    uncompared : str or None
        Why a champion was not compared: ``"nothing-new"`` (it has learnt every sample), ``"unusable"`` (it cannot be
        loaded here, so it serves nobody), ``"other-contract"`` (it was fitted under an earlier version of the contract,
        and needs what batches no longer have), or ``"no-evidence"`` (there were no samples, or it failed on them).
    warnings : tuple of str
        What was odd but allowed, so far.
    seconds : Mapping of str to float
        What the steps so far took, by name of the step.
    """

    run: Run
    test_score: float | None
    test_scores: Mapping[str, float | None]
    n_test: int
    champion_version: int | None = None
    comparison: Comparison | None = None
    uncompared: NoComparisonReason | None = None
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFile:
    """What `refit` gives: a saved model that is not published yet.

    Attributes
    ----------
    run : Run
        Who fitted it.
    path : str
        Its directory, below the root of the models.
    digest : str
        The SHA-256 of its canonical file.
    signature : Mapping of str to Any
        What it takes and gives: columns and their types, target, classes, and golden rows with their predictions.
    library_versions : Mapping of str to str
        What it was fitted with.
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
    """What `publish` gives: a model with a number.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    version : int
        From 1, without gaps.
    run_id : str
        The run that made it.
    interval : DataInterval
        The newest data interval that it learnt from.
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
    """What `promote` gives.

    Attributes
    ----------
    promoted : bool
        Whether the version became the champion.
    reason : str
        Why, or why not.
    """

    promoted: bool
    reason: str
