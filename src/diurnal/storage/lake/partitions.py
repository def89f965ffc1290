"""Parts: the files of a large package. Rows whose hashes have the same leading bits are in the same part.

The part of a row depends on its hash and on the number of parts only, and the number of parts depends on the number of
rows in the batch only. Every process that writes a part, on any machine and in any attempt, therefore writes the same
bytes. The name of a part contains the digest of its bytes, so attempts never overwrite each other with other content.

Nothing here needs a lake object: a Spark executor calls :func:`write_part` with plain values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from diurnal.storage.file_store import FileStore
from diurnal.storage.lake.parquet_writer import Observer, PackageFileWriter

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.data.row_hash import Hashes

CELLS_PER_PART = 2**24
"""128 MiB of numbers: one task sorts as much in memory, and a file of that size is neither small nor large."""


@dataclass(frozen=True)
class PackagePart:
    """One file of a package of parts.

    Attributes
    ----------
    name : str
        Its name in the parts folder, ``part-<number>-<beginning of the digest>.parquet``.
    digest : str
        The SHA-256 of the file, in hexadecimal.
    n_rows, n_bytes : int
        The number of rows, and the size of the file.

    Examples
    --------
    >>> PackagePart("part-00012-3f0c9a1e5b7d2468.parquet", "3f0c9a1e5b7d2468...", 500_000, 90_000_000).number
    12
    """

    name: str
    digest: str
    n_rows: int
    n_bytes: int

    @property
    def number(self) -> int:
        """The number of the part, from 0."""
        return int(self.name.split("-")[1])


def compute_n_parts(n_rows: int, n_columns: int, cells_per_part: int = CELLS_PER_PART) -> int:
    """Return the number of parts of a package: the least power of two that keeps parts within `cells_per_part`.

    Parameters
    ----------
    n_rows : int
        The number of rows before deduplication, which is known before anything is sorted.
    n_columns : int
        The number of columns.
    cells_per_part : int
        Rows times columns of a part, on average: hashes spread rows evenly.

    Examples
    --------
    >>> compute_n_parts(500_000, 31), compute_n_parts(10_000_000, 31)
    (1, 32)
    """
    n_full = max(1, -(-n_rows * n_columns // cells_per_part))  # division rounded up
    return 1 << (n_full - 1).bit_length()  # the next power of two: 1, 2, 4, 4, 8, 8, ...


def part_numbers(hashes: Hashes, n_parts: int) -> npt.NDArray[np.int64]:
    """Return the part of each row: the number that the leading bits of its hash form.

    As the bits are the leading ones, the order of parts is that of hashes.

    Examples
    --------
    >>> part_numbers(np.array([0, 2**62, 2**63, 2**64 - 1], dtype=np.uint64), 4)
    array([0, 1, 2, 3])
    """
    bits = n_parts.bit_length() - 1
    if not bits:
        return np.zeros(len(hashes), dtype=np.int64)
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


def write_part(
    root: str,
    folder: str,
    number: int,
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    observe: Observer | None = None,
) -> PackagePart:
    """Write one part. Writing it again writes the same file.

    Parameters
    ----------
    root : str
        The lake's address (:attr:`diurnal.storage.file_store.FileStore.address`).
    folder : str
        The parts folder below it (:attr:`diurnal.storage.lake.PackageKey.parts_folder`).
    number : int
        The number of the part.
    tables : iterable of pyarrow.Table
        Its rows, deduplicated and in the order of their hash.
    schema : pyarrow.Schema
        The schema of the file.
    observe : callable, optional
        Called with the rows of each row group.
    """
    store = FileStore(root)
    with store.workspace() as scratch:
        temporary = scratch / "part.parquet"
        with PackageFileWriter(temporary, schema, observe) as file:
            for table in tables:
                file.write(table)
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        part = PackagePart(f"part-{number:05d}-{digest[:16]}.parquet", digest, file.n_rows, temporary.stat().st_size)
        store.publish_file(temporary, f"{folder}/{part.name}", "lake.part")
    pa.default_memory_pool().release_unused()
    return part


def group_by_part(ordered: Iterable[tuple[Hashes, pa.Table]], n_parts: int) -> Iterator[tuple[int, Iterator[pa.Table]]]:
    """Group rows, which are in the order of their hash, by part.

    Tables may begin and end anywhere. A table whose rows are in the parts ``[3, 3, 4, 6]`` is cut into three pieces.
    The piece of part 3 is grouped with the last piece of the table before, if that is of part 3 too.

    Yields
    ------
    int
        The number of a part; parts without rows are skipped.
    iterator of pyarrow.Table
        Its rows, to be consumed before the next part is requested.
    """

    def pieces() -> Iterator[tuple[int, pa.Table]]:
        for hashes, table in ordered:
            numbers = part_numbers(hashes, n_parts)
            # the positions at which the number differs from the one before; -1 makes position 0 one of them
            starts = np.flatnonzero(np.diff(numbers, prepend=-1))
            for start, end in pairwise([*starts, len(numbers)]):
                yield int(numbers[start]), table.slice(start, end - start)
            del hashes, table  # free the memory before the next bucket is read

    for number, tables in groupby(pieces(), key=itemgetter(0)):
        yield number, (table for _, table in tables)
