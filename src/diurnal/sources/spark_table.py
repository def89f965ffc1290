"""Tables of Spark as a source, for experiments of Spark: executors read the rows, not the driver."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from string import Formatter
from types import FunctionType
from typing import TYPE_CHECKING, Any

from diurnal.errors import ExperimentError, did_you_mean
from diurnal.sources.source import Connections
from diurnal.types import DataInterval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_FIELDS = ("start", "end")


@dataclass(frozen=True)
class SparkTable:
    """A table, or a view, of a Spark catalog.

    Parameters
    ----------
    table : str
        Its name in Spark: ``"sales"``, ``"lake.sales.orders"``, or ``"parquet.`/mnt/orders`"``.
    where : str, optional
        A condition of Spark SQL, in which ``{start}`` and ``{end}`` are replaced by the instants of the data interval,
        and ``{start:%Y-%m-%d}`` by a text.

    Raises
    ------
    ExperimentError
        If the condition has other fields.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> orders = SparkTable("lake.sales.orders", where="ordered_at >= {start} and ordered_at < {end}")
    >>> orders.condition(DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)))
    "ordered_at >= TIMESTAMP '2026-11-23T00:00:00+00:00' and ordered_at < TIMESTAMP '2026-11-24T00:00:00+00:00'"
    """

    table: str
    where: str | None = None

    def __post_init__(self) -> None:
        try:
            named = [name for _, name, _, _ in Formatter().parse(self.where or "") if name is not None]
        except ValueError as error:
            raise ExperimentError(
                f"where={self.where!r} cannot be read: {error}", hint="write {{ and }} for braces"
            ) from None
        for name in named:
            if name not in _FIELDS:
                raise ExperimentError(
                    f"where={self.where!r} has the field {name!r}{did_you_mean(name, _FIELDS)}",
                    hint="use {start} and {end}, or {start:%Y-%m-%d}",
                )

    def condition(self, interval: DataInterval) -> str | None:
        """Return the condition of one data interval."""
        if self.where is None:
            return None
        return self.where.format(start=_SqlTimestamp(interval.start), end=_SqlTimestamp(interval.end))

    def frame(self, session: SparkSession, interval: DataInterval) -> DataFrame:
        """Return the rows of an interval, as a frame of Spark."""
        rows = session.table(self.table)
        condition = self.condition(interval)
        return rows if condition is None else rows.where(condition)

    def read(self, interval: DataInterval, connections: Connections) -> Any:  # noqa: ARG002 - the protocol of sources
        """Raise, since the table cannot be read without Spark."""
        raise ExperimentError(
            f"{self} is for experiments of Spark, and this one returns an estimator of another library",
            hint="return a search or an estimator of pyspark.ml, or read the rows by Files(...) or Sql(...)",
        )


@dataclass(frozen=True)
class _SqlTimestamp:
    """Formats an instant in a condition: as a TIMESTAMP of SQL, or as text if there is a format."""

    moment: datetime

    def __format__(self, form: str) -> str:
        return self.moment.strftime(form) if form else f"TIMESTAMP '{self.moment.isoformat()}'"


def takes_session(source: Any) -> bool:
    """Return whether a source is a function of a session and an interval, the first named ``session`` or ``spark``.

    Examples
    --------
    >>> takes_session(lambda session, interval: session.table("orders")), takes_session(lambda interval: [])
    (True, False)
    """
    if not isinstance(source, FunctionType):
        return False
    needed = [p for p in inspect.signature(source).parameters.values() if p.default is p.empty]
    return len(needed) == 2 and needed[0].name in ("session", "spark")


def to_frame_function(source: Any) -> Callable[[SparkSession, DataInterval], DataFrame] | None:
    """Return the function that reads a source as a frame of Spark; None if it is not a source of Spark."""
    if isinstance(source, SparkTable):
        return source.frame
    return source if takes_session(source) else None
