"""Conversion of columns of naive timestamps to instants."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from diurnal.data.naive_timestamps import localize_timestamps
from diurnal.data.problems import ProblemCollector


class Localizer:
    """Converts the naive timestamps of record batches to instants.

    Parameters
    ----------
    timezone : str
        Name in the tz database.

    Examples
    --------
    >>> from datetime import datetime
    >>> batch = pa.RecordBatch.from_pydict({"at": [datetime(2026, 7, 1, 12)], "n": [1]})
    >>> Localizer("Europe/Berlin").read(batch)["at"].type
    TimestampType(timestamp[us, tz=Europe/Berlin])
    """

    def __init__(self, timezone: str) -> None:
        self._timezone = timezone
        self._n_rows = 0

    def read(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert the next batch.

        Raises
        ------
        BatchRejectedError
            If a local time is ambiguous or does not exist in the timezone; with all such rows.
        """
        collector = ProblemCollector()
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name, values in columns.items():
            if is_naive_type(values.type):
                columns[name], lost = localize_column(values, self._timezone)
                for code, message, rows in lost:
                    collector.add_rows(code, f"{name}: {message}", name, rows, self._n_rows)
        collector.raise_if_any()
        self._n_rows += batch.num_rows
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def is_naive_type(data_type: pa.DataType) -> bool:
    """Return whether a type is a timestamp without timezone."""
    return bool(pt.is_timestamp(data_type) and data_type.tz is None)


def localize_column(times: pa.Array, timezone: str) -> tuple[pa.Array, list[tuple[str, str, np.ndarray]]]:
    """Convert naive timestamps; also return the faulty ones: code, message, rows."""
    values, lost = localize_timestamps(times, timezone)
    found = [(code, message, np.flatnonzero(mask)) for code, message, mask in lost]
    return values, [(code, message.format(times[int(rows[0])].as_py()), rows) for code, message, rows in found]
