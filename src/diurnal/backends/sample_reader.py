"""Reading the samples of packages: rows of several batches become one row for each sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diurnal.data import row_hash, train_test_split
from diurnal.data.train_test_split import TrainTestRoles

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Schema
    from diurnal.data.row_hash import Hasher
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import Package

MAX_ROWS = 131_072  # of all packages of a window together that are in memory while the window is streamed
MAX_CELLS = 2**22  # likewise, where rows are wide
_MIN_ROWS = 4_096


@dataclass(frozen=True)
class SampleReader:
    """Reads packages of a run through one version of the contract.

    Attributes
    ----------
    context : RunContext
        The context of the run.
    schema : Schema
        The version of the contract.
    """

    context: RunContext
    schema: Schema

    def row_hasher(self, *, present_only: bool = False) -> Hasher:
        """Return the function that hashes the identity of rows, without columns that were dropped if `present_only`."""
        from diurnal.data import row_identity

        return row_identity.identity_hasher(self.schema, self.context.experiment.name, present_only=present_only)

    def group_hasher(self) -> Hasher:
        """Return the function that hashes the group of rows."""
        from diurnal.data import row_identity

        return row_identity.group_hasher(self.schema, str(self.schema.metadata.groups), self.context.experiment.name)

    def roles(self, package: Package | None = None) -> TrainTestRoles:
        """Return the function that tells train rows from test rows: all rows of a group have one role.

        A package of an earlier version of the contract may have another name for the target.
        """
        schema, target = self.schema, self.schema.target
        if package is not None and schema.has_changed:
            target = schema.find_name(target, self.context.stores.lake.schema(package).names) or target
        test_size = self.context.experiment.test_size
        if schema.metadata.groups is not None:
            groups = self.group_hasher()
            return TrainTestRoles(lambda: groups, test_size, target, is_hash_ordered=False)
        hasher, keep = self.row_hasher(), schema.keeps_duplicates
        return TrainTestRoles(
            lambda: row_hash.NumberedHasher(hasher) if keep else hasher, test_size, target, is_hash_ordered=not keep
        )

    def rows(self, package: Package, columns: Sequence[str], *, n_rows: int | None = None) -> Iterator[pa.RecordBatch]:
        """Stream some columns of a package.

        Parameters
        ----------
        package : Package
            Of this version of the contract, or an earlier one.
        columns : sequence of str
            Columns of this version, also those that were dropped.
        n_rows : int, optional
            Maximal number of rows in a record batch.
        """
        lake, schema = self.context.stores.lake, self.schema
        if not schema.has_changed:
            return lake.batches(package, columns, n_rows=n_rows)
        from diurnal.data import version_reader

        needed = version_reader.stored_names(schema, columns, lake.schema(package).names)
        return version_reader.read_in_newest_schema(lake.batches(package, needed, n_rows=n_rows), schema, columns)

    def samples(
        self,
        packages: Sequence[Package],
        *,
        fraction: float = 1.0,
        features: Sequence[str] | None = None,
        without: Sequence[Package] = (),
    ) -> Iterator[pa.Table]:
        """Stream packages, oldest first, as one row for each sample that has a target.

        They are ordered by hash; where each row is a sample of its own, they come package after package.

        Parameters
        ----------
        packages : sequence of Package
            One for each data interval.
        fraction : float
            The fraction of the samples, between 0 and 1: see :func:`diurnal.data.train_test_split.sample_hasher`.
        features : sequence of str, optional
            The features to read; all of them by default.
        without : sequence of Package
            Their samples are left out, unless each row is a sample of its own.

        Yields
        ------
        pyarrow.Table
            With the features, the target, groups, weights and order at least.
        """
        from diurnal.data.merge import merge_streams

        keep = self.schema.keeps_duplicates
        without = () if keep else without
        merges = len(packages) > 1 and not keep
        columns = self._needed_columns(features, merges=merges, hashes=fraction < 1 or merges or bool(without))
        n_rows = max(_MIN_ROWS, min(MAX_ROWS, MAX_CELLS // len(columns)) // len(packages))
        streams = [self.rows(package, columns, n_rows=n_rows) for package in packages]
        if fraction < 1:
            streams = [self._sample_stream(stream, fraction) for stream in streams]
        tables = (
            _chain_streams(streams) if keep else merge_streams(streams, self.row_hasher(), keyed=bool(self.schema.key))
        )
        if without:
            tables = self.exclude_known(tables, without, n_rows=n_rows)
        return (_with_target(table, self.schema.target) for table in tables)

    def _needed_columns(self, features: Sequence[str] | None, *, merges: bool, hashes: bool) -> list[str]:
        """Return the columns to read, in the order of the contract."""
        schema = self.schema
        needed = {*(schema.features if features is None else features), schema.target, *schema.metadata.columns}
        needed |= set(schema.identity if hashes else ())
        if merges and not schema.key:  # two rows are one sample if they agree on all columns
            needed |= set(schema.names)
        return [column.name for column in schema.all_columns if column.name in needed]

    def exclude_known(
        self, rows: Iterable[pa.Table], known: Sequence[Package], *, n_rows: int | None = None
    ) -> Iterator[pa.Table]:
        """Leave out the rows whose sample is in one of some packages.

        Without a key, rows from before and after a column was dropped are one sample if they agree on the others.
        """
        from diurnal.data import merge

        identity = sorted(self.schema.identity)
        others = [self.rows(one, identity, n_rows=n_rows) for one in known]
        if self.schema.lacks_identity:
            return merge.exclude_known_groups(rows, others, self.row_hasher(present_only=True))
        return merge.exclude_known(rows, others, self.row_hasher())

    def _sample_stream(self, batches: Iterable[pa.RecordBatch], fraction: float) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from diurnal.data import row_identity

        hasher = row_identity.identity_hasher(self.schema, train_test_split.sample_salt(self.context.experiment.name))
        if self.schema.keeps_duplicates:
            hasher = row_hash.NumberedHasher(hasher)
        for batch in batches:
            yield batch.filter(pa.array(train_test_split.select_test(hasher(batch), fraction)))


def _chain_streams(streams: Iterable[Iterable[pa.RecordBatch]]) -> Iterator[pa.Table]:
    """Yield the rows of one stream after those of another."""
    import pyarrow as pa

    for stream in streams:
        for batch in stream:
            yield pa.Table.from_batches([batch])


def _with_target(table: pa.Table, target: str) -> pa.Table:
    """Leave out the rows that have no target: a model can neither learn from them nor be scored on them."""
    column = table.column(target)
    return table.filter(column.is_valid()) if column.null_count else table
