"""What every step of a run is told, and how it reads what earlier steps kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from diurnal.data import row_hash
from diurnal.data.row_hash import Roles
from diurnal.errors import DiurnalError, InvalidModelError
from diurnal.runtime.project_files import Codebase
from diurnal.types import DataInterval, Package, Run, SearchResult

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from diurnal.backends.sklearn import Needs
    from diurnal.data import Contract, Schema
    from diurnal.data.deduplication import Hasher
    from diurnal.experiment import Experiment
    from diurnal.storage.lake import PackageKey
    from diurnal.storage.stores import Stores

ROWS_SIDE_BY_SIDE = 131_072  # of all packages of a window together are in memory while they stream by
CELLS_SIDE_BY_SIDE = 2**22  # likewise, where rows are wide

Window = tuple[tuple[DataInterval, Package], ...]


@dataclass(frozen=True)
class Day:
    """One run's instructions.

    Attributes
    ----------
    experiment : Experiment
        What to do.
    interval : DataInterval
        With which data.
    stores : Stores
        Where to keep it.
    by : str
        Who asked for it.
    force : bool
        Whether to make one more result where there already is one.
    progress : callable, optional
        Told, while `tune` works, how many of the candidates times folds are done, and how many there are.
    """

    experiment: Experiment
    interval: DataInterval
    stores: Stores
    by: str
    force: bool = False
    progress: Callable[[int, int], None] | None = None

    def fixed_contract(self) -> Contract | None:
        """Give all versions of the contract, if there is one; the declaration must agree with the newest."""
        from diurnal.data import Contract
        from diurnal.experiment.contract_agreement import agreed

        contract = Contract.from_rows(self.stores.warehouse.contracts(self.experiment.name))
        return None if contract is None else contract.with_newest(agreed(self.experiment, contract.newest.schema))

    def fixed_schema(self) -> Schema | None:
        """Give the newest version of the contract, if there is one; the declaration must agree with it."""
        return self._fixed(None)

    def _fixed(self, version: int | None) -> Schema | None:
        from diurnal.data import Schema
        from diurnal.experiment.contract_agreement import agreed

        stored = self.stores.warehouse.schema(self.experiment.name, version)
        return None if stored is None else agreed(self.experiment, Schema.from_dict(stored))

    def is_newest(self) -> bool:
        """Tell whether no later data interval has a batch."""
        last = self.stores.warehouse.newest_batch(self.experiment.name)
        return last is None or last <= self.interval.start

    def schema_of(self, run: Run) -> Schema:
        """Give the version of the contract that a run reads rows through: the newest one when its batch was fetched."""
        schema = self._fixed(run.contract or None)
        if schema is None:
            raise DiurnalError(f"{self.experiment.name} has no schema, which its first batch fixes")
        return schema

    @property
    def schema(self) -> Schema:
        """The newest version of the contract, once a batch has been fetched."""
        schema = self.fixed_schema()
        if schema is None:
            raise DiurnalError(f"{self.experiment.name} has no schema, which its first batch fixes")
        return schema

    @property
    def code(self) -> Codebase:
        """The project's own code: that of the stores' project, and what lies beside the experiment."""
        return self.stores.code | Codebase.around(self.experiment.file)

    @property
    def scratch(self) -> str:
        """The URL of a folder in the lake for what is removed again, which Spark's executors reach as well."""
        return f"{self.stores.lake.address}/.tmp"

    def package_key(self, category: str) -> PackageKey:
        """Return the folder in the lake of this run's packages of a category, such as ``"batches"``."""
        from diurnal.storage.lake import PackageKey

        return PackageKey(self.experiment.name, category, self.interval.key)

    def hasher(self, schema: Schema, *, present_only: bool = False) -> Hasher:
        """Give the function that hashes the identity of rows, less the columns that are gone if `present_only`."""
        from diurnal.data import row_identity

        return row_identity.hasher(schema, self.experiment.name, present_only=present_only)

    def group_hasher(self, schema: Schema) -> Hasher:
        """Give the function that hashes the group of rows."""
        from diurnal.data import row_identity

        return row_identity.group_hasher(schema, str(schema.metadata.groups), self.experiment.name)

    def roles(self, schema: Schema, package: Package | None = None) -> Roles:
        """Give what tells which rows are for training and which for testing: of groups, all rows have one role.

        A package of an earlier version of the contract may have another name for the target.
        """
        target = schema.target
        if package is not None and schema.has_changed:
            target = schema.called(target, self.stores.lake.schema(package).names) or target
        if schema.metadata.groups is not None:
            groups = self.group_hasher(schema)
            return Roles(lambda: groups, self.experiment.test_size, target, in_order=False)
        hasher, keep = self.hasher(schema), schema.keeps_duplicates
        return Roles(
            lambda: row_hash.Numbered(hasher) if keep else hasher,
            self.experiment.test_size,
            target,
            in_order=not keep,
        )

    def rows(
        self, package: Package, schema: Schema, columns: Sequence[str], *, n_rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream some columns of a package, read through a version of the contract.

        Parameters
        ----------
        package : Package
            Of that version or an earlier one.
        schema : Schema
            The version.
        columns : sequence of str
            Which of its columns, also of those that are gone.
        n_rows : int, optional
            At most so many at once.
        """
        lake = self.stores.lake
        if not schema.has_changed:
            return lake.batches(package, columns, n_rows=n_rows)
        from diurnal.data import version_reader

        needed = version_reader.needed(schema, columns, lake.schema(package).names)
        return version_reader.read_through(lake.batches(package, needed, n_rows=n_rows), schema, columns)

    def window(self, package: Package) -> tuple[Window, list[str]]:
        """Give the batches to learn from, this interval's last, and a warning if some lack."""
        wanted = self.experiment.window
        if wanted == 1:
            return ((self.interval, package),), []
        last = wanted if isinstance(wanted, int) else None
        since = None
        if isinstance(wanted, str) and wanted != "all":
            unit = {"h": "hours", "d": "days", "w": "weeks"}[wanted[-1]]
            since = self.experiment.calendar.window_start(self.interval, timedelta(**{unit: int(wanted[:-1])}))
        found = self.stores.warehouse.window(self.experiment.name, self.interval, last=last, since=since)
        lacking = [f"the window holds {len(found)} of {last} batches"] if last and len(found) < last else []
        return tuple((interval.in_timezone(self.interval.timezone), one) for interval, one in found), lacking

    def share(self, packages: Sequence[Package]) -> float:
        """Tell which share of the samples in some packages the experiment learns from: its `sample`, or 1."""
        wanted = self.experiment.sample
        if wanted is None or isinstance(wanted, float):
            return 1.0 if wanted is None else wanted
        return min(1.0, wanted / max(1, sum(package.n_rows for package in packages)))

    def samples(
        self,
        packages: Sequence[Package],
        schema: Schema,
        *,
        share: float = 1.0,
        features: Sequence[str] | None = None,
        without: Sequence[Package] = (),
    ) -> Iterator[pa.Table]:
        """Stream packages, oldest first, as one row for each sample that has a target.

        They come ordered by hash; where each row is a sample of its own, package after package.

        Parameters
        ----------
        packages : sequence of Package
            One for each data interval.
        schema : Schema
            Of their rows.
        share : float
            Only so many of the samples, between 0 and 1: see :func:`diurnal.data.row_hash.sample_hasher`.
        features : sequence of str, optional
            Those that are wanted; all unless given.
        without : sequence of Package
            Their samples are left out, unless each row is a sample of its own.

        Yields
        ------
        pyarrow.Table
            With the features, the target, groups, weights and order at least.
        """
        from diurnal.data.merge import merged

        keep = schema.keeps_duplicates
        merges = len(packages) > 1 and not keep
        needed = {*(schema.features if features is None else features), schema.target, *schema.metadata.columns}
        without = () if keep else without
        needed |= set(schema.identity if share < 1 or merges or without else ())
        if merges and not schema.key:  # two rows are one sample if they agree on everything
            needed |= set(schema.names)
        columns = [column.name for column in schema.all_columns if column.name in needed]
        at_once = max(4_096, min(ROWS_SIDE_BY_SIDE, CELLS_SIDE_BY_SIDE // len(columns)) // len(packages))
        streams = [self.rows(package, schema, columns, n_rows=at_once) for package in packages]
        if share < 1:
            streams = [self._sampled(stream, schema, share) for stream in streams]
        tables = _one_by_one(streams) if keep else merged(streams, self.hasher(schema), keyed=bool(schema.key))
        if without:
            tables = self.unknown(tables, without, schema, n_rows=at_once)
        return (_labelled(table, schema.target) for table in tables)

    def unknown(
        self, rows: Iterable[pa.Table], known: Sequence[Package], schema: Schema, *, n_rows: int | None = None
    ) -> Iterator[pa.Table]:
        """Leave out the rows whose sample is in one of some packages.

        Without a key, rows of before and after a column was dropped are one sample if they agree on the others.
        """
        from diurnal.data import merge

        identity = sorted(schema.identity)
        others = [self.rows(one, schema, identity, n_rows=n_rows) for one in known]
        if schema.lacks_identity:
            return merge.unknown_groups(rows, others, self.hasher(schema, present_only=True))
        return merge.unknown(rows, others, self.hasher(schema))

    def _sampled(self, batches: Iterable[pa.RecordBatch], schema: Schema, share: float) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from diurnal.data import row_identity

        hasher = row_identity.hasher(schema, row_hash.sample_salt(self.experiment.name))
        if schema.keeps_duplicates:
            hasher = row_hash.Numbered(hasher)
        for batch in batches:
            yield batch.filter(pa.array(row_hash.is_test(hasher(batch), share)))

    def learnable(
        self, packages: Sequence[Package], schema: Schema, *, share: float = 1.0, without: Sequence[Package] = ()
    ) -> tuple[pd.DataFrame, np.ndarray, Needs]:
        """Read packages as what scikit-learn takes: the features, the target, and what a fit needs beside them."""
        from diurnal.backends.sklearn import Beside, filled

        beside = Beside(schema)
        tables = beside.passing(self.samples(packages, schema, share=share, without=without))
        n_rows = sum(package.n_rows for package in packages)
        expected = n_rows if share == 1 else int(share * n_rows + 6 * (share * n_rows) ** 0.5)
        order = beside.order if beside.orders else None
        X, y = filled(tables, list(schema.features), schema.target, expected=expected, order=order)
        return X, y, beside.needs()

    def twin(self, search: SearchResult) -> Any:
        """Load the twin that a search kept."""
        from diurnal.storage import models

        data = self.stores.lake.get(search.twin)
        if hashlib.sha256(data).hexdigest() != search.twin_digest:
            raise InvalidModelError(f"the twin {search.twin} is not what was kept", hint="run the data interval again")
        form = search.twin.rpartition("/")[2].partition(".")[2]
        code = self.code.only(search.own_code)
        return models.loads(data, self.experiment.trusted_types, code=code, form=form, scratch=self.scratch)


def _one_by_one(streams: Iterable[Iterable[pa.RecordBatch]]) -> Iterator[pa.Table]:
    """Give the rows of one stream after those of another."""
    import pyarrow as pa

    for stream in streams:
        for batch in stream:
            yield pa.Table.from_batches([batch])


def _labelled(table: pa.Table, target: str) -> pa.Table:
    """Leave out the rows that have no target: there is nothing to learn from them, and nothing to judge by."""
    column = table.column(target)
    return table.filter(column.is_valid()) if column.null_count else table
