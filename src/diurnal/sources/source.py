"""The protocol of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from diurnal.types import DataInterval

Connections = Mapping[str, str]
"""From the id of a connection to its URI. The mapping itself raises ConfigurationError for an id that it lacks.

Relative paths are relative to its attribute `project`, a folder; to the working directory if it has no such attribute.
"""

ROWS_A_BATCH = 65_536
BYTES_A_BATCH = 64 * 2**20
"""Wide rows come in smaller batches."""

MOST_BYTES = 64 * 2**30


@runtime_checkable
class Source(Protocol):
    """Gives the rows of a data interval.

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
            Which rows. The same interval should give the same rows whenever it is asked for.
        connections : Mapping of str to str
            From the id of a connection to its URI.

        Returns
        -------
        object
            A frame of pandas or polars, an Arrow table, batch or reader, or an iterable of record batches.
        """
        ...
