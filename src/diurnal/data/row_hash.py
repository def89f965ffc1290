r"""Hashes of rows: 64 bits for the identity of each row, from the canonical bytes of its cells.

A sample is identified by the values of the experiment's `key` or, without a key, by the values of its features. Their
canonical bytes, after the name of the experiment, are hashed with BLAKE2b to 64 bits. Rows are stored and merged in the
order of this hash, so that a fit reads the same rows in the same order, whatever order a source returned them in.
:mod:`diurnal.data.train_test_split` derives the role of a row from it.

Where content does not identify a row (``duplicates="keep"``), rows with equal features are different samples. Each is
identified by its content and by its number among the equal rows of its batch, from 0: see :class:`NumberedHasher`.

The canonical bytes of a row are those of its columns, in the order of their names. A cell is one byte for the kind
(``n`` for null), followed by

- eight bytes, little-endian, for a number: integers, booleans as 0 and 1, dates as days since 1970, instants as
  microseconds since 1970 in UTC, timestamps as if they were in UTC, floats as IEEE doubles with -0.0 as 0.0;
- the length in eight bytes and the text in UTF-8, for text.

For example, the int 7 is ``b"i" + b"\x07" + 7 * b"\0"``. Digests that are stored depend on this format: it is frozen.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Hashes = npt.NDArray[np.uint64]
    Hasher = Callable[["pa.RecordBatch | pa.Table"], Hashes]

Scalar = int | float | bool | str | date | datetime | None

_GOLDEN_RATIO = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: SplitMix64's increment
ROWS_PER_CHUNK = 8_192  # are converted to bytes at a time
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hash_rows(batch: pa.RecordBatch | pa.Table, columns: Sequence[str], experiment: str) -> Hashes:
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

    names, prefix = sorted(columns), blake2b(experiment.encode() + b"\0", digest_size=8)
    digests = []
    for start in range(0, batch.num_rows, ROWS_PER_CHUNK):
        for row in _canonical_rows(batch.slice(start, ROWS_PER_CHUNK), names):
            digest = prefix.copy()
            digest.update(row)
            digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), dtype="<u8")


def mix_bits(values: Hashes) -> Hashes:
    """Mix the bits of numbers, one to one, so that consecutive numbers become unrelated.

    The finaliser of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood: "Fast splittable pseudorandom number generators",
    OOPSLA 2014).
    """
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def number_hashes(hashes: Hashes, numbers: npt.NDArray[np.int64]) -> Hashes:
    """Return the hashes of rows with equal content and different numbers; number 0 keeps the hash.

    Examples
    --------
    >>> import numpy as np
    >>> [hex(value) for value in number_hashes(np.array([7, 7], dtype=np.uint64), np.array([0, 1])).tolist()]
    ['0x7', '0x63cbe1e459320dd7']
    """
    import numpy as np

    steps = numbers.astype(np.uint64) * np.uint64(_GOLDEN_RATIO)
    return np.where(numbers == 0, hashes, mix_bits(hashes + steps))


def stable_permutation(n: int) -> npt.NDArray[np.intp]:
    """Return a pseudorandom permutation of `n` rows that is always the same.

    Rows with equal content are neighbours in a package. A fold, which is often a run of rows, must not hold them all.
    """
    import numpy as np

    return np.argsort(mix_bits(np.arange(n, dtype=np.uint64) + np.uint64(_GOLDEN_RATIO)), kind="stable")


class NumberedHasher:
    """Hash rows that come in the order of a hash, so that rows with equal content differ by their number.

    Parameters
    ----------
    hasher : callable
        Returns the hashes of the content of rows. Equal hashes are consecutive, within a batch or across batches.

    Examples
    --------
    >>> import pyarrow as pa
    >>> hasher = NumberedHasher(lambda rows: hash_rows(rows, ["size"], "x"))
    >>> rows = pa.table({"size": [1.5, 1.5, 1.5]})
    >>> first, second = hasher(rows.slice(0, 2)), hasher(rows.slice(2))
    >>> len({*first.tolist(), *second.tolist()})
    3
    """

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._last: int | None = None  # hash of the last row, and the number of rows with it so far
        self._n_last = 0

    def __call__(self, rows: pa.RecordBatch | pa.Table) -> Hashes:
        """Return the hashes of the next rows."""
        import numpy as np

        hashes = self._hasher(rows)
        if not len(hashes):
            return hashes
        starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
        sizes = np.diff(np.append(starts, len(hashes)))
        numbers = np.arange(len(hashes)) - np.repeat(starts, sizes)
        if int(hashes[0]) == self._last:
            numbers[: sizes[0]] += self._n_last
        self._last, self._n_last = int(hashes[-1]), int(numbers[-1]) + 1
        return number_hashes(hashes, numbers)


def canonical_bytes(value: Scalar) -> bytes:
    """Return the canonical bytes of a cell."""
    if value is None:
        return b"n" + bytes(8)
    if isinstance(value, str):
        text = value.encode()
        return b"s" + struct.pack("<q", len(text)) + text
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value + 0.0)
    if isinstance(value, datetime):
        kind, epoch = (b"w", _EPOCH.replace(tzinfo=None)) if value.tzinfo is None else (b"t", _EPOCH)
        delta = value - epoch
        return kind + struct.pack("<q", (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)
    if isinstance(value, date):
        return b"d" + struct.pack("<q", (value - _EPOCH.date()).days)
    return (b"b" if isinstance(value, bool) else b"i") + struct.pack("<q", value)


def _canonical_rows(batch: pa.RecordBatch | pa.Table, columns: Sequence[str]) -> list[bytes]:
    """Return the canonical bytes of each row.

    Consecutive numeric columns are converted together by NumPy instead of cell by cell: their bytes have a fixed size.
    """
    pieces: list[list[bytes]] = []
    for kind, names in groupby(columns, key=lambda name: _byte_layout(batch.schema.field(name).type)):
        arrays = [_combine_chunks(batch.column(name)) for name in names]
        if kind == "numbers":
            pieces.append(_number_bytes(arrays))
        else:
            pieces += [
                piece for array in arrays for piece in (_text_bytes(array) if kind == "text" else [array.to_pylist()])
            ]
    return pieces[0] if len(pieces) == 1 else [b"".join(row) for row in zip(*pieces, strict=True)]


def _byte_layout(data_type: pa.DataType) -> str:
    """Return the category of the byte layout of a type; the cells of binary columns are canonical bytes already."""
    import pyarrow as pa

    if pa.types.is_binary(data_type):
        return "bytes"
    return "text" if pa.types.is_string(data_type) else "numbers"


def _combine_chunks(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _text_bytes(column: pa.Array) -> tuple[list[bytes], list[bytes]]:
    """Return the nine bytes that precede each text (kind and length), and the texts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    heads = np.empty(len(column), dtype=[("kind", "u1"), ("length", "<i8")])
    heads["kind"] = np.where(column.is_null().to_numpy(zero_copy_only=False), ord("n"), ord("s"))
    texts = pc.fill_null(column, "").cast(pa.binary())
    heads["length"] = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    return heads.view("V9").tolist(), texts.to_pylist()


