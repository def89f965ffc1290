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
ROWS_A_PIECE = 8_192  # are laid out as bytes at once
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

    names, begun = sorted(columns), blake2b(experiment.encode() + b"\0", digest_size=8)
    digests = []
    for start in range(0, batch.num_rows, ROWS_A_PIECE):
        for row in _rows(batch.slice(start, ROWS_A_PIECE), names):
            digest = begun.copy()
            digest.update(row)
            digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), dtype="<u8")


def mix_bits(values: Hashes) -> Hashes:
    """Mix the bits of numbers, one to one, so that near numbers become far apart.

    The finaliser of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood: "Fast splittable pseudorandom number generators",
    OOPSLA 2014).
    """
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def number_hashes(hashes: Hashes, numbers: npt.NDArray[np.int64]) -> Hashes:
    """Give the hashes of rows with equal content that are told apart by a number; number 0 keeps its hash.

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
    """Give an order of `n` rows that looks random and is always the same.

    Rows with equal content lie side by side in a package. A fold, which is often a run of rows, must not get them all.
    """
    import numpy as np

    return np.argsort(mix_bits(np.arange(n, dtype=np.uint64) + np.uint64(_GOLDEN_RATIO)), kind="stable")


class NumberedHasher:
    """Hash rows that come in the order of a hash, so that rows with equal content differ by their number.

    Parameters
    ----------
    hasher : callable
        Gives the hashes of the rows' content. Equal ones come one after the other, in one batch or several.

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
        self._last: int | None = None  # hash of the last row so far, and how many rows have had it
        self._n_last = 0

    def __call__(self, rows: pa.RecordBatch | pa.Table) -> Hashes:
        """Give the hashes of further rows."""
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
    """Give the canonical bytes of a cell."""
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


def _rows(batch: pa.RecordBatch | pa.Table, columns: Sequence[str]) -> list[bytes]:
    """Give the canonical bytes of each row; runs of numeric columns are laid out by NumPy, not cell by cell."""
    pieces: list[list[bytes]] = []
    for kind, names in groupby(columns, key=lambda name: _layout(batch.schema.field(name).type)):
        arrays = [_whole(batch.column(name)) for name in names]
        if kind == "numbers":
            pieces.append(_numbers(arrays))
        else:
            pieces += [
                piece for array in arrays for piece in (_texts(array) if kind == "text" else [array.to_pylist()])
            ]
    return pieces[0] if len(pieces) == 1 else [b"".join(row) for row in zip(*pieces, strict=True)]


def _layout(given: pa.DataType) -> str:
    """Tell how cells are laid out as bytes; those of binary columns are canonical bytes already."""
    import pyarrow as pa

    if pa.types.is_binary(given):
        return "bytes"
    return "text" if pa.types.is_string(given) else "numbers"


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _texts(column: pa.Array) -> tuple[list[bytes], list[bytes]]:
    """Give the nine bytes before each text, and the texts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    heads = np.empty(len(column), dtype=[("kind", "u1"), ("length", "<i8")])
    heads["kind"] = np.where(column.is_null().to_numpy(zero_copy_only=False), ord("n"), ord("s"))
    texts = pc.fill_null(column, "").cast(pa.binary())
    heads["length"] = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    return heads.view("V9").tolist(), texts.to_pylist()


def _numbers(columns: Sequence[pa.Array]) -> list[bytes]:
    """Give the nine bytes of each number, one row's after the other."""
    import numpy as np

    forms = [("<f8" if str(column.type) == "double" else "<i8") for column in columns]
    fields = [field for i, form in enumerate(forms) for field in ((f"kind{i}", "u1"), (f"value{i}", form))]
    cells = np.empty(len(columns[0]), dtype=fields)
    for i, column in enumerate(columns):
        kind, values = _values(column)
        cells[f"kind{i}"] = ord(kind)
        if column.null_count:
            cells[f"kind{i}"][column.is_null().to_numpy(zero_copy_only=False)] = ord("n")
        cells[f"value{i}"] = values
    return cells.view(f"V{9 * len(columns)}").tolist()


def _values(column: pa.Array) -> tuple[str, npt.NDArray[Any]]:
    """Give the byte of a column's kind, and its values as numbers of eight bytes, with 0 for null."""
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
