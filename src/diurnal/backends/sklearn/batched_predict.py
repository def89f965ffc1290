"""Evaluation data that are streamed through memory a chunk at a time.

Only the target and the predictions of models stay in memory, a few bytes for each sample, so that the rows need not fit
in memory. A scorer gets a proxy of the model, which returns the predictions of all chunks, and a placeholder of the
rows. A scorer that reads rows (a callable of the user) gets all of them in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, wraps
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.metrics import accuracy_score, r2_score

from diurnal.backends.protocol import Scores
from diurnal.backends.sklearn.fit_metadata import NO_METADATA, FitMetadata, MetadataCollector
from diurnal.backends.sklearn.matrices import to_matrices
from diurnal.backends.sklearn.metadata_requests import default_scorer_name
from diurnal.backends.sklearn.sklearn_frames import to_target
from diurnal.errors import ExperimentError

FEW_CELLS = 2**24  # rows times features: 128 MiB of numbers, as in a part of a package
MAX_CATEGORY_COLUMNS = 20
_METRICS: dict[str | None, Callable[..., float]] = {"accuracy": accuracy_score, "r2": r2_score}
_ANSWERS = ("predict", "predict_proba", "predict_log_proba", "decision_function")

Score = Callable[[Any, Any, np.ndarray, FitMetadata], Scores]


class BatchedData:
    """Samples that can be read again and again.

    Parameters
    ----------
    tables : callable
        Returns the rows, as tables with the given columns and the target.
    features : sequence of str
        The features.
    target : str
        The column that models predict.
    beside : callable, optional
        Creates a collector of the metadata columns, for each pass over the rows.
    few : int, optional
        Number of cells (rows times features) up to which the samples are one chunk, which stays in memory. Of more
        samples, a chunk has a quarter of that.
    """

    def __init__(
        self,
        tables: Callable[[Sequence[str]], Iterator[pa.Table]],
        features: Sequence[str],
        target: str,
        *,
        beside: Callable[[], MetadataCollector] | None = None,
        few: int | None = None,
    ) -> None:
        self._tables, self._features, self._target = tables, list(features), target
        self._make_beside = beside
        self._few = (few or FEW_CELLS) // max(1, len(self._features))
        self._most = max(1, self._few // 4)
        self._types: dict[str, str] | None = None
        self._answered: dict[tuple[int, str], tuple[Any, np.ndarray]] = {}

    @property
    def features(self) -> list[str]:
        """The names of the columns that models are given."""
        return self._features

    @cached_property
    def _labels(self) -> tuple[np.ndarray, FitMetadata, np.ndarray | None]:
        """The target, what is beside it, and the places of the rows in their order, unless they come so."""
        tables = self._tables(())
        beside = None if self._make_beside is None else self._make_beside()
        read = [to_target(table, self._target) for table in (tables if beside is None else beside.passing(tables))]
        y = np.concatenate(read) if read else np.zeros(0)
        if beside is None or not len(y):
            return y, NO_METADATA, None
        order = beside.order(len(y)) if beside.orders else None
        return y if order is None else y[order], beside.needs(), order

    @property
    def y(self) -> np.ndarray:
        """The target."""
        return self._labels[0]

    @property
    def needs(self) -> FitMetadata:
        """What is given to a score beside X and y."""
        return self._labels[1]

    @property
    def _order(self) -> np.ndarray | None:
        return self._labels[2]

    @property
    def n_rows(self) -> int:
        """How many samples."""
        return len(self.y)

    @property
    def is_small(self) -> bool:
        """Whether all of them are one chunk."""
        return self.n_rows <= self._few

    @cached_property
    def _small(self) -> tuple[pd.DataFrame, np.ndarray]:
        return self._whole()

    def _whole(self) -> tuple[pd.DataFrame, np.ndarray]:
        order = self._order
        places = None if order is None else lambda _: order
        tables = self._tables(self._features)
        return to_matrices(tables, self._features, self._target, expected=self.n_rows, order=places)

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Return the features, chunk by chunk."""
        if self.is_small:
            yield self._small[0]
            return
        waiting: list[pa.Table] = []
        for table in self._tables(self._features):
            for piece in _split_table(table, self._most):
                if sum(one.num_rows for one in waiting) + piece.num_rows > self._most:
                    yield self._frame(waiting)
                    waiting = []
                waiting.append(piece)
        if waiting:
            yield self._frame(waiting)

    def _frame(self, tables: list[pa.Table]) -> pd.DataFrame:
        n_rows = sum(table.num_rows for table in tables)
        frame = to_matrices(tables, self._features, self._target, expected=n_rows)[0]
        types = self._types_by_holes(tables[0].schema)
        return frame.astype(types) if types else frame

    def _types_by_holes(self, schema: pa.Schema) -> dict[str, str]:
        """Return the types of integers and booleans that lack a cell in some chunk, as they then are in all of them."""
        if self._types is None:
            estimator = {name: "float64" for name in self._features if pa.types.is_integer(schema.field(name).type)}
            estimator |= {name: "object" for name in self._features if pa.types.is_boolean(schema.field(name).type)}
            holed: set[str] = set()
            for table in self._tables(list(estimator)) if estimator else ():
                holed |= {name for name in estimator if table.column(name).null_count}
            self._types = {name: estimator[name] for name in holed}
        return self._types

    def answers(self, model: Any, method: str = "predict") -> np.ndarray:
        """Return the predictions of a model for all samples; they are computed once."""
        asked = (id(model), method)
        if asked not in self._answered:
            said = np.concatenate([np.asarray(getattr(model, method)(chunk)) for chunk in self.chunks()])
            in_order = self.is_small or self._order is None
            self._answered[asked] = model, said if in_order else said[self._order]
        return self._answered[asked][1]

    def rows(self, places: np.ndarray) -> pd.DataFrame:
        """Return the features of the samples at some places, and no more of them at once."""
        if self.is_small:
            return self._small[0].iloc[places]
        wanted = places if self._order is None else self._order[places]
        ascending, found, start = np.sort(wanted), [], 0
        for chunk in self.chunks():
            within = ascending[(ascending >= start) & (ascending < start + len(chunk))]
            found.append(chunk.iloc[within - start])
            start += len(chunk)
            if not len(ascending) or start > ascending[-1]:
                break
        return pd.concat(found, ignore_index=True).iloc[np.argsort(np.argsort(wanted, kind="stable"), kind="stable")]

    def sample_places(self, most: int) -> np.ndarray:
        """Return the ascending positions of at most so many samples, whose rows are read quickly.

        They are random; of samples that come in the order of their hashes, those of the first chunk are.
        """
        n_rows = self.n_rows if self.is_small or self._order is not None else min(self.n_rows, self._most)
        if n_rows <= most:
            return np.arange(n_rows)
        return np.sort(np.random.default_rng(0).choice(n_rows, most, replace=False))

    def category_columns(self) -> Iterator[tuple[str, pd.Series]]:
        """Yield the first features of text and truth values; they are read one by one unless all are in memory."""
        first = next(self.chunks())
        names = [name for name in self._features if first[name].dtype.kind in "Ob"]
        for name in names[:MAX_CATEGORY_COLUMNS]:
            if self.is_small:
                yield name, first[name]
                continue
            whole = pa.concat_tables(table.select([name]) for table in self._tables([name]))
            column = whole.column(0).dictionary_encode().to_pandas()
            yield name, column if self._order is None else column.iloc[self._order]

    def scores(self, score: Score, model: Any) -> Scores:
        """Return all scores of a fitted model."""
        rows = LazyRows()
        with suppress(ExperimentError):  # it wants more of the model, or the rows themselves
            found = score(CachedPredictor(model, self), rows, self.y, self.needs)
            if not was_materialized(rows):
                return found
        return score(model, *(self._small if self.is_small else self._whole()), self.needs)


