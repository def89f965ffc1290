"""Statistics of the columns that clients send, beside those that the model was trained on.

Of each model, at most 1,024 rows a second are looked at, all together once in a second: the cost of a request does not
depend on the number of columns, and the memory not on the number of requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.served_model import ServedModel

MAX_ROWS, MAX_CELLS = 1024, 2**17  # that are looked at in a second
MAX_COLUMNS = 200
_SECONDS = 1.0
_MAX_DEVIATION = 1e3  # one wrong value must not hide all others in a sum


@dataclass(frozen=True)
class ColumnCounts:
    """What the rows of a second have in one column.

    Attributes
    ----------
    n_values, n_missing : int
        The cells with and without a value.
    n_outside : int
        The values below or above all those that the model was trained on.
    above, below : float
        The sums of the deviations from the mean of the training, in standard deviations of the training, of the values
        above and below this mean. Both are positive.
    """

    n_values: int
    n_missing: int
    n_outside: int = 0
    above: float = 0.0
    below: float = 0.0


class InputMonitor:
    """Counts the cells of requests.

    Parameters
    ----------
    report : callable
        Called with the name of an experiment and the counts of its columns, once in a second.
    """

    def __init__(self, report: Callable[[str, Mapping[str, ColumnCounts]], None]) -> None:
        self._report = report
        self._samples: WeakKeyDictionary[ServedModel, _Sample] = WeakKeyDictionary()

    def observe(self, model: ServedModel, rows: Rows) -> None:
        """Take rows of a request, in the thread of the event loop."""
        sample = self._samples.get(model)
        if sample is None:
            sample = self._samples[model] = _Sample(model)
        if sample.is_full:
            return
        if not sample.n_rows and len(rows):
            asyncio.get_running_loop().call_later(_SECONDS, self._flush, sample)
        sample.add(rows)

    def flush(self) -> None:
        """Report all rows that were taken so far."""
        for sample in list(self._samples.values()):
            self._flush(sample)

    def _flush(self, sample: _Sample) -> None:
        if sample.n_rows:
            self._report(sample.experiment, sample.count())


class _Sample:
    """The rows of the present second, as numbers: other columns are 0, or NaN where they have no value."""

    def __init__(self, model: ServedModel) -> None:
        self.experiment, self.n_rows, self.is_full = model.experiment, 0, False
        inputs, ranges = model.inputs, model.training_ranges
        self._names = inputs.names[:MAX_COLUMNS]
        self._is_number = [kind in ("int", "float") for kind in inputs.kinds[:MAX_COLUMNS]]
        columns = zip(self._names, self._is_number, strict=True)
        known = [ranges.get(name) if is_number else None for name, is_number in columns]
        self._least, self._largest, self._mean, self._std = (
            np.array([np.nan if one is None else float(one[key]) for one in known])
            for key in ("min", "max", "mean", "std")
        )
        self._std[self._std == 0] = np.nan  # any other value is outside, and by no number of deviations
        size = max(16, min(MAX_ROWS, MAX_CELLS // max(1, len(self._names))))
        self._cells = np.empty((size, len(self._names)))

    def add(self, rows: Rows) -> None:
        """Copy rows, as many as there is room for; of more rows, every second or third one and so on."""
        room = len(self._cells) - self.n_rows
        step = -(-len(rows) // room)
        n_taken = len(range(0, len(rows), max(1, step)))
        place = self._cells[self.n_rows : self.n_rows + n_taken]
        if isinstance(rows, np.ndarray):
            place[:] = rows[:: max(1, step), : len(self._names)]
        else:
            self._copy_table(rows, max(1, step), place)
        self.n_rows += n_taken
        self.is_full = self.n_rows == len(self._cells)

    def count(self) -> dict[str, ColumnCounts]:
        """Return the counts of each column, and forget the rows."""
        cells = self._cells[: self.n_rows]
        self.n_rows, self.is_full = 0, False
        is_missing = np.isnan(cells)
        n_missing = is_missing.sum(axis=0)
        with np.errstate(invalid="ignore", over="ignore"):
            n_outside = ((cells < self._least) | (cells > self._largest)).sum(axis=0)
            deviations = np.clip((cells - self._mean) / self._std, -_MAX_DEVIATION, _MAX_DEVIATION)
        deviations[~np.isfinite(deviations)] = 0.0
        above, below = (np.where(side, np.abs(deviations), 0).sum(axis=0) for side in (deviations > 0, deviations < 0))
        columns = zip(self._names, (len(cells) - n_missing).tolist(), n_missing.tolist(), strict=True)
        sums = zip(n_outside.tolist(), above.tolist(), below.tolist(), strict=True)
        return {name: ColumnCounts(n, missing, *rest) for (name, n, missing), rest in zip(columns, sums, strict=True)}

    def _copy_table(self, rows: Any, step: int, place: npt.NDArray[np.float64]) -> None:
        taken = rows.take(np.arange(0, len(rows), step))
        for i, is_number in enumerate(self._is_number):
            column = taken.column(i)
            if is_number:
                place[:, i] = column.to_numpy()
            else:
                place[:, i] = np.where(column.is_null(), np.nan, 0.0)
