"""The schema that the first batch of an experiment fixes.

The module imports no pyarrow before :attr:`Schema.arrow_schema` is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from diurnal.data.fit_columns import NO_METADATA, Metadata

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["int", "float", "bool", "text", "date", "instant", "timestamp"]
Task = Literal["classification", "regression"]
Duplicates = Literal["drop", "keep"]

KINDS: tuple[Kind, ...] = ("int", "float", "bool", "text", "date", "instant", "timestamp")

UNTYPED = {b"diurnal.untyped": b"1"}
"""The metadata of an Arrow schema whose columns are all text because their source knows no types."""


def arrow_type(kind: Kind) -> pa.DataType:
    """Return the Arrow type of a kind."""
    import pyarrow as pa

    types: dict[str, pa.DataType] = {
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "text": pa.string(),
        "date": pa.date32(),
        "instant": pa.timestamp("us", "UTC"),
        "timestamp": pa.timestamp("us"),
    }
    return types[kind]


@dataclass(frozen=True)
class Column:
    """One column of a schema.

    Attributes
    ----------
    name : str
        Its name.
    kind : str
        One of :data:`KINDS`.
    nullable : bool
        Whether it held nulls in the first batch.
    categories : tuple of str, optional
        The distinct values of a feature of text in the first batch, sorted; None where they were more than 1,000.
    null_share : float, optional
        The fraction of nulls in the first batch, from 0 to 1; older contracts do not have it.
    former : tuple of str
        The names that it had in earlier versions of the contract, oldest first.
    """

    name: str
    kind: Kind
    nullable: bool = True
    categories: tuple[str, ...] | None = None
    null_share: float | None = None
    former: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """The name that it had first: it stays the same through all versions of a contract."""
        return self.former[0] if self.former else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """All names that it has had, the present one first."""
        return (self.name, *reversed(self.former))


@dataclass(frozen=True)
class Schema:
    """The columns of the batches of an experiment, and their roles.

    Attributes
    ----------
    columns : tuple of Column
        In the order of the first batch.
    target : str
        The column to predict.
    key, drop : tuple of str
        The columns that identify a sample, and those that are stored and are no features.
    task : str
        ``"classification"`` or ``"regression"``.
    classes : tuple, optional
        The labels of the first batch, sorted; None for a regression. A single label is completed by the first batch
        with another one.
    duplicates : str
        Without a key: ``"drop"`` if equal rows are one sample, ``"keep"`` if each row is a sample.
    metadata : Metadata
        The columns with groups, weights, and what orders rows.
    gone : tuple of Column
        Columns of earlier versions of the contract that batches no longer have.
    origins : tuple of (str, str)
        After a change of columns: the first name and the first kind of each column that identifies a sample. The role
        of a row is a hash of these columns, so that it stays the same through all versions.

    Examples
    --------
    >>> schema = Schema((Column("id", "int"), Column("age", "float"), Column("ill", "bool")), "ill", key=("id",))
    >>> schema.features
    ('age',)
    >>> Schema.from_dict(schema.to_dict()) == schema
    True
    """

    columns: tuple[Column, ...]
    target: str
    key: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    task: Task = "classification"
    classes: tuple[Any, ...] | None = None
    duplicates: Duplicates = "drop"
    metadata: Metadata = NO_METADATA
    gone: tuple[Column, ...] = ()
    origins: tuple[tuple[str, Kind], ...] = ()

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of a checked batch; every field may be null, for the contract itself bounds nulls."""
        import pyarrow as pa

        return pa.schema([(column.name, arrow_type(column.kind)) for column in self.columns])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """The columns that identify a sample: the key, or the features of the first batch."""
        if not self.origins:
            return self.key or self.features
        now = {column.root: column.name for column in self.all_columns}
        return tuple(now[root] for root, _ in self.origins)

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The columns of all versions of the contract: those that batches have, then those that are gone."""
        return (*self.columns, *self.gone)

    @property
    def has_changed(self) -> bool:
        """Whether packages of earlier versions have other columns or kinds."""
        return bool(self.origins)

    @property
    def lacks_identity(self) -> bool:
        """Whether there is no key and a column that identifies a sample is dropped."""
        return not self.key and any(column.name in self.identity for column in self.gone)

    def column(self, name: str) -> Column:
        """Return a column by its name; it may be a dropped one."""
        return next(column for column in self.all_columns if column.name == name)

    def find_name(self, name: str, among: Collection[str]) -> str | None:
        """Return the name of a column in a batch or package of any version; None if it has no such column.

        Examples
        --------
        >>> columns = (Column("price", "float", former=("cost",)),)
        >>> Schema(columns, "price", origins=(("size", "int"),)).find_name("price", ["cost", "size"])
        'cost'
        """
        if name in among or not self.has_changed:
            return name if name in among else None
        known = next((column for column in self.all_columns if name in column.names), None)
        return None if known is None else next((one for one in known.names if one in among), None)

    @property
    def keeps_duplicates(self) -> bool:
        """Whether each row is a sample of its own, whatever its content."""
        return not self.key and self.duplicates == "keep"

    @property
    def lacks_classes(self) -> bool:
        """Whether further labels are expected: a classifier needs at least two classes."""
        return self.classes is not None and len(self.classes) < 2

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The names of the columns to predict from, in order."""
        others = {self.target, *self.key, *self.drop, *self.metadata.columns}
        return tuple(name for name in self.names if name not in others)

    def with_classes_of(self, other: Schema) -> Schema:
        """Add the labels of another batch, unless they are of another kind, which the validation rejects."""
        kinds = [{column.name: column.kind for column in schema.columns}.get(self.target) for schema in (self, other)]
        if kinds[0] != kinds[1] or self.classes is None or other.classes is None:
            return self
        return replace(self, classes=tuple(sorted({*self.classes, *other.classes})))

    def to_dict(self) -> dict[str, Any]:
        """Return the schema in JSON's types."""
        plain = asdict(self)
        for column in (*plain["columns"], *plain["gone"]):
            column["categories"] = None if column["categories"] is None else list(column["categories"])
            column["former"] = list(column["former"])
            for optional in ("null_share", "former"):
                if column[optional] in (None, []):
                    del column[optional]
        for optional in ("metadata", "gone", "origins"):
            if not getattr(self, optional):
                del plain[optional]
        if self.origins:
            plain["origins"] = [list(origin) for origin in self.origins]
        listed = {name: list(plain[name]) for name in ("columns", "key", "drop", "gone") if name in plain}
        return plain | listed | {"classes": None if self.classes is None else list(self.classes)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Schema:
        """Create a schema from the result of :meth:`to_dict`."""
        return cls(
            columns=_columns_from_dicts(plain["columns"]),
            target=plain["target"],
            key=tuple(plain["key"]),
            drop=tuple(plain["drop"]),
            task=cast("Task", plain["task"]),
            classes=_tuple_or_none(plain["classes"]),
            duplicates=cast("Duplicates", plain.get("duplicates", "drop")),
            metadata=Metadata(**plain.get("metadata", {})),
            gone=_columns_from_dicts(plain.get("gone", ())),
            origins=tuple((root, kind) for root, kind in plain.get("origins", ())),
        )


def _columns_from_dicts(plain: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    return tuple(
        Column(**{**one, "categories": _tuple_or_none(one["categories"]), "former": tuple(one.get("former", ()))})
        for one in plain
    )


def _tuple_or_none(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
