"""Which sample a row is, and which role it has, from its key, for life.

A sample is identified by the values of the experiment's `key`, or, where there is none, by the values of its
features. Their canonical bytes, after the experiment's name, are hashed with BLAKE2b to 64 bits; read as a
fraction of 2**64, a hash below `test_size` is a test sample. The role depends on nothing else: not on other
rows, not on their order, not on the day. So no row ever changes sides, however many batches pile up, and the
same features with another target stay on the same side.

The hash is the order of rows everywhere, too: a fit sees the same rows in the same order whatever order a
source gave them in.

Where content does not identify a row (``duplicates="keep"``), rows with equal features are different samples. Each is
identified by its content and its number among the equal rows of its batch, from 0: :class:`NumberedHasher`. The first
of them has the role that its content gives, and a batch that is fetched again keeps all roles.

Canonical bytes, column by column in the order of their names: one byte for the kind (``n`` for null), then
eight bytes little-endian for a number (integers, booleans as 0 and 1, days since 1970 for dates, microseconds
since 1970 for instants, and for timestamps as if they were in UTC; IEEE doubles for floats, with -0.0 as 0.0),
or a length in eight bytes and UTF-8 for text.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Hashes = npt.NDArray[np.uint64]

Role = Literal["train", "test"]
Scalar = int | float | bool | str | date | datetime | None

_GOLDEN_RATIO = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: SplitMix64's increment
ROWS_A_PIECE = 8_192  # are laid out as bytes at once
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def assign_role(values: Sequence[Scalar], experiment: str, test_size: float, number: int = 0) -> Role:
    """Tell the role of one sample.

    Parameters
    ----------
    values : sequence
        Its key, or its features where the experiment has no key, in the order of the columns' names.
    experiment : str
        Name of the experiment.
    test_size : float
        Share of samples that are for testing, between 0 and 1.
    number : int
        Its number among the equal rows of its batch, where content does not identify a row.

    Returns
    -------
    str
        ``"train"`` or ``"test"``.

    Examples
    --------
    >>> assign_role(["patient-7"], "breast_cancer", 0.3)
    'train'
    >>> assign_role(["patient-5"], "breast_cancer", 0.3)
    'test'
    """
    import numpy as np

    payload = experiment.encode() + b"\0" + b"".join(map(canonical_bytes, values))
    hashed = np.frombuffer(blake2b(payload, digest_size=8).digest(), dtype="<u8")
    return "test" if select_test(number_hashes(hashed, np.array([number])), test_size)[0] else "train"


def hash_threshold(test_size: float) -> int:
    """Give the hash from which on a sample is for training."""
    return math.floor(test_size * 2**64)


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

    def __init__(self, hasher: Callable[[pa.RecordBatch | pa.Table], Hashes]) -> None:
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


@dataclass(frozen=True)
class TrainTestRoles:
    """Tells which rows of a package are for training and which for testing.

    Attributes
    ----------
    identify : callable
        Gives, for each package anew, the function that hashes the identity of its rows.
    test_size : float
        Share of samples that are for testing.
    target : str
        The column to predict; a row without it has no role.
    in_order : bool
        Whether rows in the order of a package are in the order of these hashes, so that the test rows come first.
    """

    identify: Callable[[], Callable[[pa.RecordBatch | pa.Table], Hashes]]
    test_size: float
    target: str
    in_order: bool = True

    def masks(self) -> Callable[[pa.RecordBatch], tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
        """Give the function that tells, of the rows of one package in order, which train and which test."""
        hasher = self.identify()

        def of(rows: pa.RecordBatch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
            labelled = rows.column(self.target).is_valid().to_numpy(zero_copy_only=False)
            tested = select_test(hasher(rows), self.test_size)
            return labelled & ~tested, labelled & tested

        return of


def select_test(hashes: Hashes, test_size: float) -> npt.NDArray[np.bool_]:
    """Tell which rows are for testing."""
    import numpy as np

    return hashes < np.uint64(hash_threshold(test_size))


def sample_hasher(columns: Sequence[str], experiment: str) -> Callable[[pa.RecordBatch | pa.Table], Hashes]:
    """Give the function whose hashes, below a share (:func:`select_test`), are a sample of all rows.

    The hash is another one than the role's, so that a sample holds train and test rows as there are. A row that is in
    the sample of some share is in that of every larger one, for life.
    """
    return lambda rows: hash_rows(rows, columns, sample_salt(experiment))


def sample_salt(experiment: str) -> str:
    """Give what tells the hash of a sample from that of a role."""
    return f"{experiment}\0sample"


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