def _number_bytes(columns: Sequence[pa.Array]) -> list[bytes]:
    """Return the nine bytes (kind and value) of the numbers of each row, as one bytes object a row.

    A structured dtype without padding has the canonical layout: for two columns, the fields ``kind0`` (one byte),
    ``value0`` (eight bytes), ``kind1``, ``value1``. Its view as ``V18`` converts each row to 18 bytes.
    """
    import numpy as np

    forms = [("<f8" if str(column.type) == "double" else "<i8") for column in columns]
    fields = [field for i, form in enumerate(forms) for field in ((f"kind{i}", "u1"), (f"value{i}", form))]
    cells = np.empty(len(columns[0]), dtype=fields)
    for i, column in enumerate(columns):
        kind, values = _number_values(column)
        cells[f"kind{i}"] = ord(kind)
        if column.null_count:
            cells[f"kind{i}"][column.is_null().to_numpy(zero_copy_only=False)] = ord("n")
        cells[f"value{i}"] = values
    return cells.view(f"V{9 * len(columns)}").tolist()


def _number_values(column: pa.Array) -> tuple[str, npt.NDArray[Any]]:
    """Return the byte of the kind of a column, and its values as numbers of eight bytes, with 0 for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds: dict[Any, str] = {
        pa.float64(): "f",
        pa.int64(): "i",
        pa.bool_(): "b",
        pa.date32(): "d",
        pa.timestamp("us"): "w",
    }
    kind = kinds.get(column.type, "t")
    if kind in "bd":
        column = column.cast(pa.int32()).cast(pa.int64())
    elif kind == "w":
        column = column.cast(pa.int64())
    elif kind == "t":
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
    return kind, values + 0.0 if kind == "f" else values
