"""The digest of rows in a given order, which does not depend on how they are divided into record batches."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class ContentDigest:
    """SHA-256 of the names, types and cells of some columns.

    Each column has a hash for nulls, one for values and one for the lengths of its texts, which take the rows of any
    number of batches one after the other.

    Parameters
    ----------
    schema : pyarrow.Schema
        In types of contracts.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = pa.table({"size": [1.5, None, 2.5], "name": ["a", "bc", None]})
    >>> whole, parts = ContentDigest(rows.schema), ContentDigest(rows.schema)
    >>> whole.update(rows)
    >>> for start in (0, 1):
    ...     parts.update(rows.slice(start, 1 + start))
    >>> whole.hexdigest() == parts.hexdigest()
    True
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._start = repr([(field.name, str(field.type)) for field in schema]).encode()
        self._columns = [(hashlib.sha256(), hashlib.sha256(), hashlib.sha256()) for _ in schema]

    def update(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows."""
        import pyarrow as pa

        for column, hashes in zip(rows.columns, self._columns, strict=True):
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                _update_hashes(chunk, *hashes)

    def hexdigest(self) -> str:
        """Return the digest of all rows so far."""
        parts = (part.digest() for hashes in self._columns for part in hashes)
        return hashlib.sha256(self._start + b"".join(parts)).hexdigest()


def _update_hashes(cells: pa.Array, nulls: Any, values: Any, lengths: Any) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    nulls.update(cells.is_null().to_numpy(zero_copy_only=False))
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        texts = pc.fill_null(cells, "")
        lengths.update(pc.binary_length(texts).cast(pa.int64()).to_numpy(zero_copy_only=False))
        values.update("".join(texts.to_pylist()).encode())
        return
    if pa.types.is_floating(cells.type):
        numbers = pc.fill_null(cells, 0.0)
    elif pa.types.is_date(cells.type):
        numbers = pc.fill_null(cells.cast(pa.int32()), 0)
    else:
        numbers = pc.fill_null(cells.cast(pa.int64()), 0)
    values.update(numbers.to_numpy(zero_copy_only=False))
