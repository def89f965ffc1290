"""Putting samples that stream by together as what scikit-learn takes, with one copy of the numbers in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from diurnal.backends.sklearn.sklearn_frames import to_features, to_target


def to_matrices(
    tables: Iterable[pa.Table],
    features: list[str],
    target: str,
    *,
    expected: int,
    order: Callable[[int], npt.NDArray[np.intp]] | None = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return features and target, as :func:`matrix` and :func:`vector` do of a whole table.

    Where all features are floats, each table is let go once its cells are in the frame. Otherwise the whole table
    and the frame are in memory side by side, for a while: what a column becomes depends on all of its cells.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        At least one.
    features : list of str
        The columns of the frame.
    target : str
        The column of the vector.
    expected : int
        How many rows will come, about.
    order : callable, optional
        Gives the order of so many rows; that in which they come unless given.
    """
    tables = iter(tables)
    first = next(tables)
    whole = chain([first], tables)
    if not all(pa.types.is_float64(first.schema.field(name).type) for name in features):
        table = pa.concat_tables(whole)
        if order is not None:
            table = table.take(order(table.num_rows))
        return to_features(table, features), to_target(table, target)
    targets: list[pa.Table] = []

    def pieces() -> Iterator[npt.NDArray[np.float64]]:
        for table in whole:
            targets.append(table.select([target]))
            yield np.stack([table.column(name).to_numpy() for name in features])

    cells = _concatenate(pieces(), len(features), expected)
    y = to_target(pa.concat_tables(targets), target)
    if order is not None:
        places = order(len(y))
        y = y[places]
        for column in cells:  # one by one, so that there is no second copy of all
            column[:] = column[places]
    return pd.DataFrame(cells.T, columns=features, copy=False), y


def _concatenate(pieces: Iterable[npt.NDArray[np.float64]], n_columns: int, expected: int) -> npt.NDArray[np.float64]:
    """Join arrays of shape (n_columns, n) along their rows, as if all had been there at once."""
    room = np.empty((n_columns, max(1, expected)))
    n = 0
    for piece in pieces:
        size = piece.shape[1]
        if n + size > room.shape[1]:
            larger = np.empty((n_columns, (n + size) * 5 // 4))
            larger[:, :n] = room[:, :n]
            room = larger
        room[:, n : n + size] = piece
        n += size
    if n == room.shape[1]:
        return room
    flat = room.reshape(-1)
    for i in range(1, n_columns):  # each column moves to the end of the one before it, within the same memory
        flat[i * n : (i + 1) * n] = room[i, :n]
    return flat[: n_columns * n].reshape(n_columns, n)
