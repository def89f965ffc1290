"""Searches of pyspark.ml: candidates times folds, a few at a time; each score is stored.

Spark's own searches assign rows to folds by a random number for each row, which depends on the layout of the files and
on the number of cores. Here a hash of the identity of a sample determines its fold: the same on any cluster and in any
run, and rows that are one sample are in one fold.
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
from diurnal.backends.spark.job_errors import translate_job_errors
from diurnal.backends.spark.lake_frames import SparkData, fold_hash, quote_column
from diurnal.backends.spark.pipeline_cache import FoldCache, SharedPrefixes
from diurnal.errors import ExperimentError
from diurnal.runtime import spark
from diurnal.types.json_values import parameters_to_json

MAX_PARALLEL_FITS = 16  # one thread drives each fit; the jobs of all share the executors
_FOLD = "__diurnal_fold"
_STEPS = 2**32


def run_search(search: Any, rows: SparkData, progress: Progress | None = None) -> TuningResult:
    """Search over the candidates, or fit an estimator that has nothing to tune."""
    estimator = estimators.inner_estimator(search)
    if not estimators.is_search(search):
        with translate_job_errors("the fit"):
            return TuningResult(estimator.fit(rows.frame), {}, None, None, 1, 0, None, ())
    candidates = search.getEstimatorParamMaps()
    scores = _score_candidates(search, rows, progress)
    means = scores.mean(axis=0)
    if not np.isfinite(means).any():
        raise ExperimentError(
            f"none of {len(candidates)} candidates has a score: the evaluator gave {means[0]}",
            hint="check whether the evaluator's columns are those that the pipeline creates",
        )
    best = int(np.nanargmax(means))
    with translate_job_errors("the fit"):
        twin = estimator.fit(rows.frame, candidates[best])
    return TuningResult(
        twin=twin,
        best_params=candidate_params(search, candidates[best]),
        mean=float(means[best]),
        std=float(scores[:, best].std()),
        n_candidates=len(candidates),
        n_folds=len(scores),
        table=_results_table([candidate_params(search, one) for one in candidates], scores),
        warnings=(),
    )


def trial_searches(search: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of the estimator, and a search over its first candidate on two folds."""
    name = type(estimators.inner_estimator(search)).__name__
    if not estimators.is_search(search):
        yield name, search
        return
    reduced = search.copy()
    reduced.setEstimatorParamMaps(search.getEstimatorParamMaps()[:1])
    if isinstance(search, CrossValidator) and not search.getFoldCol():
        reduced.setNumFolds(2)
    yield name, reduced


def find_candidate(search: Any, best_params: Mapping[str, Any]) -> Any:
    """Return the candidate with the best parameters; it is found by them, as its values need not be JSON.

    Raises
    ------
    ExperimentError
        If the experiment no longer returns it, as when its candidates are random.
    """
    for one in search.getEstimatorParamMaps():
        if candidate_params(search, one) == dict(best_params):
            return one
    raise ExperimentError(
        f"the experiment returns other candidates than before: the best, {dict(best_params)}, is not among them",
        hint="let the experiment return the same candidates each time; set seeds in its function",
    )


def candidate_params(search: Any, one: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a candidate in JSON's types."""
    estimator = estimators.inner_estimator(search)
    return {
        estimators.parameter_name(param, estimator): parameters_to_json(_to_numbers(value))
        for param, value in one.items()
    }


def _to_numbers(value: Any) -> Any:
    """Return the numbers of a vector or a matrix of pyspark.ml, whose text rounds them."""
    return value.toArray() if isinstance(value, Vector | Matrix) else value


def n_parallel_fits(search: Any) -> int:
    """Return the number of parallel fits: that of the search, else the number of cores of the master."""
    if search.isSet("parallelism"):
        return int(search.getParallelism())
    cores = spark.get_session().sparkContext.defaultParallelism
    return max(1, min(cores, len(search.getEstimatorParamMaps()), MAX_PARALLEL_FITS))


def make_folds(search: Any, rows: SparkData) -> list[tuple[DataFrame, DataFrame]]:
    """Return the (train, validation) pairs of a search: several of a CrossValidator, one of a TrainValidationSplit."""
    if isinstance(search, CrossValidator):
        if own := search.getFoldCol():
            number, frame = quote_column(own), rows.frame
        else:
            number, frame = (
                F.col(_FOLD),
                rows.frame.withColumn(_FOLD, F.pmod(_fold_hash_of_search(search, rows), F.lit(search.getNumFolds()))),
            )
        pairs = [(frame.filter(number != i), frame.filter(number == i)) for i in range(search.getNumFolds())]
        return [(train.drop(_FOLD), held_out.drop(_FOLD)) for train, held_out in pairs]
    border = math.floor(search.getTrainRatio() * _STEPS)
    number = F.pmod(_fold_hash_of_search(search, rows), F.lit(_STEPS))
    return [(rows.frame.filter(number < border), rows.frame.filter(number >= border))]


def _fold_hash_of_search(search: Any, rows: SparkData) -> Column:
    """Return the hash of the identity or the group of each row, with the seed of the search if it is set."""
    seed = search.getSeed() if search.isSet("seed") else 0
    return fold_hash(rows.schema, F.lit(f"fold {seed}"))


def _score_candidates(search: Any, rows: SparkData, progress: Progress | None) -> np.ndarray:
    """Score each candidate on each fold; greater is better."""
    candidates, judge = search.getEstimatorParamMaps(), estimators.get_evaluator(search)
    sign = 1.0 if judge.isLargerBetter() else -1.0
    pairs, prefixes = make_folds(search, rows), SharedPrefixes(estimators.inner_estimator(search), candidates)
    scores, done = np.full((len(pairs), len(candidates)), np.nan), 0
    with translate_job_errors("the search"), ThreadPoolExecutor(n_parallel_fits(search)) as pool:
        for i, (train, held_out) in enumerate(pairs):
            with _persisted(train), _persisted(held_out):
                _check_not_empty(train, held_out, i)
                score = partial(FoldCache(prefixes, train, held_out).score, judge=judge)
                run = inheritable_thread_target(spark.get_session())(score)
                for place, value in enumerate(pool.map(run, range(len(candidates)))):
                    scores[i, place], done = sign * value, done + 1
                    if progress is not None:
                        progress(done, scores.size)
    return scores


def _check_not_empty(train: DataFrame, held_out: DataFrame, fold: int) -> None:
    for side, frame in (("train", train), ("validation", held_out)):
        if frame.isEmpty():
            raise ExperimentError(
                f"fold {fold} has no {side} samples", hint="take fewer folds, a wider window or larger batches"
            )


@contextmanager
def _persisted(frame: DataFrame) -> Iterator[None]:
    """Persist a fold on the executors during its fits, on disk if their memory is too small."""
    frame.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield
    finally:
        frame.unpersist()


def _results_table(candidates: Sequence[Mapping[str, Any]], scores: np.ndarray) -> pa.Table:
    """Return the scores as a table like scikit-learn's `cv_results_`."""
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