class CachedPredictor:
    """Proxy of a fitted model for a scorer: it returns predictions that were computed before."""

    def __init__(self, model: Any, stream: Any) -> None:
        self._model, self._stream = model, stream

    @property  # type: ignore[misc] # read-only: `isinstance` reads it
    def __class__(self) -> type:
        return type(self._model)

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the model, except for methods that predict."""
        own = getattr(self._model, name)
        if name == "score":
            return self._score
        if name not in _ANSWERS:
            return own

        @wraps(own)  # scikit-learn asks methods for their names
        def answer(rows: Any) -> np.ndarray:
            return self._answer(name, rows)

        return answer

    def _answer(self, method: str, rows: Any) -> np.ndarray:
        if type(rows) is not LazyRows:
            return np.asarray(getattr(self._model, method)(rows))
        return np.asarray(self._stream.answers(self._model, method))

    def _score(self, rows: Any, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        judge = _METRICS.get(default_scorer_name(self._model))
        if judge is None:
            return float(self._model.score(rows, y))
        return float(judge(y, self._answer("predict", rows), sample_weight=sample_weight))


class LazyRows:
    """Placeholder of rows: any access raises, and is recorded, as a scorer may catch the error."""

    looked_at = False

    def _refuse(self, *asked: Any) -> NoReturn:
        object.__setattr__(self, "looked_at", True)
        raise TypeError(f"the rows are not here: {asked}")

    __getattribute__ = __getitem__ = __iter__ = __len__ = _refuse


def was_materialized(rows: LazyRows) -> bool:
    """Return whether rows were accessed."""
    return bool(object.__getattribute__(rows, "looked_at"))


def _split_table(table: pa.Table, most: int) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, most):
        yield table.slice(start, most)
