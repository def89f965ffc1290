"""The versions of a contract, and the choice of the version for a batch."""

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
        Its columns.
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
        """Create the contract from the rows of the table `contracts`; None if there are none."""
        versions = tuple(
            ContractVersion(row["version"], Schema.from_dict(row["columns"]), row["since"]) for row in rows
        )
        return cls(versions) if versions else None

    @property
    def newest(self) -> ContractVersion:
        """The newest version, in whose columns rows are read."""
        return self.versions[-1]

    def with_newest(self, schema: Schema) -> Contract:
        """Return the contract with another schema in its newest version."""
        return Contract((*self.versions[:-1], replace(self.newest, schema=schema)))

    def choose_layout(self, start: datetime, header: Collection[str], dropped: Collection[str] = ()) -> Schema:
        """Choose the columns in which a batch is validated and stored.

        A batch of a data interval before a change may have the columns from before it. If its columns are those of no
        admissible version, it is validated against the newest.

        Parameters
        ----------
        start : datetime
            Of the batch's data interval.
        header : collection of str
            The columns of the batch.
        dropped : collection of str
            Columns that are no features, and may be present without being in the contract.

        Returns
        -------
        Schema
            Its columns and kinds are those of a version, its classes and shares of nulls those of the newest.
        """
        received, admissible = set(header), [one.schema for one in self._admissible(start)]
        exact = [schema for schema in admissible if received - set(dropped) == set(schema.names) - set(dropped)]
        wide = [schema for schema in reversed(admissible) if received >= set(schema.names)]
        return self._with_newest_statistics(next(iter([*exact, *wide]), self.newest.schema))

    def _admissible(self, start: datetime) -> Iterator[ContractVersion]:
        """Yield the admissible versions of a batch, oldest first: one for each set of columns since its interval."""
        groups = self._groups()
        first_group = max((i for i, group in enumerate(groups) if _is_in_force(group[0], start)), default=0)
        yield [one for one in groups[first_group] if _is_in_force(one, start)][-1]
        yield from (group[-1] for group in groups[first_group + 1 :])

    def _groups(self) -> list[list[ContractVersion]]:
        """Return the versions in groups with the same set of columns."""
        groups: list[list[ContractVersion]] = []
        for one in self.versions:
            if groups and set(groups[-1][-1].schema.names) == set(one.schema.names):
                groups[-1].append(one)
            else:
                groups.append([one])
        return groups

    def _with_newest_statistics(self, schema: Schema) -> Schema:
        """Return the schema of a version with the classes, nulls and categories of the newest one."""
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
    """Return a layout with the kinds of the newest version."""
    kinds = {column.root: column.kind for column in newest.all_columns}
    return replace(layout, columns=tuple(replace(one, kind=kinds[one.root]) for one in layout.columns))


def _is_in_force(version: ContractVersion, start: datetime) -> bool:
    return version.since is None or version.since <= start
