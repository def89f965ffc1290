"""Pipelines that begin alike share their beginning: on each fold, every distinct prefix is fitted once.

pyspark's own searches fit the whole pipeline for each candidate. Here the stages before the last one that is tuned are
fitted one by one, with the very calls that `Pipeline.fit` makes, so that the scores are the same. What is shared are
the fitted stages: to transform the rows again costs less than to hold them twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from pyspark.ml import Estimator, Pipeline
from pyspark.sql import DataFrame

from diurnal.backends.spark.estimators import parts

Candidate = Mapping[Any, Any]
Rows = tuple[DataFrame, DataFrame]
Path = tuple[Any, ...]

_TOLD = (bool, int, float, str)  # by their text, exactly


class Prefixes:
    """What the candidates of a search share.

    Parameters
    ----------
    estimator : Estimator
        What is tuned.
    candidates : sequence of Mapping
        Its parameters, for each candidate.
    """

    def __init__(self, estimator: Any, candidates: Sequence[Candidate]) -> None:
        stages = list(estimator.getStages()) if _may_be_cut(estimator, candidates) else [estimator]
        tuned = [tuple(_values(stage, one) for stage in stages) for one in candidates]
        parting = [i for i in range(len(stages)) if len({values[i] for values in tuned}) > 1]
        depth = parting[-1] if parting else 0
        self.candidates, self.stages = candidates, stages[:depth]
        self.paths: list[Path] = [values[:depth] for values in tuned]
        self.rest: Any = Pipeline(stages=stages[depth:]) if len(stages) > 1 else estimator


class Fold:
    """A fold, and what becomes of its rows after each prefix.

    Parameters
    ----------
    prefixes : Prefixes
        What its candidates share.
    train, held : pyspark.sql.DataFrame
        What they are fitted on, and what they are scored on.
    """

    def __init__(self, prefixes: Prefixes, train: DataFrame, held: DataFrame) -> None:
        self._prefixes = prefixes
        self._rows: dict[Path, _Once] = {(): _Once(lambda: (train, held))}
        for path, candidate in zip(prefixes.paths, prefixes.candidates, strict=True):
            for i, stage in enumerate(prefixes.stages):
                before = self._rows[path[:i]]
                self._rows.setdefault(path[: i + 1], _Once(partial(_after, before, stage, candidate)))

    def score(self, place: int, judge: Any) -> float:
        """Fit a candidate, and score it."""
        candidate = self._prefixes.candidates[place]
        train, held = self._rows[self._prefixes.paths[place]]()
        return float(judge.evaluate(self._prefixes.rest.fit(train, candidate).transform(held, candidate)))


class _Once:
    """Makes rows when somebody asks for them, and once; other threads that ask meanwhile wait."""

    def __init__(self, make: Callable[[], Rows]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: Rows | None = None

    def __call__(self) -> Rows:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def _after(before: _Once, stage: Any, candidate: Candidate) -> Rows:
    """Return the rows after one more stage, fitted on those that are fitted on."""
    train, held = before()
    own = stage.copy(candidate)
    fitted = own.fit(train) if isinstance(own, Estimator) else own
    return fitted.transform(train), fitted.transform(held, candidate)


def _may_be_cut(estimator: Any, candidates: Sequence[Candidate]) -> bool:
    """Return whether it is a pipeline whose stages are the same for each candidate."""
    return type(estimator) is Pipeline and all(param.parent != estimator.uid for one in candidates for param in one)


def _values(stage: Any, candidate: Candidate) -> tuple[tuple[str, str, Any], ...]:
    """Return what a candidate sets in a stage, or in what the stage holds.

    An object, such as a vector, is like itself only: its text may be rounded. Grids repeat the very object.
    """
    own = {part.uid for part in parts(stage)}
    set_here = [(param.parent, param.name, value) for param, value in candidate.items() if param.parent in own]
    told = [(part, name, repr(value) if isinstance(value, _TOLD) else id(value)) for part, name, value in set_here]
    return tuple(sorted(told, key=itemgetter(0, 1)))
