"""Rows that the source returns again although their sample was erased: they are left out of the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from diurnal.data.row_hash import Hasher, Hashes
    from diurnal.experiment.run_context import RunContext


@dataclass
class ErasedRows:
    """Finds the rows of erased samples.

    Attributes
    ----------
    hashes : list of int
        The hashes of their keys, of 64 bits, signed.
    n_rows : int
        The number of rows that were found.
    """

    hashes: list[int]
    n_rows: int = 0

    @classmethod
    def of(cls, context: RunContext) -> ErasedRows:
        """Return the samples of an experiment that were erased after the start of a data interval."""
        return cls(context.stores.warehouse.erased_hashes(context.experiment.name, context.interval.start))

    def find(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Return which rows are those of erased samples, by the hashes of their identity."""
        found: npt.NDArray[np.bool_] = np.isin(hashes.view(np.int64), self.hashes)
        self.n_rows += int(found.sum())
        return found

    def leave_out(self, batches: Iterable[pa.RecordBatch], hasher: Hasher) -> Iterator[pa.RecordBatch]:
        """Yield the other rows; `hasher` returns the hashes of their identity."""
        import pyarrow as pa

        for batch in batches:
            yield batch.filter(pa.array(~self.find(hasher(batch)))) if self.hashes else batch

    @property
    def warnings(self) -> list[str]:
        """A warning if rows were left out."""
        if not self.n_rows:
            return []
        return [f"{self.n_rows} row{'s' if self.n_rows > 1 else ''} of erased samples, which the source still returns"]
