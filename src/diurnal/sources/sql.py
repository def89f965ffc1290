"""The result of a query as a source.

PostgreSQL is read by ADBC as a stream of ``COPY``, in constant memory. ``COPY`` has no parameters. The ends of the
interval are therefore bound to two settings of the transaction, as parameters of ``set_config``, and the query reads
these settings; no value becomes part of the text of the query. With bound parameters in the query itself, the driver
holds the whole result: a million rows took 400 MB and twice the time.

Every other database is read by SQLAlchemy, in chunks. Only the warehouse and this module import these libraries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from diurnal.errors import (
    ConfigurationError,
    DiurnalError,
    ExperimentError,
    PermissionDeniedError,
    TransientError,
    did_you_mean,
)
from diurnal.sources.files_arguments import check_timezone
from diurnal.sources.source import ROWS_PER_BATCH, Connections
from diurnal.types import DataInterval

if TYPE_CHECKING:
    import pyarrow as pa

_NAMES = ("start", "end")
_CONNECT_SECONDS = 10

# Quoted text, comments and casts (::date) are skipped; any other colon with an identifier is a name.
_TOKENS = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | :: | (?<!\w):(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)

_DENIED = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry", "invalid")

_OF_THE_QUERY = re.compile(r"ERROR:\s+(?!\s|canceling|deadlock|could not serialize|out of|could not extend)")


@dataclass(frozen=True, repr=False)
class Sql:
    """The result of a query on a named connection.

    Parameters
    ----------
    query : str
        A SELECT in which ``:start`` and ``:end`` are the ends of the data interval, as instants; in SQLite, as text
        with the local time in the timezone of the experiment.
    connection : str
        The id of the connection. The deployment defines its URI: ``postgresql://...``, or a URL of SQLAlchemy.
    timezone : str, optional
        Timezone of timestamps without timezone, such as ``"Europe/Berlin"``. They become instants.

    Raises
    ------
    ExperimentError
        If the query has another name with a colon, or there is no such timezone.

    Examples
    --------
    >>> Sql("SELECT * FROM readings WHERE at >= :start AND at < :end", connection="plant").connection
    'plant'
    """

    query: str
    connection: str
    timezone: str | None = None

    def __repr__(self) -> str:
        """Return the call that creates it, which is part of the identity of an experiment."""
        timezone = "" if self.timezone is None else f", timezone={self.timezone!r}"
        return f"Sql(query={self.query!r}, connection={self.connection!r}{timezone})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "timezone", check_timezone("timezone", self.timezone, "Sql"))
        for token in _TOKENS.finditer(self.query):
            name = token["name"]
            if name and name not in _NAMES:
                raise ExperimentError(
                    f"the query names :{name}; allowed are :start and :end{did_you_mean(name, _NAMES)}",
                    hint="write other values into the query itself",
                )

    def read(self, interval: DataInterval, connections: Connections) -> Iterator[pa.RecordBatch]:
        """Run the query and stream its result.

        Raises
        ------
        TransientError
            If the database cannot be reached.
        ConfigurationError
            If it rejects the login or the query.
        PermissionDeniedError
            If this user may not read.
        BatchRejectedError
            If a local time is ambiguous or does not exist in the timezone.
        """
        found = self._stream(interval, connections)
        return found if self.timezone is None else _localize_batches(found, self.timezone)

    def _stream(self, interval: DataInterval, connections: Connections) -> Iterator[pa.RecordBatch]:
        uri = connections[self.connection]
        if urlsplit(uri).scheme in ("postgresql", "postgres"):
            return self._read_postgresql(uri, interval)
        return self._read_with_sqlalchemy(uri, interval)

    def _read_postgresql(self, uri: str, interval: DataInterval) -> Iterator[pa.RecordBatch]:
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi as adbc

        query = _bind_names(self.query, lambda name: f"current_setting('diurnal.interval_{name}')::timestamptz")
        try:
            connection = adbc.connect(_with_timeout(uri))
        except adbc_driver_manager.Error as error:
            raise self._connection_error(uri, str(error)) from None
        try:
            with connection, connection.cursor() as cursor:
                for name in _NAMES:
                    moment = getattr(interval, name).isoformat()
                    cursor.execute("SELECT set_config($1, $2, true)", (f"diurnal.interval_{name}", moment))
                    cursor.fetchall()
                cursor.execute(query.rstrip().rstrip(";") + "\n")  # COPY appends a parenthesis
                reader = cursor.fetch_record_batch()
                batch = None
                for batch in reader:
                    yield _without_numerics(batch)
                if batch is None:
                    yield _without_numerics(_empty_batch(reader.schema))
        except adbc_driver_manager.Error as error:
            raise self._query_error(uri, str(error), error.sqlstate) from None
        except OSError as error:  # within the stream, Arrow passes the message and no SQLSTATE
            state = None if _OF_THE_QUERY.search(str(error)) else "08000"
            raise self._query_error(uri, str(error), state) from None

    def _read_with_sqlalchemy(self, uri: str, interval: DataInterval) -> Iterator[pa.RecordBatch]:
        import sqlalchemy as sa

        from diurnal.sources.python_rows import build_batches

        moments = [_interval_parameter(uri, n, getattr(interval, n)) for n in _NAMES if self._uses(n)]
        query = sa.text(_bind_names(self.query, lambda name: f":{name}", escape="\\")).bindparams(*moments)
        try:
            engine = sa.create_engine(uri)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise ConfigurationError(
                f"the connection {self.connection!r} cannot be used: {_hide_password(str(error), uri)}",
                hint="correct its URI, or install the driver that it names",
            ) from None
        try:
            connection = engine.connect()
        except sa.exc.DBAPIError as error:
            engine.dispose()
            raise self._connection_error(uri, str(error.orig)) from None
        try:
            with connection:
                result = connection.execution_options(yield_per=ROWS_PER_BATCH).execute(query)
                yield from build_batches(_result_chunks(result))
        except sa.exc.DBAPIError as error:
            raise self._query_error(uri, str(error.orig), "08000" if error.connection_invalidated else None) from None
        finally:
            engine.dispose()

    def _uses(self, name: str) -> bool:
        return any(token["name"] == name for token in _TOKENS.finditer(self.query))

    def _connection_error(self, uri: str, message: str) -> DiurnalError:
        message = _hide_password(message, uri)
        if any(text in message for text in _DENIED):
            return ConfigurationError(
                f"the connection {self.connection!r} was rejected: {message}",
                hint="correct its URI: user, password and database",
            )
        return TransientError(
            f"the connection {self.connection!r} failed: {message}",
            hint="run it again when the database can be reached",
        )

    def _query_error(self, uri: str, message: str, sqlstate: str | None) -> DiurnalError:
        """Return the error for a SQLSTATE: a temporary failure, a missing permission, or an invalid query."""
        message, state = _hide_password(message, uri), sqlstate or ""
        if state == "42501":
            return PermissionDeniedError(
                f"{self.connection!r} may not read: {message}", hint="grant its user read access"
            )
        if state[:2] in ("08", "40", "53", "57", "58"):
            return TransientError(f"{self.connection!r} failed temporarily: {message}", hint="run it again later")
        return ConfigurationError(
            f"{self.connection!r} rejects the query: {message}", hint="correct the query of Sql(...)"
        )


def _localize_batches(batches: Iterator[pa.RecordBatch], timezone: str) -> Iterator[pa.RecordBatch]:
    from diurnal.sources.timezone_columns import Localizer

    return map(Localizer(timezone).read, batches)


def _bind_names(query: str, replacement: Any, escape: str = "") -> str:
    """Replace each name by its parameter; other colons are escaped."""

    def replaced(token: re.Match[str]) -> str:
        text: str = token[0]
        return replacement(token["name"]) if token["name"] else text.replace(":", escape + ":")

    return _TOKENS.sub(replaced, query)


def _with_timeout(uri: str) -> str:
    """Return the URI with a connection timeout, unless it has one."""
    if "connect_timeout=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}connect_timeout={_CONNECT_SECONDS}"


def _hide_password(message: str, uri: str) -> str:
    """Remove the password from a message."""
    password = urlsplit(uri).password
    for secret in {password, unquote(password)} if password else ():
        message = message.replace(secret, "***")
    return " ".join(message.replace(uri, f"{urlsplit(uri).scheme}://...").split())


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _without_numerics(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Convert NUMERIC, which the driver returns as text, to floats; UUIDs and JSON to text."""
    import pyarrow as pa

    arrays = []
    for array in batch.columns:
        if isinstance(array.type, pa.OpaqueType) and array.type.type_name == "numeric":
            arrays.append(array.storage.cast(pa.float64()))
        elif isinstance(array.type, pa.JsonType):
            arrays.append(array.storage)
        elif isinstance(array.type, pa.UuidType):
            arrays.append(pa.array([None if cell is None else str(cell) for cell in array.to_pylist()], pa.string()))
        else:
            arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _result_chunks(result: Any) -> Iterator[dict[str, list[Any]]]:
    """Convert rows to chunks of columns; an empty result has one chunk, with its names."""
    names = list(result.keys())
    empty = True
    for rows in result.partitions(ROWS_PER_BATCH):
        empty = False
        yield dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    if empty:
        yield {name: [] for name in names}


def _interval_parameter(uri: str, name: str, moment: datetime) -> Any:
    """Bind an end of the interval; SQLite has no instants: it compares text in its usual format."""
    import sqlalchemy as sa

    if urlsplit(uri).scheme.startswith("sqlite"):
        form = "%Y-%m-%d %H:%M:%S.%f" if moment.microsecond else "%Y-%m-%d %H:%M:%S"
        return sa.bindparam(name, moment.strftime(form), sa.Text())
    return sa.bindparam(name, moment, sa.DateTime(timezone=True))
