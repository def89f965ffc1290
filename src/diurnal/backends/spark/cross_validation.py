"""Searching with pyspark.ml: candidates times folds, a few at a time, each score kept.

Spark's own searches deal rows into folds by a random number for each row, which depends on how rows lie in files and on
how many cores read them. Here the fold of a sample is a hash of its identity: the same on any cluster, for life, and
rows that are one sample are in one fold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel, inheritable_thread_target
from pyspark.ml.linalg import Matrix, Vector
from pyspark.ml.tuning import CrossValidator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from diurnal.backends.protocol import Progress, TuningResult
from diurnal.backends.spark import estimators
from diurnal.backends.spark.job_errors import blaming
from diurnal.backends.spark.lake_frames import SparkData, column, separated
from diurnal.backends.spark.pipeline_cache import Fold, Prefixes
from diurnal.errors import ExperimentError
from diurnal.runtime import spark
from diurnal.types.json_values import parameters_to_json

MOST_AT_ONCE = 16  # fits: each is driven by a thread here, and its jobs share the executors with the others'
_FOLD = "__diurnal_fold"
_STEPS = 2**32


def tune(search: Any, rows: SparkData, progress: Progress | None = None) -> TuningResult:
    """Search over the candidates, or fit what has nothing to tune."""
    estimator = estimators.estimator_of(search)
    if not estimators.is_search(search):
        with blaming("the fit"):
            return TuningResult(estimator.fit(rows.frame), {}, None, None, 1, 0, None, ())
    candidates = search.getEstimatorParamMaps()
    scores = _scores(search, rows, progress)
    means = scores.mean(axis=0)
    if not np.isfinite(means).any():
        raise ExperimentError(
            f"none of {len(candidates)} candidates has a score: the evaluator gave {means[0]}",
            hint="see whether the evaluator's columns are those that the pipeline makes",
        )
    best = int(np.nanargmax(means))
    with blaming("the fit"):
        twin = estimator.fit(rows.frame, candidates[best])
    return TuningResult(
        twin=twin,
        best_params=params(search, candidates[best]),
        mean=float(means[best]),
        std=float(scores[:, best].std()),
        n_candidates=len(candidates),
        n_folds=len(scores),
        table=_table([params(search, one) for one in candidates], scores),
        warnings=(),
    )


def trials(search: Any) -> Iterator[tuple[str, Any]]:
    """Return the name of what is fitted, and the search over its first candidate on two folds."""
    name = type(estimators.estimator_of(search)).__name__
    if not estimators.is_search(search):
        yield name, search
        return
    reduced = search.copy()
    reduced.setEstimatorParamMaps(search.getEstimatorParamMaps()[:1])
    if isinstance(search, CrossValidator) and not search.getFoldCol():
        reduced.setNumFolds(2)
    yield name, reduced


def candidate(search: Any, best_params: Mapping[str, Any]) -> Any:
    """Find the candidate that has the best parameters; it is named by them, as its values may be no JSON.

    Raises
    ------
    ExperimentError
        If the experiment does not return it any more: its candidates are drawn anew each time.
    """
    for one in search.getEstimatorParamMaps():
        if params(search, one) == dict(best_params):
            return one
    raise ExperimentError(
        f"the experiment returns other candidates than before: the best, {dict(best_params)}, is not among them",
        hint="let the experiment return the same candidates each time: seed what is random in its function",
    )


def params(search: Any, one: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a candidate in JSON's types."""
    estimator = estimators.estimator_of(search)
    return {estimators.shown(param, estimator): parameters_to_json(_cells(value)) for param, value in one.items()}


def _cells(value: Any) -> Any:
    """Return the numbers of a vector or a matrix of pyspark.ml, whose text rounds them."""
    return value.toArray() if isinstance(value, Vector | Matrix) else value


