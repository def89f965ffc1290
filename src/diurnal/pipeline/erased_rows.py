"""Rows that the source returns again although their sample was erased: they are left out of the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.row_hash import Hasher
    from diurnal.experiment.run_context import RunContext


@dataclass
class ErasedRows:
    """Leaves out the rows of erased samples.

    Attributes
    ----------
    hashes : list of int
        The hashes of their keys, of 64 bits, signed.
    hasher : callable
        Returns the hashes of a record batch's rows.
    n_rows : int
        The number of rows that were left out.
    """

    hashes: list[int]
    hasher: Hasher = field(repr=False)
    n_rows: int = 0

    @classmethod
    def of(cls, context: RunContext, hasher: Hasher) -> ErasedRows:
        """Return the samples of an experiment that were erased after the start of a data interval."""
        name, start = context.experiment.name, context.interval.start
        return cls(context.stores.warehouse.erased_hashes(name, start), hasher)

    def leave_out(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the other rows."""
        import pyarrow as pa

        for batch in batches:
            if not self.hashes:
                yield batch
                continue
            is_erased = np.isin(self.hasher(batch).view(np.int64), self.hashes)
            self.n_rows += int(is_erased.sum())
            yield batch.filter(pa.array(~is_erased))

    @property
    def warnings(self) -> list[str]:
        """A warning if rows were left out."""
        if not self.n_rows:
            return []
        return [f"{self.n_rows} row{'s' if self.n_rows > 1 else ''} of erased samples, which the source still returns"]
