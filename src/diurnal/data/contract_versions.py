"""The versions of a contract, and which one a batch of a data interval is held against."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from diurnal.data.schema import Schema


@dataclass(frozen=True)
class ContractVersion:
    """One version of a contract.

    Attributes
    ----------
    number : int
        From 1.
    schema : Schema
        What it says.
    since : datetime, optional
        The start of the data interval whose batch it was accepted for; None for the first.
    """

    number: int
    schema: Schema
    since: datetime | None = None


@dataclass(frozen=True)
class Contract:
    """All versions of a contract, oldest first.

    Attributes
    ----------
    versions : tuple of ContractVersion
        At least one.
    """

    versions: tuple[ContractVersion, ...]

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Contract | None:
        """Make it of the rows of the table `contracts`; None if there are none."""
        versions = tuple(
            ContractVersion(row["version"], Schema.from_dict(row["columns"]), row["since"]) for row in rows
        )
        return cls(versions) if versions else None

    @property
    def newest(self) -> ContractVersion:
        """The version that rows are read through."""
        return self.versions[-1]

    def with_newest(self, schema: Schema) -> Contract:
        """Give the contract with another schema in its newest version."""
        return Contract((*self.versions[:-1], replace(self.newest, schema=schema)))

    def choose_layout(self, start: datetime, header: Collection[str], dropped: Collection[str] = ()) -> Schema:
        """Choose the columns that a batch is held against and kept in.

        A batch of a data interval before a change may have the columns from before it. If its columns are those of no
        version that is admissible, it is held against the newest.

        Parameters
        ----------
        start : datetime
            Of the batch's data interval.
        header : collection of str
            The columns that came.
        dropped : collection of str
            Columns that are no features, and may come without being in the contract.

        Returns
        -------
        Schema
            Its columns and kinds are those of a version, its classes and shares of nulls those of the newest.
        """
        came, admissible = set(header), [one.schema for one in self._admissible(start)]
        exact = [schema for schema in admissible if came - set(dropped) == set(schema.names) - set(dropped)]
        wide = [schema for schema in reversed(admissible) if came >= set(schema.names)]
        return self._brought_up(next(iter([*exact, *wide]), self.newest.schema))

    def _admissible(self, start: datetime) -> Iterator[ContractVersion]:
        """Give the versions that a batch may be of, oldest first: one for each set of columns since its interval."""
        groups = self._groups()
        begun = max((i for i, group in enumerate(groups) if _holds(group[0], start)), default=0)
        yield [one for one in groups[begun] if _holds(one, start)][-1]
        yield from (group[-1] for group in groups[begun + 1 :])

    def _groups(self) -> list[list[ContractVersion]]:
        """Give the versions by their sets of columns."""
        groups: list[list[ContractVersion]] = []
        for one in self.versions:
            if groups and set(groups[-1][-1].schema.names) == set(one.schema.names):
                groups[-1].append(one)
            else:
                groups.append([one])
        return groups

    def _brought_up(self, schema: Schema) -> Schema:
        """Give the schema of a version with what the newest says beside columns and kinds."""
        newest = self.newest.schema
        if schema is newest:
            return schema
        now = {column.root: column for column in newest.all_columns}
        columns = tuple(
            replace(
                column,
                nullable=now[column.root].nullable,
                null_share=now[column.root].null_share,
                categories=now[column.root].categories if now[column.root].kind == column.kind else column.categories,
            )
            for column in schema.columns
        )
        classes = newest.classes
        return replace(schema, columns=columns, classes=classes)


def widen_kinds(layout: Schema, newest: Schema) -> Schema:
    """Give a layout in the kinds of the newest version."""
    kinds = {column.root: column.kind for column in newest.all_columns}
    return replace(layout, columns=tuple(replace(one, kind=kinds[one.root]) for one in layout.columns))


def _holds(version: ContractVersion, start: datetime) -> bool:
    return version.since is None or version.since <= start
