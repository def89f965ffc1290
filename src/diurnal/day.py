"""What every step of a run is told, and how it reads what earlier steps kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from diurnal import splitting
from diurnal.errors import DeclarationError, DiurnalError, ModelRefused
from diurnal.values import DataInterval, Package, SearchResult

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from diurnal.arranging import Hasher
    from diurnal.contract import Schema
    from diurnal.experiment import Experiment
    from diurnal.lake import Lake
    from diurnal.models import Models
    from diurnal.warehouse import Warehouse

ROWS_SIDE_BY_SIDE = 131_072  # of all packages of a window together are in memory while they stream by
CELLS_SIDE_BY_SIDE = 2**22  # likewise, where rows are wide

Window = tuple[tuple[DataInterval, Package], ...]


@dataclass(frozen=True)
class Stores:
    """Where everything is kept: the deployment's, never the experiment's.

    Attributes
    ----------
    lake, warehouse, models
        The three stores.
    connections : Mapping of str to str
        From the id of a connection to its URI, for sources.
    """

    lake: Lake
    warehouse: Warehouse
    models: Models
    connections: Mapping[str, str]


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

    def fixed_schema(self) -> Schema | None:
        """Give the schema that the first batch fixed, if there was one; the declaration must agree with it."""
        from diurnal.contract import Schema

        stored = self.stores.warehouse.schema(self.experiment.name)
        if stored is None:
            return None
        schema = Schema.from_dict(stored)
        for word, declared, fixed in (
            ("target", self.experiment.target, schema.target),
            ("key", self.experiment.key, schema.key),
        ):
            if declared != fixed:
                raise DeclarationError(
                    f"{self.experiment.name} declares the {word} {declared!r}; its first batch fixed {fixed!r}",
                    advice=f"declare {word}={fixed!r}, or make it an experiment of its own, under another name",
                )
        if self.experiment.drop != schema.drop and not schema.key:
            raise DeclarationError(
                f"{self.experiment.name} drops {self.experiment.drop}, and dropped {schema.drop} when its first batch "
                "came; without a key the features say which samples are for testing",
                advice=f"declare drop={schema.drop!r}, or a key and another name",
            )
        return replace(schema, drop=self.experiment.drop)

    @property
    def schema(self) -> Schema:
        """The schema, once a batch has been fetched."""
        schema = self.fixed_schema()
        if schema is None:
            raise DiurnalError(f"{self.experiment.name} has no schema, which its first batch fixes")
        return schema

    @property
    def scratch(self) -> str:
        """The URL of a folder in the lake for what is removed again, which Spark's executors reach as well."""
        return f"{self.stores.lake.address}/.tmp"

    def hasher(self, schema: Schema) -> Hasher:
        """Give the function that hashes the identity of rows."""
        columns = schema.key or schema.features
        return lambda rows: splitting.identities(rows, columns, self.experiment.name)

    def window(self, package: Package) -> tuple[Window, list[str]]:
        """Give the batches to learn from, this interval's last, and a warning if some lack."""
        wanted = self.experiment.window
        if wanted == 1:
            return ((self.interval, package),), []
        last = wanted if isinstance(wanted, int) else None
        since = None
        if isinstance(wanted, str) and wanted != "all":
            unit = {"h": "hours", "d": "days", "w": "weeks"}[wanted[-1]]
            since = self.interval.end - timedelta(**{unit: int(wanted[:-1])})
        found = self.stores.warehouse.window(self.experiment.name, self.interval, last=last, since=since)
        lacking = [f"the window holds {len(found)} of {last} batches"] if last and len(found) < last else []
        return tuple(found), lacking

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
    ) -> Iterator[pa.Table]:
        """Stream packages, oldest first, as one row for each sample, ordered by hash.

        Parameters
        ----------
        packages : sequence of Package
            One for each data interval.
        schema : Schema
            Of their rows.
        share : float
            Only so many of the samples, between 0 and 1: see :func:`diurnal.splitting.is_sampled`.
        features : sequence of str, optional
            Those that are wanted; all unless given.

        Yields
        ------
        pyarrow.Table
            With the features and the target at least.
        """
        from diurnal.merging import merged

        identity = schema.key or schema.features
        wanted = schema.features if features is None else features
        needed = {*wanted, schema.target, *(identity if share < 1 or len(packages) > 1 else ())}
        if len(packages) > 1 and not schema.key:  # two rows are one sample if they agree on everything
            needed |= set(schema.names)
        columns = [name for name in schema.names if name in needed]
        at_once = max(4_096, min(ROWS_SIDE_BY_SIDE, CELLS_SIDE_BY_SIDE // len(columns)) // len(packages))
        streams = [self.stores.lake.batches(package, columns, n_rows=at_once) for package in packages]
        if share < 1:
            streams = [self._sampled(stream, identity, share) for stream in streams]
        return merged(streams, self.hasher(schema), keyed=bool(schema.key))

    def _sampled(
        self, batches: Iterable[pa.RecordBatch], identity: Sequence[str], share: float
    ) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            yield batch.filter(pa.array(splitting.is_sampled(batch, identity, self.experiment.name, share)))

    def learnable(
        self, packages: Sequence[Package], schema: Schema, *, share: float = 1.0
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Read packages as what scikit-learn takes: the features and the target."""
        from diurnal.backends.sklearn import filled

        tables = self.samples(packages, schema, share=share)
        n_rows = sum(package.n_rows for package in packages)
        expected = n_rows if share == 1 else int(share * n_rows + 6 * (share * n_rows) ** 0.5)
        return filled(tables, list(schema.features), schema.target, expected=expected)

    def twin(self, search: SearchResult) -> Any:
        """Load the twin that a search kept."""
        from diurnal import models

        data = self.stores.lake.get(search.twin)
        if hashlib.sha256(data).hexdigest() != search.twin_digest:
            raise ModelRefused(f"the twin {search.twin} is not what was kept", advice="run the data interval again")
        form = search.twin.rpartition("/")[2].partition(".")[2]
        return models.loads(data, self.experiment.trusted, form=form, scratch=self.scratch)
