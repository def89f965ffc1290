"""The key of one sample: parsed from text, and compared with rows of any version of the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from diurnal.data.schema import Column, Kind, Schema, arrow_type
from diurnal.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

ROW_HASH = "row_hash"
"""The name of the hash of a row, which stands for a key where none is declared."""


@dataclass(frozen=True)
class SampleKey:
    """The values that identify a sample of an experiment.

    Attributes
    ----------
    schema : Schema
        The newest version of the contract.
    experiment : str
        Name of the experiment: hashes of rows depend on it.
    values : Mapping of str to object
        By column of the key, in its kind. Without a key: ``row_hash``, as in the view of the predictions.

    Examples
    --------
    >>> import pyarrow as pa
    >>> schema = Schema((Column("shop", "text"), Column("day", "date"), Column("sold", "int")), "sold", ("shop", "day"))
    >>> key = SampleKey.parse(schema, "sales", ["shop=a", "day=2026-11-23"])
    >>> str(key)
    'shop=a day=2026-11-23'
    >>> key.find(pa.table({"shop": ["b", "a"], "day": pa.array([date(2026, 11, 23)] * 2)})).tolist()
    [False, True]
    """

    schema: Schema
    experiment: str
    values: Mapping[str, Any]

    @classmethod
    def parse(cls, schema: Schema, experiment: str, texts: Sequence[str]) -> SampleKey:
        """Parse ``VALUE`` for a key of one column, or ``COLUMN=VALUE`` for each column.

        Raises
        ------
        UsageError
            If a column is missing or unknown, or a value does not have its kind.
        """
        names = _key_names(schema)
        if len(names) == 1 and len(texts) == 1 and not texts[0].startswith(f"{names[0]}="):
            return cls.of(schema, experiment, texts[0])
        pairs = [text.partition("=") for text in texts]
        if any(not equals for _, equals, _ in pairs) or sorted(name for name, _, _ in pairs) != sorted(names):
            raise _wrong_columns(schema, names, " ".join(texts))
        return cls.of(schema, experiment, {name: value for name, _, value in pairs})

    @classmethod
    def of(cls, schema: Schema, experiment: str, key: Any) -> SampleKey:
        """Return the key with a value, or with a mapping from columns to values.

        Raises
        ------
        UsageError
            As :meth:`parse`.
        """
        names = _key_names(schema)
        given = key if isinstance(key, Mapping) else {names[0]: key}
        if set(given) != set(names):
            raise _wrong_columns(schema, names, " ".join(map(str, given)) if isinstance(key, Mapping) else str(key))
        kinds = {column.name: column.kind for column in key_columns(schema)}
        return cls(schema, experiment, {name: _to_kind(name, given[name], kinds[name]) for name in names})

    @property
    def columns(self) -> list[str]:
        """The columns of a batch that identify a sample, as the contract names them."""
        return list(self.schema.identity)

    def find(self, rows: pa.RecordBatch | pa.Table) -> npt.NDArray[Any]:
        """Return which rows have the key.

        Parameters
        ----------
        rows : pyarrow.RecordBatch or pyarrow.Table
            With :attr:`columns` at least, in the newest version of the contract.

        Returns
        -------
        numpy.ndarray of bool, shape (n_rows,)
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.schema.key:
            return np.asarray(self.hashes(rows).view(np.int64) == self.values[ROW_HASH])
        found = np.ones(rows.num_rows, dtype=bool)
        for name, value in self.values.items():
            cells = rows.column(name)
            equal = pc.fill_null(pc.equal(cells, pa.scalar(value, cells.type)), False)
            found &= equal.to_numpy(zero_copy_only=False) if isinstance(equal, pa.Array) else equal.to_numpy()
        return found

    def hashes(self, rows: pa.RecordBatch | pa.Table) -> npt.NDArray[Any]:
        """Return the hash of the identity of each row."""
        from diurnal.data.row_identity import identity_hasher

        return identity_hasher(self.schema, self.experiment)(rows)

    @property
    def hash(self) -> int:
        """The hash of the sample, by which the rows of a package are sorted."""
        import pyarrow as pa

        if not self.schema.key:
            return int(self.values[ROW_HASH]) % 2**64
        columns = {c.name: pa.array([self.values[c.name]], arrow_type(c.kind)) for c in key_columns(self.schema)}
        return int(self.hashes(pa.table(columns))[0])

    def __str__(self) -> str:
        if len(self.values) == 1:
            return str(next(iter(self.values.values())))
        return " ".join(f"{name}={value}" for name, value in self.values.items())


def key_columns(schema: Schema) -> tuple[Column, ...]:
    """Return the columns of the key; of an experiment without one, the hash of a row."""
    return tuple(schema.column(name) for name in schema.key) or (Column(ROW_HASH, "int"),)


def _key_names(schema: Schema) -> list[str]:
    return [column.name for column in key_columns(schema)]


def _wrong_columns(schema: Schema, names: Sequence[str], given: str) -> UsageError:
    what = "the key" if schema.key else "without a key, a row is found by its hash: the key"
    usage = "VALUE" if len(names) == 1 else " ".join(f"{name}=VALUE" for name in names)
    return UsageError(f"{what} has the columns {', '.join(names)}; given: {given!r}", hint=f"write {usage}")


def _to_kind(name: str, value: Any, kind: Kind) -> Any:
    """Return a value in the kind of its column."""
    import pyarrow as pa

    try:
        parsed = _PARSERS[kind](value) if isinstance(value, str) else value
        return pa.scalar(parsed, arrow_type(kind)).as_py()
    except (ValueError, KeyError, TypeError, OverflowError, pa.ArrowException):
        message = f"the column {name} of the key has the kind {kind}; given: {value!r}"
        raise UsageError(message, hint=f"write a value such as {_EXAMPLES[kind]}") from None


def _parse_instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


_PARSERS: dict[Kind, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "text": str,
    "date": date.fromisoformat,
    "instant": _parse_instant,
    "timestamp": datetime.fromisoformat,
}
_EXAMPLES: dict[Kind, str] = {
    "int": "42",
    "float": "1.5",
    "bool": "true",
    "text": "a text",
    "date": "2026-11-23",
    "instant": "2026-11-23T08:00:00+00:00",
    "timestamp": "2026-11-23T08:00:00",
}
