"""The protocol of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from diurnal.types import DataInterval

Connections = Mapping[str, str]
"""From the id of a connection to its URI. The mapping raises ConfigurationError for an unknown id.

Relative paths are relative to its attribute `project`, a folder; to the working directory if it has no such attribute.
"""

ROWS_PER_BATCH = 65_536
BYTES_PER_BATCH = 64 * 2**20
"""Batches of wide rows have fewer rows."""

MOST_BYTES = 64 * 2**30


@runtime_checkable
class Source(Protocol):
    """Returns the rows of a data interval.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from diurnal.sources import record_batches
    >>> from datetime import UTC, datetime
    >>> @dataclass(frozen=True)
    ... class Tides:
    ...     harbour: str
    ...     def read(self, interval, connections):
    ...         import pandas as pd
    ...         hours = pd.date_range(interval.start, interval.end, freq="6h", inclusive="left")
    ...         return pd.DataFrame({"at": hours, "harbour": self.harbour, "height": [1.2, 3.4, 1.1, 3.5]})
    >>> day = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
    >>> [batch.num_rows for batch in record_batches(Tides("Hamburg"), day, connections={})]
    [4]
    """

    def read(self, interval: DataInterval, connections: Connections) -> Any:
        """Return the rows of an interval.

        Parameters
        ----------
        interval : DataInterval
            The data interval. The rows of an interval should be the same in each call.
        connections : Mapping of str to str
            From the id of a connection to its URI.

        Returns
        -------
        object
            A frame of pandas or polars, an Arrow table, batch or reader, or an iterable of record batches.
        """
        ...
