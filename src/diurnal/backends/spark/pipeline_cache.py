"""Shared prefixes of pipelines: on each fold, every distinct prefix is fitted once.

pyspark's own searches fit the whole pipeline for each candidate. Here the stages before the last tuned one are fitted
one by one, with the same calls as in `Pipeline.fit`, so that the scores are equal. Candidates share the fitted stages;
the rows are transformed again for each, which costs less than to store them twice.

For example, a grid over ``PCA.k`` (2 values) and ``LogisticRegression.regParam`` (3 values) fits 2 PCAs, not 6.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from pyspark.ml import Estimator, Pipeline
from pyspark.sql import DataFrame

from diurnal.backends.spark.estimators import list_components

Candidate = Mapping[Any, Any]
Rows = tuple[DataFrame, DataFrame]
Path = tuple[Any, ...]

_PLAIN_TYPES = (bool, int, float, str)  # compared by their repr, which is exact


class SharedPrefixes:
    """The prefixes that the candidates of a search share.

    Parameters
    ----------
    estimator : Estimator
        The tuned estimator.
    candidates : sequence of Mapping
        The parameters of each candidate.
    """

    def __init__(self, estimator: Any, candidates: Sequence[Candidate]) -> None:
        stages = list(estimator.getStages()) if _is_splittable(estimator, candidates) else [estimator]
        tuned = [tuple(_stage_values(stage, one) for stage in stages) for one in candidates]
        parting = [i for i in range(len(stages)) if len({values[i] for values in tuned}) > 1]
        depth = parting[-1] if parting else 0
        self.candidates, self.stages = candidates, stages[:depth]
        self.paths: list[Path] = [values[:depth] for values in tuned]
        self.rest: Any = Pipeline(stages=stages[depth:]) if len(stages) > 1 else estimator


class FoldCache:
    """A fold, and its rows after each prefix.

    Parameters
    ----------
    prefixes : Prefixes
        The shared prefixes of the candidates.
    train, held : pyspark.sql.DataFrame
        The rows for fits and for scores.
    """

    def __init__(self, prefixes: SharedPrefixes, train: DataFrame, held_out: DataFrame) -> None:
        self._prefixes = prefixes
        self._rows: dict[Path, _Lazy] = {(): _Lazy(lambda: (train, held_out))}
        for path, candidate in zip(prefixes.paths, prefixes.candidates, strict=True):
            for i, stage in enumerate(prefixes.stages):
                before = self._rows[path[:i]]
                self._rows.setdefault(path[: i + 1], _Lazy(partial(_apply_stage, before, stage, candidate)))

    def score(self, place: int, judge: Any) -> float:
        """Fit a candidate, and score it."""
        candidate = self._prefixes.candidates[place]
        train, held_out = self._rows[self._prefixes.paths[place]]()
        return float(judge.evaluate(self._prefixes.rest.fit(train, candidate).transform(held_out, candidate)))


class _Lazy:
    """Rows that are computed once, on first use; other threads wait for them."""

    def __init__(self, make: Callable[[], Rows]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: Rows | None = None

    def __call__(self) -> Rows:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def _apply_stage(before: _Lazy, stage: Any, candidate: Candidate) -> Rows:
    """Return the rows after one more stage, which is fitted on the train rows."""
    train, held_out = before()
    own = stage.copy(candidate)
    fitted = own.fit(train) if isinstance(own, Estimator) else own
    return fitted.transform(train), fitted.transform(held_out, candidate)


def _is_splittable(estimator: Any, candidates: Sequence[Candidate]) -> bool:
    """Return whether it is a pipeline with the same stages for each candidate."""
    return type(estimator) is Pipeline and all(param.parent != estimator.uid for one in candidates for param in one)


def _stage_values(stage: Any, candidate: Candidate) -> tuple[tuple[str, str, Any], ...]:
    """Return the parameters that a candidate sets in a stage or its parts.

    An object, such as a vector, is equal to itself only, as its repr may be rounded; grids repeat the same object.
    """
    own = {part.uid for part in list_components(stage)}
    set_here = [(param.parent, param.name, value) for param, value in candidate.items() if param.parent in own]
    values = [
        (part, name, repr(value) if isinstance(value, _PLAIN_TYPES) else id(value)) for part, name, value in set_here
    ]
    return tuple(sorted(values, key=itemgetter(0, 1)))
