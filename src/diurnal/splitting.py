"""Which sample a row is, and which role it has, from its key, for life.

A sample is identified by the values of the experiment's `key`, or, where there is none, by the values of its
features. Their canonical bytes, after the experiment's name, are hashed with BLAKE2b to 64 bits; read as a
fraction of 2**64, a hash below `test_size` is a test sample. The role depends on nothing else: not on other
rows, not on their order, not on the day. So no row ever changes sides, however many batches pile up, and the
same features with another target stay on the same side.

The hash is the order of rows everywhere, too: a fit sees the same rows in the same order whatever order a
source gave them in.

Canonical bytes, column by column in the order of their names: one byte for the kind (``n`` for null), then
eight bytes little-endian for a number (integers, booleans as 0 and 1, days since 1970 for dates, microseconds
since 1970 for instants; IEEE doubles for floats, with -0.0 as 0.0), or a length in eight bytes and UTF-8 for text.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Hashes = npt.NDArray[np.uint64]

Role = Literal["train", "test"]
Scalar = int | float | bool | str | date | datetime | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def role(values: Sequence[Scalar], experiment: str, test_size: float) -> Role:
    """Tell the role of one sample.

    Parameters
    ----------
    values : sequence
        Its key, or its features where the experiment has no key, in the order of the columns' names.
    experiment : str
        Name of the experiment.
    test_size : float
        Share of samples that are for testing, between 0 and 1.

    Returns
    -------
    str
        ``"train"`` or ``"test"``.

    Examples
    --------
    >>> role(["patient-7"], "breast_cancer", 0.3)
    'train'
    >>> role(["patient-5"], "breast_cancer", 0.3)
    'test'
    """
    payload = experiment.encode() + b"\0" + b"".join(map(_canonical, values))
    fraction = int.from_bytes(blake2b(payload, digest_size=8).digest(), "little")
    return "test" if fraction < threshold(test_size) else "train"


def threshold(test_size: float) -> int:
    """Give the hash from which on a sample is for training."""
    return math.floor(test_size * 2**64)


def identities(batch: pa.RecordBatch | pa.Table, columns: Sequence[str], experiment: str) -> Hashes:
    """Hash the identity of each row.

    Parameters
    ----------
    batch : pyarrow.RecordBatch or pyarrow.Table
        Rows in the contract's types.
    columns : sequence of str
        The key, or the features.
    experiment : str
        Name of the experiment.

    Returns
    -------
    numpy.ndarray of uint64, shape (n_rows,)
    """
    import numpy as np

    prefix = experiment.encode() + b"\0"
    rows = _rows(batch, sorted(columns))
    digests = b"".join([blake2b(prefix + row, digest_size=8).digest() for row in rows])
    return np.frombuffer(digests, dtype="<u8")


def is_test(hashes: Hashes, test_size: float) -> npt.NDArray[np.bool_]:
    """Tell which rows are for testing."""
    import numpy as np

    return hashes < np.uint64(threshold(test_size))


def _canonical(value: Scalar) -> bytes:
    if value is None:
        return b"n" + bytes(8)
    if isinstance(value, str):
        text = value.encode()
        return b"s" + struct.pack("<q", len(text)) + text
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value + 0.0)
    if isinstance(value, datetime):
        delta = value - _EPOCH
        return b"t" + struct.pack("<q", (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)
    if isinstance(value, date):
        return b"d" + struct.pack("<q", (value - _EPOCH.date()).days)
    return (b"b" if isinstance(value, bool) else b"i") + struct.pack("<q", value)


def _rows(batch: pa.RecordBatch | pa.Table, columns: Sequence[str]) -> list[bytes]:
    """Give the canonical bytes of each row; runs of numeric columns are laid out by NumPy, not cell by cell."""
    import pyarrow as pa

    parts: list[list[bytes]] = []
    numeric: list[Any] = []
    for name in columns:
        column = batch.column(name)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if pa.types.is_string(column.type):
            parts += [_cut(numeric, len(column))] if numeric else []
            numeric = []
            parts.append([_canonical(value) for value in column.to_pylist()])
        else:
            numeric.append(_cells(column))
    parts += [_cut(numeric, batch.num_rows)] if numeric else []
    return parts[0] if len(parts) == 1 else [b"".join(pieces) for pieces in zip(*parts, strict=True)]


def _cells(column: pa.Array) -> npt.NDArray[np.uint8]:
    """Lay a column of numbers out as an (n_rows, 9) matrix of bytes."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds: dict[Any, str] = {pa.float64(): "f", pa.int64(): "i", pa.bool_(): "b", pa.date32(): "d"}
    kind = kinds.get(column.type, "t")
    if kind in "bd":
        column = column.cast(pa.int32()).cast(pa.int64())
    elif kind == "t":
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    nulls = column.is_null().to_numpy(zero_copy_only=False)
    values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
    if kind == "f":
        values = values + 0.0
    cells = np.empty((len(column), 9), dtype=np.uint8)
    cells[:, 0] = np.where(nulls, ord("n"), ord(kind))
    cells[:, 1:] = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, 8)
    return cells


def _cut(matrices: list[Any], n_rows: int) -> list[bytes]:
    import numpy as np

    flat = np.hstack(matrices).tobytes()
    width = 9 * len(matrices)
    return [flat[i : i + width] for i in range(0, n_rows * width, width)]