def parallelism(search: Any) -> int:
    """Tell how many fits go on at once: as the search says, else as many as the master has cores."""
    if search.isSet("parallelism"):
        return int(search.getParallelism())
    cores = spark.get_session().sparkContext.defaultParallelism
    return max(1, min(cores, len(search.getEstimatorParamMaps()), MOST_AT_ONCE))


def folds(search: Any, rows: SparkData) -> list[tuple[DataFrame, DataFrame]]:
    """Return the (train, validation) pairs of a search: several of a CrossValidator, one of a TrainValidationSplit."""
    if isinstance(search, CrossValidator):
        if own := search.getFoldCol():
            number, frame = column(own), rows.frame
        else:
            number, frame = (
                F.col(_FOLD),
                rows.frame.withColumn(_FOLD, F.pmod(_hash(search, rows), F.lit(search.getNumFolds()))),
            )
        pairs = [(frame.filter(number != i), frame.filter(number == i)) for i in range(search.getNumFolds())]
        return [(train.drop(_FOLD), held.drop(_FOLD)) for train, held in pairs]
    border = math.floor(search.getTrainRatio() * _STEPS)
    number = F.pmod(_hash(search, rows), F.lit(_STEPS))
    return [(rows.frame.filter(number < border), rows.frame.filter(number >= border))]


def _hash(search: Any, rows: SparkData) -> Column:
    """Hash the identity or the group of each row, with the search's seed if it has one: another seed, other folds."""
    seed = search.getSeed() if search.isSet("seed") else 0
    return separated(rows.schema, F.lit(f"fold {seed}"))


def _scores(search: Any, rows: SparkData, progress: Progress | None) -> np.ndarray:
    """Score each candidate on each fold; greater is better."""
    candidates, judge = search.getEstimatorParamMaps(), estimators.evaluator(search)
    sign = 1.0 if judge.isLargerBetter() else -1.0
    pairs, prefixes = folds(search, rows), Prefixes(estimators.estimator_of(search), candidates)
    scores, done = np.full((len(pairs), len(candidates)), np.nan), 0
    with blaming("the search"), ThreadPoolExecutor(parallelism(search)) as pool:
        for i, (train, held) in enumerate(pairs):
            with _kept(train), _kept(held):
                _refuse_empty(train, held, i)
                score = partial(Fold(prefixes, train, held).score, judge=judge)
                run = inheritable_thread_target(spark.get_session())(score)
                for place, value in enumerate(pool.map(run, range(len(candidates)))):
                    scores[i, place], done = sign * value, done + 1
                    if progress is not None:
                        progress(done, scores.size)
    return scores


def _refuse_empty(train: DataFrame, held: DataFrame, fold: int) -> None:
    for side, frame in (("train", train), ("validation", held)):
        if frame.isEmpty():
            raise ExperimentError(
                f"fold {fold} has no {side} samples", hint="take fewer folds, a wider window or larger batches"
            )


@contextmanager
def _kept(frame: DataFrame) -> Iterator[None]:
    """Keep a fold with the executors, on their disks where their memory is too small, while it is fitted on."""
    frame.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield
    finally:
        frame.unpersist()


def _table(candidates: Sequence[Mapping[str, Any]], scores: np.ndarray) -> pa.Table:
    """Lay the scores out as scikit-learn's `cv_results_` does."""
    means = scores.mean(axis=0)
    order = np.argsort(-means, kind="stable")
    rank = np.empty(len(means), dtype=np.int32)
    rank[order] = np.arange(1, len(means) + 1)
    for before, after in pairwise(order):
        if means[before] == means[after]:
            rank[after] = rank[before]
    columns: dict[str, Any] = {"params": [json.dumps(one, sort_keys=True) for one in candidates]}
    columns |= {f"split{i}_test_score": row for i, row in enumerate(scores)}
    columns |= {"mean_test_score": means, "std_test_score": scores.std(axis=0), "rank_test_score": rank}
    return pa.table(columns)
