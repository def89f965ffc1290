"""The rows of a request in the columns and types of a model.

A model whose columns are all numbers gets a matrix, any other one an Arrow table. JSON is decoded straight into the
types of the columns: a text is not a number, and `true` is neither. A null or a missing value is allowed where the
model predicts with one.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from diurnal.data.schema import Column, Kind, Schema, arrow_type
from diurnal.errors import BatchRejectedError, did_you_mean
from diurnal.serving.request_errors import RequestError, list_names
from diurnal.types import Limits

if TYPE_CHECKING:
    from typing import TypeAlias

    import pyarrow as pa

    Rows: TypeAlias = npt.NDArray[np.float64] | pa.Table

_DATE = r"^\d{4}-\d\d-\d\d(T00:00:00(\.0+)?)?$"  # also as clients with pandas write it
_JSON_TYPES: dict[Kind, Any] = {
    "int": float | None,
    "float": float | None,
    "bool": bool | None,
    "text": str | None,
    "date": Annotated[str, msgspec.Meta(pattern=_DATE)] | None,
    "instant": Annotated[dt.datetime, msgspec.Meta(tz=True)] | None,
    "timestamp": Annotated[dt.datetime, msgspec.Meta(tz=False)] | None,
}
_PLACE = re.compile(r" - at `\$(?:\[(?P<row>\d+|\.\.\.)\])?(?:\[(?P<index>\d+|\.\.\.)\]|\.(?P<name>.*))?`$", re.DOTALL)
_EXACT = 2**53
_TIMES = ("date", "instant", "timestamp")


class ModelInputs:
    """The columns of a model, and the decoders of rows in these columns.

    Parameters
    ----------
    columns : sequence of Mapping
        The columns of the model's signature, each with ``name``, ``kind`` and perhaps ``categories``.
    accepts_missing : sequence of bool
        For each column, whether the model predicts with a missing value.
    """

    def __init__(self, columns: Sequence[Mapping[str, Any]], accepts_missing: Sequence[bool]) -> None:
        self.names = [str(column["name"]) for column in columns]
        self.kinds: list[Kind] = [column["kind"] for column in columns]
        self.is_numeric = all(kind in ("int", "float") for kind in self.kinds)
        self.accepts_missing = np.array(accepts_missing, dtype=bool)
        self._whole = np.flatnonzero([kind == "int" for kind in self.kinds])
        self._categories = {
            column["name"]: frozenset(column["categories"])
            for column in columns
            if column["kind"] == "text" and column.get("categories")
        }
        fields = [(f"column_{i}", _JSON_TYPES[kind]) for i, kind in enumerate(self.kinds)]
        rename = {f"column_{i}": name for i, name in enumerate(self.names)}
        record = msgspec.defstruct("Record", fields, rename=rename, gc=False)
        self._records = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
        self._lists = msgspec.json.Decoder(_type_of_lists([kind_type for _, kind_type in fields]))

    def from_records(self, json: bytes | msgspec.Raw) -> Rows:
        """Decode a JSON array of objects, one for each row; members that are not columns are ignored."""
        try:
            records = self._records.decode(json)
        except msgspec.DecodeError as error:
            raise self._describe(error) from None
        return self._from_rows([msgspec.structs.astuple(record) for record in records])

    def from_lists(self, json: bytes | msgspec.Raw, names: Sequence[str] | None = None) -> Rows:
        """Decode a JSON array of arrays, one for each row, in the order of the columns or in that of `names`."""
        if names is not None and list(names) != self.names:
            return self._from_reordered_lists(json, names)
        try:
            rows = self._lists.decode(json)
        except msgspec.DecodeError as error:
            raise self._describe(error) from None
        for number, row in enumerate(rows, 1):
            if len(row) != len(self.names):
                raise RequestError(
                    f"row {number} has {len(row)} values; the model has {len(self.names)} columns",
                    row=number,
                    hint=f"send one value for each of {list_names(self.names)}, in this order",
                )
        return self._from_rows(rows)

    def from_columns(self, json: Mapping[str, msgspec.Raw]) -> Rows:
        """Decode a JSON object of arrays, one for each column; a single value stands for an array of one."""
        self.check_names(list(json))
        columns = []
        for name, kind in zip(self.names, self.kinds, strict=True):
            text = bytes(json[name]).lstrip()
            try:
                expected = _type_of_column(kind) if text[:1] == b"[" else _JSON_TYPES[kind]
                values = msgspec.json.decode(text, type=expected)
            except msgspec.DecodeError as error:
                raise self._describe(error, column=name) from None
            columns.append(values if isinstance(values, list) else [values])
        if len({*map(len, columns)}) > 1:
            raise RequestError("the columns have different numbers of values", hint="send one value for each row")
        return self._from_rows(list(zip(*columns, strict=True)))

    def from_arrow(self, batches: Iterable[pa.RecordBatch]) -> Rows:
        """Take the columns of the model from Arrow record batches; other columns are ignored."""
        import pyarrow as pa

        tables = [self._cast_batch(batch) for batch in batches]
        schema = pa.schema([(name, arrow_type(kind)) for name, kind in zip(self.names, self.kinds, strict=True)])
        table = pa.concat_tables(tables) if tables else schema.empty_table()
        if not self.is_numeric:
            return self.check_table(table)
        matrix = np.empty((len(self.names), table.num_rows))
        for place, column in enumerate(table.columns):
            matrix[place] = column.to_numpy()
        return self.check_matrix(matrix.T)

    def from_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Rows:
        """Take one array of values for each column."""
        import pyarrow as pa

        self.check_names(list(arrays))
        if len({len(arrays[name]) for name in self.names}) > 1:
            raise RequestError("the columns have different numbers of values", hint="send one value for each row")
        if self.is_numeric and all(arrays[name].dtype.kind in "fiu" for name in self.names):
            return self.check_matrix(np.array([arrays[name] for name in self.names], dtype=np.float64).T)
        try:
            batch = pa.record_batch(
                {
                    name: self._to_arrow(arrays[name].tolist(), name, kind)
                    for name, kind in zip(self.names, self.kinds, strict=True)
                }
            )
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise RequestError("a column has values of several types", hint="send values of one type") from None
        return self.from_arrow([batch])

    def check_names(self, names: list[str]) -> None:
        """Reject names of columns that are repeated or incomplete."""
        if missing := [name for name in self.names if name not in names]:
            raise RequestError(
                f"missing columns: {list_names(missing)}{did_you_mean(missing[0], names)}",
                column=missing[0],
                hint=f"the model has the columns {list_names(self.names)}",
            )
        if len({*names}) < len(names):
            raise RequestError("a column is given twice", hint="send each column once")

    def check_matrix(self, X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Reject values that the columns or the model do not allow."""
        finite = np.isfinite(X)
        if not finite.all():
            bad = ~finite & ~(self.accepts_missing & np.isnan(X))
            if bad.any():
                raise self._value_error("is missing, null or infinite, and the model needs a number", bad)
        if len(self._whole):
            whole = X[:, self._whole]
            bad = np.zeros(X.shape, dtype=bool)
            bad[:, self._whole] = (whole != np.rint(whole)) & ~np.isnan(whole)
            if bad.any():
                raise self._value_error("has a fraction, and the column has whole numbers", bad)
        return X

    def check_table(self, table: pa.Table) -> pa.Table:
        """Reject values that the model does not allow."""
        for place, column in enumerate(table.columns):
            if column.null_count and not self.accepts_missing[place]:
                row = int(np.flatnonzero(column.is_null())[0]) + 1
                raise self._cell_error("is missing or null, and the model needs a value", row, place)
        return table

    def count_unseen(self, rows: Rows) -> dict[str, int]:
        """Return for each column of text the number of cells whose category the contract does not have."""
        if isinstance(rows, np.ndarray) or not self._categories:
            return {}
        counts = {
            name: sum(value is not None and value not in known for value in rows.column(name).to_pylist())
            for name, known in self._categories.items()
        }
        return {name: count for name, count in counts.items() if count}

    def _from_rows(self, rows: Sequence[Sequence[Any]]) -> Rows:
        if self.is_numeric:
            X = np.array(rows, dtype=np.float64)
            return self.check_matrix(X if len(rows) else X.reshape(0, len(self.names)))
        import pyarrow as pa

        columns = list(zip(*rows, strict=True)) or [()] * len(self.names)
        arrays = []
        for place, (kind, given) in enumerate(zip(self.kinds, columns, strict=True)):
            values = self._convert(given, place)
            try:
                arrays.append(pa.array(values, type=arrow_type(kind)))
            except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
                raise RequestError(
                    f"{self.names[place]} ({kind}) has a value outside of the range of its type",
                    column=self.names[place],
                ) from None
        return self.check_table(pa.table(arrays, names=self.names))

    def _to_arrow(self, values: list[Any], name: str, kind: Kind) -> pa.Array:
        """Return the values of a tensor, which has no type for dates and times: they are texts, as in JSON."""
        import pyarrow as pa

        if kind not in _TIMES or not all(isinstance(value, str) for value in values):
            return pa.array(values)
        try:
            converted = msgspec.convert(values, _type_of_column(kind))
        except msgspec.ValidationError as error:
            raise self._describe(error, column=name) from None
        return pa.array(self._convert(converted, self.names.index(name)), type=arrow_type(kind))

    def _from_reordered_lists(self, json: bytes | msgspec.Raw, names: Sequence[str]) -> Rows:
        self.check_names(list(names))
        try:
            rows = msgspec.json.decode(json, type=list[list[msgspec.Raw]])
        except msgspec.DecodeError as error:
            raise self._describe(error) from None
        for number, row in enumerate(rows, 1):
            if len(row) != len(names):
                raise RequestError(f"row {number} has {len(row)} values for {len(names)} columns", row=number)
        places = [list(names).index(name) for name in self.names]
        reordered = b",".join(b"[" + b",".join(bytes(row[place]) for place in places) + b"]" for row in rows)
        return self.from_lists(b"[" + reordered + b"]")

    def _convert(self, values: Sequence[Any], place: int) -> Sequence[Any]:
        """Return decoded values of a column in the types that Arrow takes."""
        if self.kinds[place] == "int":
            return self._to_integers(values, place)
        return self._to_dates(values, place) if self.kinds[place] == "date" else values

    def _to_dates(self, values: Sequence[str | None], place: int) -> list[dt.date | None]:
        dates = []
        for number, value in enumerate(values, 1):
            try:
                dates.append(None if value is None else dt.date.fromisoformat(value[:10]))
            except ValueError:
                raise self._cell_error("is not a date of the calendar", number, place) from None
        return dates

    def _to_integers(self, values: Sequence[float | None], place: int) -> list[int | None]:
        for number, value in enumerate(values, 1):
            if value is not None and (value != int(value) or abs(value) > _EXACT):
                raise self._cell_error("has a fraction, and the column has whole numbers", number, place)
        return [None if value is None else int(value) for value in values]

    def _cast_batch(self, batch: pa.RecordBatch) -> pa.Table:
        import pyarrow as pa

        self.check_names([name for name in batch.schema.names if name in self.names])
        selected = pa.Table.from_batches([batch]).select(self.names)
        if all(field.type == arrow_type(kind) for field, kind in zip(selected.schema, self.kinds, strict=True)):
            return selected
        from diurnal.data import BatchValidator

        limits = Limits(extra="ignore", max_null=1.0, allow_empty=True)
        try:
            casted = list(BatchValidator(self._schema, limits, training=False).validate(selected.to_batches()))
        except BatchRejectedError as error:
            raise _from_rejection(error) from None
        return pa.Table.from_batches(casted) if casted else selected.slice(0, 0).cast(self._schema_of_features)

    @cached_property
    def _schema(self) -> Schema:
        target = "target"
        while target in self.names:
            target += "_"
        columns = [Column(name, kind) for name, kind in zip(self.names, self.kinds, strict=True)]
        return Schema((*columns, Column(target, "float")), target=target)

    @cached_property
    def _schema_of_features(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([(name, arrow_type(kind)) for name, kind in zip(self.names, self.kinds, strict=True)])

    def _value_error(self, problem: str, bad: npt.NDArray[np.bool_]) -> RequestError:
        row, place = (int(index) for index in np.argwhere(bad)[0])
        return self._cell_error(problem, row + 1, place)

    def _cell_error(self, problem: str, row: int, place: int) -> RequestError:
        name, kind = self.names[place], self.kinds[place]
        return RequestError(
            f"row {row}: {name[:200]} ({kind}) {problem}",
            row=row,
            column=name[:200],
            hint=f"send a value of the type {kind}" if kind != "float" else "send a number",
        )

    def _describe(self, error: msgspec.DecodeError, column: str | None = None) -> RequestError:
        """Describe an error of the decoder: it names types, and the place of the value."""
        place = _PLACE.search(str(error))
        if place is None:
            if isinstance(error, msgspec.ValidationError):
                return RequestError(
                    f"the rows do not have the expected form: {_types_of(error)}",
                    hint="send an array of objects, or an array of arrays",
                )
            return RequestError("the request is not valid JSON", hint="send JSON in UTF-8, without NaN and Infinity")
        row, index, name = place["row"], place["index"], place["name"]
        if column is None and index is not None and index.isdecimal() and int(index) < len(self.names):
            column = self.names[int(index)]
        missing = re.match(r"Object missing required field `(.*?)`(?: - at `|$)", str(error), re.DOTALL)
        column = missing[1] if missing else column or name
        number = int(row) + 1 if row is not None and row.isdecimal() else None
        where = f"row {number}: " if number else ""
        if column not in self.names:
            return RequestError(
                f"{where}{_types_of(error)}", row=number, hint=f"the columns are {list_names(self.names)}"
            )
        kind = self.kinds[self.names.index(column)]
        problem = "is missing" if missing else f"has a value of another type: {_types_of(error)}"
        return RequestError(
            f"{where}{column[:200]} ({kind}) {problem}",
            row=number,
            column=column[:200],
            hint=f"the columns are {list_names(self.names)}" if missing else f"send a value of the type {kind}",
        )


def _type_of_lists(types: Sequence[Any]) -> Any:
    """Return the type of an array of rows, each of them an array of values of some types."""
    first = types[0]
    is_uniform = all(one == first for one in types)
    row: Any = list.__class_getitem__(first) if is_uniform else tuple.__class_getitem__(tuple(types))
    return list.__class_getitem__(row)


def _type_of_column(kind: Kind) -> Any:
    return list.__class_getitem__(_JSON_TYPES[kind])


def _types_of(error: msgspec.DecodeError) -> str:
    """Return the sentence of the decoder about types, which contains no value."""
    text = str(error).split(" - at `")[0]
    known = re.match(r"(Expected `[^`]{1,80}`, got `[^`]{1,40}`|Expected `array` of length \d+(, got \d+)?)", text)
    return known[0].replace("`", "") if known else "a value is not valid for its type"


def _from_rejection(error: BatchRejectedError) -> RequestError:
    problem = error.problems[0]
    row = problem.rows[0] if problem.rows else None
    where = f"row {row}: " if row else ""
    return RequestError(
        f"{where}{problem.column or 'the rows'}: {problem.code}",
        row=row,
        column=problem.column,
        hint="send each column in its type; see the schema of this endpoint in /openapi.json",
    )
