"""Pipelines that begin alike share their beginning: on each fold, every distinct prefix is fitted once.

pyspark's own searches fit the whole pipeline for each candidate. Here the stages before the last one that is tuned are
fitted one by one, with the very calls that `Pipeline.fit` makes, so that the scores are the same. Where candidates
part, the rows as they are by then stay with the executors until the last candidate has left.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pyspark import StorageLevel
from pyspark.ml import Estimator, Pipeline
from pyspark.sql import DataFrame

from diurnal.backends.protocol import plain
from diurnal.backends.spark.stages import parts

Candidate = Mapping[Any, Any]
Pair = tuple[DataFrame, DataFrame]
Path = tuple[Any, ...]


class Prefixes:
    """What the candidates of a search share.

    Parameters
    ----------
    estimator : Estimator
        What is tuned.
    candidates : sequence of Mapping
        Its parameters, for each candidate.

    Attributes
    ----------
    order : list of int
        The candidates in an order in which those that share most are neighbours.
    """

    def __init__(self, estimator: Any, candidates: Sequence[Candidate]) -> None:
        stages = list(estimator.getStages()) if _may_be_cut(estimator, candidates) else [estimator]
        tuned = [[_values(stage, one) for stage in stages] for one in candidates]
        parting = [i for i in range(len(stages)) if len({values[i] for values in tuned}) > 1]
        self.depth = parting[-1] if parting else 0
        self.stages, self.candidates = stages[: self.depth], candidates
        self.rest: Any = Pipeline(stages=stages[self.depth :]) if len(stages) > 1 else estimator
        self.paths: list[Path] = [tuple(values[: self.depth]) for values in tuned]
        self.order = sorted(range(len(candidates)), key=lambda place: self.paths[place])

    @contextmanager
    def on(self, train: DataFrame, held: DataFrame) -> Iterator[Fold]:
        """Give what scores the candidates on a fold."""
        fold = Fold(self, train, held)
        try:
            yield fold
        finally:
            fold.close()


class Fold:
    """A fold, and what becomes of its rows after each prefix."""

    def __init__(self, prefixes: Prefixes, train: DataFrame, held: DataFrame) -> None:
        self._prefixes, paths, depth = prefixes, prefixes.paths, prefixes.depth
        users = Counter(path[:i] for path in paths for i in range(depth + 1))
        ways_on = Counter(path[:-1] for path in users if path)
        self._nodes = {(): _Node(None, None, {}, users[()])}
        self._nodes[()].given = train, held
        for path in sorted(filter(None, users), key=len):
            candidate = prefixes.candidates[next(i for i, whole in enumerate(paths) if whole[: len(path)] == path)]
            parted = (users if len(path) == depth else ways_on)[path] > 1
            parent, stage = self._nodes[path[:-1]], prefixes.stages[len(path) - 1]
            self._nodes[path] = _Node(parent, stage, candidate, users[path], parted=parted)

    def score(self, place: int, judge: Any) -> float:
        """Fit a candidate, and score it."""
        candidate, node = self._prefixes.candidates[place], self._nodes[self._prefixes.paths[place]]
        try:
            train, held = node.rows()
            return float(judge.evaluate(self._prefixes.rest.fit(train, candidate).transform(held, candidate)))
        finally:
            node.leave()

    def close(self) -> None:
        """Let go what is still kept, where a candidate has failed."""
        for node in self._nodes.values():
            node.let_go()


class _Node:
    """The rows of a fold after one more stage: made when somebody asks, let go when the last has left.

    Several threads ask; the first makes them, and the others wait.
    """

    def __init__(
        self, parent: _Node | None, stage: Any, candidate: Candidate, users: int, *, parted: bool = False
    ) -> None:
        self._parent, self._stage, self._candidate = parent, stage, candidate
        self._users, self._lock = users, threading.Lock()
        self._fits: bool = isinstance(stage, Estimator) or (parent is not None and parent._fits and not parent._kept)
        self._kept: bool = parted and self._fits  # to transform again is cheaper than to hold the rows twice
        self.given: Pair | None = None

    def rows(self) -> Pair:
        """Give those that are fitted on, and those that are held."""
        with self._lock:
            if self.given is None:
                assert self._parent is not None  # noqa: S101 - the root was given its rows
                self.given = self._made(*self._parent.rows())
            return self.given

    def _made(self, train: DataFrame, held: DataFrame) -> Pair:
        stage = self._stage.copy(self._candidate)
        fitted = stage.fit(train) if isinstance(stage, Estimator) else stage
        made = fitted.transform(train), fitted.transform(held, self._candidate)
        if self._kept:
            for frame in made:
                frame.persist(StorageLevel.MEMORY_AND_DISK)
        return made

    def leave(self) -> None:
        """Say that one candidate needs the rows no more."""
        with self._lock:
            self._users -= 1
        if not self._users:
            self.let_go()
        if self._parent is not None:
            self._parent.leave()

    def let_go(self) -> None:
        """Forget the rows."""
        given, self.given = self.given, None
        if self._kept:
            for frame in given or ():
                frame.unpersist()


def _may_be_cut(estimator: Any, candidates: Sequence[Candidate]) -> bool:
    """Tell whether it is a pipeline whose stages are the same for each candidate."""
    return type(estimator) is Pipeline and all(param.parent != estimator.uid for one in candidates for param in one)


def _values(stage: Any, candidate: Candidate) -> tuple[tuple[str, str, str], ...]:
    """Give what a candidate sets in a stage, or in what the stage holds."""
    own = {part.uid for part in parts(stage)}
    set_here = [(param, value) for param, value in candidate.items() if param.parent in own]
    return tuple(sorted((param.parent, param.name, repr(plain(value))) for param, value in set_here))
